"""The registrations of the datasets that a config names, from its dataset_info.json or its data files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune.checks.datasets import SOURCES
from qtune.config.project import Project
from qtune.data.adding.detect import propose
from qtune.data.adding.register import file_name
from qtune.data.reading.head import read_head
from qtune.data.registrations import names_in, read_registrations
from qtune.errors import QtuneError
from qtune.files import MAX_BYTES, from_json, leaves
from qtune.importing.parts import Note, Registered, Translation, noted, warned
from qtune.importing.source import ImportedFile, read_source
from qtune.schema import column_keys, dataset_keys, tag_keys
from qtune.values import DATASETS, Origin, Value

_ONLINE = "ONLINE"  # llamafactory/data/parser.py, get_dataset_list


@dataclass(frozen=True)
class _Info:
    """A dataset_info.json that was found: its entries and the directory from which their files start."""

    entries: Mapping[str, Any]
    directory: Path
    display: str


def register(
    keys: Mapping[str, Value], source: ImportedFile, project: Project, registered: Registered
) -> Translation:
    """Registrations for the names under `dataset` and `eval_dataset`, copied from the original's own file.

    registered: those that are made already. A name that is in the project, or that cannot be found, is
    a warning.
    """
    names: dict[str, Origin] = {}
    for key in ("dataset", "eval_dataset"):
        if key in keys:
            missing = [name for name in names_in(keys[key].value) if name not in registered]
            names |= dict.fromkeys(missing, keys[key].origin)
    given = keys.get("dataset_dir")
    directory = given.value if given and isinstance(given.value, str) else "data"
    part = Translation()
    if given:
        part = noted("dataset_dir", "becomes registrations in data/datasets.yaml", given.origin)
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
            note = Note("dataset", f"registers `{name}`", origin)
            part += Translation(datasets={name: entry}, notes=(note,))
    return part


def register_file(key: str, value: Value, source: ImportedFile, project: Project, target: str) -> Translation:
    """A data file that another toolkit names, as a registration and as the argument `target`."""
    text = str(value.value)
    found = source.find(text)
    path = found or source.roots[0] / text
    name = re.sub(r"[^\w.-]+", "_", path.stem)
    entry = {"file_name": file_name(path, project), **(_shape(found) if found else {})}
    part = Translation(
        {("train", target): Value(name, value.origin)},
        {} if name in read_registrations(project) else {name: entry},
        (Note(key, f"`{target}: {name}`, registered with file_name: {text}", value.origin),),
    )
    if found is None:
        fix = "put it there, or correct file_name in data/datasets.yaml"
        part += warned(key, f"there is no file {text}", fix, value.origin)
    return part


def registered_beside(name: str, source: ImportedFile, project: Project) -> dict[str, Any] | None:
    """The registration of that name in the dataset_info.json of `data`, or beside the original."""
    entries = (_entry(name, _read_info(directory, source), project) for directory in ("data", "."))
    return next((entry for entry in entries if entry is not None), None)


@dataclass(frozen=True)
class Registry:
    """A whole dataset_info.json as registrations of a project.

    missing: names whose file is not there; ignored: keys of entries that LLaMA-Factory does not have, as
    `name.key`, left out.
    """

    datasets: Registered
    missing: tuple[str, ...]
    ignored: tuple[str, ...]


def is_registry(path: Path) -> bool:
    """Whether a file is a dataset_info.json, by its name or, whatever its name, by what its entries say."""
    if path.name == DATASETS:
        return True
    if path.suffix != ".json" or not path.is_file() or path.stat().st_size > MAX_BYTES:
        return False
    try:
        data = from_json(path.read_bytes())
    except ValueError:
        return False
    entries = list(data.values()) if isinstance(data, dict) else []
    return bool(entries) and all(isinstance(entry, dict) and _names_data(entry) for entry in entries)


def read_registry(path: Path, project: Project) -> Registry:
    """The registrations of a dataset_info.json, for `project`.

    Raises QtuneError where the file is no registry, or an entry of it names no data.
    """
    source = read_source(path, Path.cwd())
    fix = f"name LLaMA-Factory's own {DATASETS}, or a data file"
    if source.keys is None:
        raise QtuneError("is not a mapping of names", where=source.display, fix=fix)
    info = _Info(source.keys, source.path.parent, source.display)
    entries: dict[str, Mapping[str, Any]] = {}
    missing, ignored = [], []
    for name in info.entries:
        entry = _entry(name, info, project)
        if entry is None or not _names_data(entry):
            place = source.origin(name).place
            raise QtuneError(f"`{name}` is no dataset: it names no data", where=place, fix=fix)
        entries[name] = _known(entry)
        ignored += [f"{name}.{key}" for key in _paths(entry) if key not in _paths(entries[name])]
        file = info.entries[name].get("file_name")
        if isinstance(file, str) and not (info.directory / file).exists():
            missing.append(name)
    return Registry(entries, tuple(missing), tuple(ignored))


def _names_data(entry: Mapping[str, Any]) -> bool:
    return any(isinstance(entry.get(key), str) for key in SOURCES)


def _known(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that LLaMA-Factory reads, those of the blocks too."""
    known = {key: value for key, value in entry.items() if key in dataset_keys()}
    for block, keys in (("columns", column_keys()), ("tags", tag_keys())):
        if isinstance(known.get(block), dict):
            known[block] = {key: value for key, value in known[block].items() if key in keys}
    return known


def _paths(entry: Mapping[str, Any]) -> list[str]:
    return [".".join(path) for path, _ in leaves(dict(entry))]


def _read_info(directory: str, source: ImportedFile) -> _Info | None:
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
        entry["file_name"] = file_name(info.directory / entry["file_name"], project)
    return entry


def _differ(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return any(ours.get(key) != theirs.get(key) for key in {*ours, *theirs})


def _shape(path: Path) -> dict[str, Any]:
    """What a registration has to say of the file's rows; {} where it cannot be told."""
    try:
        return propose(read_head(path).rows, str(path)).entry
    except QtuneError:
        return {}  # `qtune check` says what is wrong with it
