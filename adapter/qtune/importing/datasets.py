"""The registrations of the datasets that a config names, from its dataset_info.json or its data files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qtune.checks.datasets import USES
from qtune.config.names import few, quoted
from qtune.config.project import Project
from qtune.data.adding.detect import propose
from qtune.data.adding.register import file_name
from qtune.data.reading.head import read_head
from qtune.data.registrations import names_in, read_registrations
from qtune.errors import QtuneError
from qtune.importing.parts import Note, Registered, Translation, noted, warned
from qtune.importing.registry import ONLINE, REMOTE, Registry, find_registry
from qtune.importing.source import ImportedFile
from qtune.values import DATASETS, Origin, Value


def names_of(keys: Mapping[str, Value]) -> dict[str, Origin]:
    """The names of datasets in a config, each with its place."""
    given = [keys[key] for key in USES if key in keys]
    return {name: value.origin for value in given for name in names_in(value.value)}


def register(
    keys: Mapping[str, Value], registry: Registry | None, project: Project, registered: Registered
) -> Translation:
    """Registrations for the names under `dataset` and `eval_dataset`, copied from the original's own file.

    registry: that file; registered: those that are made already. A name that is in the project with other
    keys, or that cannot be found, is a warning.
    """
    names = {name: origin for name, origin in names_of(keys).items() if name not in registered}
    given = keys.get("dataset_dir")
    online = given is not None and given.value == ONLINE
    known = read_registrations(project)
    part = Translation()
    if given:
        part = noted("dataset_dir", "becomes registrations in data/datasets.yaml", given.origin)
    added: dict[str, Mapping[str, Any]] = {}
    for name, origin in names.items():
        entry = {"hf_hub_url": name} if online else registry.entry(name, project) if registry else None
        if name not in known and entry:
            added[name] = entry
        elif entry and _differ(entry, known[name].entry):
            message = f"`{name}` is registered in {known[name].document.display} with other keys, which hold"
            part += warned("dataset", message, "rename one of them, where they are not the same data", origin)
        elif not entry and name in known:
            message = f"`{name}` is what {known[name].document.display} here says: the original's is nowhere"
            part += noted("dataset", message, origin)
    if missing := [name for name in names if name not in known and name not in added]:
        part += _nowhere(missing, given, registry, names[missing[0]])
    if added:
        part += _added(added, given, registry, next(iter(names.values())))
    return part


def _nowhere(names: list[str], given: Value | None, registry: Registry | None, origin: Origin) -> Translation:
    """What to say of names that are registered nowhere; given: `dataset_dir`."""
    are, them = ("is", "it") if len(names) == 1 else ("are", "them")
    fix = f"register {them}: `qtune data add FILE -n {names[0]}`"
    directory = str(given.value) if given else "data"
    if directory.startswith(REMOTE):
        where = f"the hub's {directory.removeprefix(REMOTE)} is not asked"
        fix = f"download the {DATASETS} there with its data, and `qtune data add {DATASETS}`"
    elif registry is not None:
        where = f"{registry.display} does not have {them}"
    else:
        where = f"no {directory}/{DATASETS} has {them}"
    return warned("dataset", f"{quoted(names)} {are} not registered here, and {where}", fix, origin)


def _added(
    added: Mapping[str, Mapping[str, Any]], given: Value | None, registry: Registry | None, origin: Origin
) -> Translation:
    """The registrations, with a word on where they are from, and on what of them is not here."""
    source = registry.display if registry else "a hub"
    note = Note("dataset", f"registers {quoted(added)}, from {source}", origin)
    part = Translation(datasets=added, notes=(note,))
    if registry is None:
        return part
    if registry.guessed and given:
        message = f"there is no {given.value}; {source} has {quoted(added)} too, and is taken"
        part += warned(
            "dataset_dir", message, "correct data/datasets.yaml, if other data was meant", given.origin
        )
    if ignored := [key for name in added for key in registry.unread(name, added[name])]:
        part += noted("dataset", f"left out, as LLaMA-Factory has no such keys: {few(ignored)}", origin)
    if missing := {name: path for name in added if (path := registry.missing(name))}:
        message = f"{quoted(missing)}: there is no {few([str(path) for path in missing.values()])}"
        part += warned("dataset", message, "put it there, or correct file_name in data/datasets.yaml", origin)
    return part


def register_file(key: str, value: Value, source: ImportedFile, project: Project, target: str) -> Translation:
    """A data file that another toolkit names, as a registration and as the argument `target`."""
    text = str(value.value)
    found = source.find(text)
    path = found or source.here / text
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
    registry = find_registry(None, [name], source)
    return None if registry is None else registry.entry(name, project)


def _differ(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return any(ours.get(key) != theirs.get(key) for key in {*ours, *theirs})


def _shape(path: Path) -> dict[str, Any]:
    """What a registration has to say of the file's rows; {} where it cannot be told."""
    try:
        return propose(read_head(path).rows, str(path)).entry
    except QtuneError:
        return {}  # `qtune check` says what is wrong with it
