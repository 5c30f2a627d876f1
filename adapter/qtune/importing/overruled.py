"""What the project says otherwise than an import: a project lies above every preset."""

from __future__ import annotations

import shlex
from typing import Any

from qtune.config.project import FILE, Project
from qtune.files import dump_yaml
from qtune.importing.parts import Translation, warned
from qtune.values import Origin

_MODEL = "model_name_or_path"


def overruled(part: Translation, project: Project, whole: bool) -> Translation:
    """What qtune.yaml says otherwise: it lies above every preset."""
    theirs: dict[str, Any] = {}
    origin = Origin(FILE)
    for path, value in project.layer.values.items() if project.layer else ():
        if path[0] == "train" and (whole or path in part.values) and part.train(path[1]) != value.value:
            theirs.setdefault(path[1], part.train(path[1]))
            origin = value.origin
    if not theirs:
        return Translation()
    short = {_MODEL: "-m", "dataset": "-d"}
    options = " ".join(
        f"{short[key]} {shlex.quote(str(value))}"
        if key in short and value is not None
        else f"-s {shlex.quote(f'{key}={dump_yaml(value)}')}"
        for key, value in theirs.items()
    )
    message = "qtune.yaml says otherwise, and wins over every preset"
    return warned(", ".join(theirs), message, f"take it out there, or train with {options}", origin)
