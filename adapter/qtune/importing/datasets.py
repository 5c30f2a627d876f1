"""The registrations of the datasets that a config names, from its dataset_info.json or its data files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune.config.project import Project
from qtune.data.peek import JSON_SUFFIXES, first_row
from qtune.data.registrations import names_in, read_registrations
from qtune.errors import QtuneError
from qtune.importing.parts import Note, Part, noted, warned
from qtune.importing.source import Source, read_source
from qtune.values import DATASETS, Origin, Value

_ONLINE = "ONLINE"  # llamafactory/data/parser.py, get_dataset_list
_OPENAI_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}


@dataclass(frozen=True)
class _Info:
    """A dataset_info.json that was found: its entries and the directory from which their files start."""

    entries: Mapping[str, Any]
    directory: Path
    display: str


def register(keys: Mapping[str, Value], source: Source, project: Project) -> Part:
    """Registrations for the names under `dataset` and `eval_dataset`, copied from the original's own file.

    A name that is registered in the project, or that cannot be found, is a warning.
    """
    names: dict[str, Origin] = {}
    for key in ("dataset", "eval_dataset"):
        if key in keys:
            names |= {name: keys[key].origin for name in names_in(keys[key].value)}
    given = keys.get("dataset_dir")
    directory = given.value if given and isinstance(given.value, str) else "data"
    part = (
        noted("dataset_dir", "becomes registrations in data/datasets.yaml", given.origin) if given else Part()
    )
    if not names:
        return part
    info = None if directory == _ONLINE else _read_info(directory, source)
    known = read_registrations(project)
    for name, origin in names.items():
        entry = {"hf_hub_url": name} if directory == _ONLINE else _entry(name, info, project)
        if name in known:
            if entry is not None and _differ(entry, known[name].entry):
                message = (
                    f"`{name}` is registered in {known[name].document.display} with other keys, which hold"
                )
                part += warned(
                    "dataset", message, "rename one of them, where they are not the same data", origin
                )
        elif entry is None:
            where = f"{info.display} does not have it" if info else f"there is no {directory}/{DATASETS}"
            fix = f"register it in data/datasets.yaml: `{name}: {{file_name: …}}`"
            part += warned("dataset", f"`{name}` is not registered here, and {where}", fix, origin)
        else:
            part += Part(datasets={name: entry}, notes=(Note("dataset", f"registers `{name}`", origin),))
    return part


def register_file(key: str, value: Value, source: Source, project: Project, target: str) -> Part:
    """A data file that another toolkit names, as a registration and as the argument `target`."""
    text = str(value.value)
    found = source.find(text)
    path = found or source.roots[0] / text
    name = re.sub(r"[^\w.-]+", "_", path.stem)
    entry = {"file_name": _file_name(path, project), **(_shape(found) if found else {})}
    part = Part(
        {("train", target): Value(name, value.origin)},
        {} if name in read_registrations(project) else {name: entry},
        (Note(key, f"`{target}: {name}`, registered with file_name: {text}", value.origin),),
    )
    if found is None:
        fix = "put it there, or correct file_name in data/datasets.yaml"
        part += warned(key, f"there is no file {text}", fix, value.origin)
    return part


def _read_info(directory: str, source: Source) -> _Info | None:
    path = source.find(f"{directory}/{DATASETS}")
    if path is None:
        return None
    file = read_source(path, source.roots[0])
    return None if file.keys is None else _Info(file.keys, path.parent, f"{directory}/{DATASETS}")


def _entry(name: str, info: _Info | None, project: Project) -> dict[str, Any] | None:
    entry = info.entries.get(name) if info else None
    if info is None or not isinstance(entry, dict):
        return None
    entry = dict(entry)
    if isinstance(entry.get("file_name"), str):
        entry["file_name"] = _file_name(info.directory / entry["file_name"], project)
    return entry


def _file_name(path: Path, project: Project) -> str:
    """`path` as data/datasets.yaml names it: from data/ where it lies in the project, else in full."""
    path, directory = path.resolve(), project.registrations.parent.resolve()
    if path.is_relative_to(directory):
        return path.relative_to(directory).as_posix()
    if path.is_relative_to(project.root):
        return f"../{path.relative_to(project.root).as_posix()}"
    return str(path)


def _differ(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return any(ours.get(key) != theirs.get(key) for key in {*ours, *theirs})


def _shape(path: Path) -> dict[str, Any]:
    """What a registration has to say of the file's first row; {} for alpaca rows and unknown ones."""
    if path.suffix not in JSON_SUFFIXES or not path.is_file():
        return {}
    try:
        row = first_row(path)
    except QtuneError:
        return {}  # `qtune check` says what is wrong with it
    for column in ("messages", "conversations"):
        turns = row.get(column)
        if not (isinstance(turns, list) and turns and isinstance(turns[0], dict)):
            continue
        columns = {"columns": {"messages": column}}
        tags = {"tags": _OPENAI_TAGS} if {"role", "content"} <= turns[0].keys() else {}
        return {"formatting": "sharegpt", **columns, **tags}
    return {}
