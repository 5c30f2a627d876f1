"""What qtune.yaml says otherwise than a preset: outside its `defaults:` it lies above every one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from qtune.config.project import FILE, Project
from qtune.config.sources import built_in
from qtune.files import dump_yaml
from qtune.values import Config, Finding, KeyPath, Layer, Origin

_OPTIONS = {"model_name_or_path": "-m", "dataset": "-d"}
# What is trained, on what, and by which method.
_WHAT_TRAINS = (
    *("model_name_or_path", "adapter_name_or_path", "template", "dataset", "eval_dataset", "val_size"),
    *("stage", "finetuning_type", "quantization_bit"),
)


def overruled_preset(
    name: str, project: Project, overrides: Sequence[Layer], config: Config
) -> Finding | None:
    """That the project trains another model, other data or by another method than the preset says, else None.

    name: of the preset; what those that come with qtune say does not count. overrides: the layers above the
    project, which decide whatever both say; config: what came of all, in which `auto` may be the same.
    """
    said = {
        path: value.value
        for preset in project.store.chain(name)
        if preset.source != built_in()
        for path, value in preset.layer.values.items()
        if path[0] == "train" and path[1] in _WHAT_TRAINS
        if config.get(*path) != value.value and not any(path in layer.values for layer in overrides)
    }
    return overruled(said, project)


def overruled(said: Mapping[KeyPath, Any], project: Project) -> Finding | None:
    """That the project says otherwise than `said`, plain values of a preset by path; None where it does not.

    A value of None is one that the preset leaves out.
    """
    theirs: dict[str, Any] = {}
    origin = Origin(FILE)
    for path, value in project.layer.values.items() if project.layer else ():
        if path in said and said[path] != value.value:
            theirs.setdefault(".".join(path[1:] if path[0] == "train" else path), said[path])
            origin = value.origin
    if not theirs:
        return None
    options = " ".join(
        f"{_OPTIONS[key]} {shlex.quote(str(value))}"
        if key in _OPTIONS and value is not None
        else f"-s {shlex.quote(f'{key}={dump_yaml(value)}')}"
        for key, value in theirs.items()
    )
    # its `defaults:` are arguments alone
    mend = "take it out there" if any("." in key for key in theirs) else "move it under `defaults:` there"
    message = "qtune.yaml says otherwise, and wins over every preset"
    return Finding("warning", ", ".join(theirs), message, f"{mend}, or train with {options}", origin)
