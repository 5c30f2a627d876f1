"""Findings about what a config loads beside its model: adapters, other models, a checkpoint, media."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from qtune.checks.rules.idle import without_reference
from qtune.checks.rules.view import QUANTIZED_NAME, View
from qtune.config.model import local_model
from qtune.config.presets import BASE
from qtune.data.registrations import names_in
from qtune.data.token_cache import is_automatic
from qtune.files import read_object
from qtune.values import Finding

_ADAPTER = "adapter_config.json"
_CHECKPOINT = "trainer_state.json"
_MODEL = "model_name_or_path"
_PATHS = (
    *(_MODEL, "adapter_name_or_path", "ref_model", "ref_model_adapters"),
    *("reward_model", "reward_model_adapters", "resume_from_checkpoint", "media_dir"),
)
_MOST_LOOKED_AT = 1000
_CACHED = r"models--[^/]+--(?P<name>[^/]+?)/snapshots/[^/]+/?$"


def check_paths(view: View) -> list[Finding]:
    """A finding for each local path that is not there or holds something else, and for each adapter of
    another base model; nothing of what the hub has."""
    return [*_from_home(view), *_loaded(view), *_resumed(view), *_media(view), *_tokens(view)]


def _from_home(view: View) -> Iterator[Finding]:
    """`~` is the shell's and qtune's, not the libraries' (transformers/utils/hub.py; peft/config.py)."""
    for key in _PATHS:
        for name in names_in(view[key]):
            path = local_model(name, view.root) if name.startswith("~") else None
            if path is not None and path.exists():
                message = f"{name}: LLaMA-Factory does not know `~`, and would look for it on the hub or fail"
                yield _finding(view, "error", key, message, f"write it in full: {path}")


def _loaded(view: View) -> Iterator[Finding]:
    model = view[_MODEL]
    for name in view.adapters:
        yield from _adapter(view, "adapter_name_or_path", name, model)
    if view["ref_model"] is not None and not without_reference(view):
        if view["ref_model"] != model:  # of which the check of the model tells
            yield from _model(view, "ref_model")
        for name in names_in(view["ref_model_adapters"]):
            yield from _adapter(view, "ref_model_adapters", name, view["ref_model"])
    if view["stage"] != "ppo" or view["reward_model"] is None:
        return
    if view["reward_model_type"] == "lora":
        yield from _adapter(view, "reward_model", view["reward_model"], model)
    elif view["reward_model_type"] == "full":
        yield from _model(view, "reward_model")
        for name in names_in(view["reward_model_adapters"]):
            yield from _adapter(view, "reward_model_adapters", name, view["reward_model"])


def _model(view: View, key: str) -> Iterator[Finding]:
    directory = local_model(view[key], view.root)
    if directory is None:
        return
    if not directory.is_dir():
        yield _missing(view, key, "model directory", directory)
    elif not (directory / "config.json").is_file():
        fix = "name the directory that holds it"
        if (directory / _ADAPTER).is_file():
            fix = f"it is an adapter: name its base model here, and it as `{key}_adapters`"
        yield _finding(view, "error", key, f"{_shown(view, directory)} holds no config.json", fix)


def _adapter(view: View, key: str, name: str, model: str | None) -> Iterator[Finding]:
    directory = local_model(name, view.root)
    if directory is None:
        return
    directory /= view["adapter_folder"] or ""
    if not directory.is_dir():
        yield _missing(view, key, "adapter directory", directory)
    elif not (directory / _ADAPTER).is_file():
        fix = _inside(view, directory, _ADAPTER) or "name the directory that an adapter was saved to"
        if (directory / "config.json").is_file():
            fix = f"it is a whole model: name it as `{_MODEL}`"
        yield _finding(view, "error", key, f"{_shown(view, directory)} holds no {_ADAPTER}", fix)
    else:
        yield from _other_base(view, key, directory, model)


def _resumed(view: View) -> Iterator[Finding]:
    key = "resume_from_checkpoint"
    if not isinstance(view[key], str) or not view[key]:
        return
    directory = local_model(view[key], view.root) or view.root / view[key]
    if not directory.is_dir():
        yield _missing(view, key, "checkpoint", directory)
    elif not (directory / _CHECKPOINT).is_file():
        fix = _inside(view, directory, _CHECKPOINT) or "name a directory checkpoint-N of a training"
        yield _finding(view, "error", key, f"{_shown(view, directory)} holds no {_CHECKPOINT}", fix)
    else:
        yield from _other_base(view, key, directory, view[_MODEL])


def _media(view: View) -> Iterator[Finding]:
    """Without the directory LLaMA-Factory takes the rows' paths as they are (data/converter.py)."""
    key = "media_dir"
    origin = view.config.origin("train", key)
    if origin is None or origin.layer == BASE or not view[key]:
        return
    directory = local_model(view[key], view.root) or view.root / view[key]
    if directory.is_dir():
        return
    read = any(item.has_media for item in view.datasets)
    yield _missing(view, key, "media directory", directory, "error" if read else "warning")


def _tokens(view: View) -> Iterator[Finding]:
    key = "tokenized_path"
    if not isinstance(view[key], str) or is_automatic(view.config):
        return
    path = view.root / view[key]
    there = next((place for place in (path, *path.parents) if place.exists()), path)
    if there.is_file():
        message = f"{_shown(view, there)} is a file, in which no tokens can be kept"
        yield _finding(view, "error", key, message, "name a directory, or set tokenized_path: auto")


def _other_base(view: View, key: str, directory: Path, model: str | None) -> Iterator[Finding]:
    base = read_object(directory / _ADAPTER).get("base_model_name_or_path")
    if not isinstance(base, str) or not base or not model or _same(base, model, view.root):
        return
    message = f"the adapter {_shown(view, directory)} was trained on {base}, and is put on {model}"
    fix = "name the model that it was trained on; where the two are one model, all is well"
    yield _finding(view, "warning", key, message, fix)


def _same(one: str, other: str, root: Path) -> bool:
    """Whether two names can be of one model: a hub's id, a copy in a directory of its name, in fewer bits."""
    return _name(one, root) == _name(other, root)


def _name(model: str, root: Path) -> str:
    if cached := re.search(_CACHED, model):
        name = cached["name"]
    else:
        directory = local_model(model, root)
        name = model.rstrip("/").rpartition("/")[2] if directory is None else directory.resolve().name
    name = name.replace("___", ".")  # a dot in ModelScope's cache
    if quantized := re.search(QUANTIZED_NAME, name):
        name = name[: quantized.start()]
    return name.casefold().removesuffix("-unsloth")


def _missing(
    view: View, key: str, kind: str, path: Path, severity: Literal["error", "warning"] = "error"
) -> Finding:
    fix = _near(view, path) or "correct the path; it starts from the project's directory"
    return _finding(view, severity, key, f"there is no {kind} {_shown(view, path)}", fix)


def _near(view: View, path: Path) -> str | None:
    """The path with its first part that is not there as something beside it is called."""
    missing = path
    while not missing.parent.exists():
        missing = missing.parent
    beside = [item.name for item in _directories(missing.parent)]
    near = difflib.get_close_matches(missing.name, beside, n=1)
    meant = missing.with_name(near[0]) / path.relative_to(missing) if near else None
    return f"did you mean `{_shown(view, meant)}`?" if meant is not None else None


def _inside(view: View, directory: Path, file: str) -> str | None:
    """The newest directory within that holds the file."""
    found = [item for item in _directories(directory) if (item / file).is_file()]
    newest = max(found, key=lambda item: item.stat().st_mtime, default=None)
    return None if newest is None else f"did you mean `{_shown(view, newest)}`?"


def _directories(directory: Path) -> list[Path]:
    found: list[Path] = []
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if len(found) < _MOST_LOOKED_AT and entry.is_dir():
                found.append(Path(entry.path))
    return sorted(found)


def _shown(view: View, path: Path) -> str:
    return str(path.relative_to(view.root) if path.is_relative_to(view.root) else path)


def _finding(view: View, severity: Literal["error", "warning"], key: str, message: str, fix: str) -> Finding:
    return Finding(severity, key, message, fix, view.config.origin("train", key))
