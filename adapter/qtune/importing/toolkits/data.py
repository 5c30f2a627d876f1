"""The data that another toolkit names, as registrations and as the names that a training takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from qtune.data.adding.detect import propose
from qtune.data.adding.named import Named
from qtune.data.adding.register import file_name, name_from
from qtune.data.file_types import SUFFIXES
from qtune.data.reading.head import read_head
from qtune.data.registrations import read_registrations
from qtune.errors import QtuneError
from qtune.files import dump_yaml
from qtune.importing.datasets import registered_beside
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.toolkits.table import Reading
from qtune.values import Origin, Value

_CLOUD = ("s3://", "gs://", "gcs://")  # llamafactory/data/data_utils.py, setup_fs


@dataclass(frozen=True)
class NamedData:
    """One data set as a toolkit names it.

    name: a file, a directory, a hub's id, or a registered name. told: what the toolkit's own keys say of a
    registration: subset, split, num_samples, formatting, ranking, columns, tags. hub: the key of a
    registration that names data on the hub which the toolkit means.
    """

    name: str
    origin: Origin
    told: Mapping[str, Any] = field(default_factory=dict)
    hub: Literal["hf_hub_url", "ms_hub_url"] = "hf_hub_url"


def registered(key: str, sets: Sequence[NamedData], reading: Reading, target: str = "dataset") -> Translation:
    """The sets that `key` names as the argument `target`, and the registrations that they need.

    A local file is looked at, as `qtune data add` does; what a toolkit tells holds where it cannot be read.
    """
    part = Translation()
    names: list[str] = []
    for data in sets:
        name, one = _registered(key, data, reading)
        part += one
        names += [] if name in names else [name]
    if names:
        origin = sets[0].origin
        part += Translation({("train", target): Value(",".join(names), origin)})
    return part


def mapping(given: Any) -> Mapping[str, Any]:
    """A block of a config, empty where it is none."""
    return given if isinstance(given, dict) else {}


def _registered(key: str, data: NamedData, reading: Reading) -> tuple[str, Translation]:
    """(the name of one set, its registration where it needs one)."""
    text, project = data.name, reading.project
    if text in read_registrations(project):
        return text, noted(key, f"`{text}` is registered in the project", data.origin)
    beside = registered_beside(text, reading.source, project)
    if beside is not None:
        part = noted(key, f"registers `{text}`, as the dataset_info.json beside it does", data.origin)
        return text, part + Translation(datasets={text: beside})
    entry, part = _entry(key, data, reading)
    name = _name(text, entry, reading)
    if name in read_registrations(project):
        return name, part + noted(key, f"`{name}` is registered in the project", data.origin)
    reading.registrations[name] = entry
    if name in read_registrations(project):
        return name, part + noted(key, f"`{name}` is registered in the project", data.origin)
    part += noted(key, f"registers `{name}`: {dump_yaml(entry)}", data.origin)
    return name, part + Translation(datasets={name: entry})


def _entry(key: str, data: NamedData, reading: Reading) -> tuple[dict[str, Any], Translation]:
    text, told, origin = data.name, dict(data.told), data.origin
    found = reading.source.find(text)
    if told.get("split") == "train":
        del told["split"]
    if found is not None:
        seen = _seen(found, told)
        if seen is not None:
            told = {name: value for name, value in told.items() if name not in _SHAPE} | seen
        untold = seen is None and not _has_shape(told)
        part = _untold(key, text, origin) if untold else Translation()
        return {"file_name": file_name(found, reading.project), **told}, part
    part = Translation() if _has_shape(told) else _untold(key, text, origin)
    if text.startswith(_CLOUD):
        return {"cloud_file_name": text, **told}, part
    if not _is_path(text):
        return {data.hub: text, **told}, part
    path = reading.source.here / text
    fix = "put it there, or correct file_name in data/datasets.yaml"
    missing = warned(key, f"there is no {text}", fix, origin)
    return {"file_name": file_name(path, reading.project), **told}, missing


_SHAPE = ("formatting", "ranking", "columns", "tags")


def _has_shape(told: Mapping[str, Any]) -> bool:
    return any(name in told for name in _SHAPE)


def _seen(path: Path, told: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a registration says of the rows of local data; None where it cannot be told."""
    try:
        rows = read_head(path).rows
    except QtuneError:
        return None  # `qtune check` says what is wrong with it
    for named in (Named(told.get("columns") or {}, told.get("tags") or {}), Named()):
        try:
            return propose(rows, str(path), named).entry
        except QtuneError:
            continue  # the toolkit's words are of other rows, or there is no way to read these
    return None


def _untold(key: str, text: str, origin: Origin) -> Translation:
    fix = "write its formatting and columns into data/datasets.yaml, where they are not instruction, output"
    return warned(key, f"nothing says how the rows of {text} look", fix, origin)


def _is_path(text: str) -> bool:
    """Whether a name can be no hub's id."""
    path = Path(text)
    return text.startswith((".", "/", "~")) or len(path.parts) > 2 or path.suffix in SUFFIXES


def _name(text: str, entry: Mapping[str, Any], reading: Reading) -> str:
    """A name for it that nothing else has."""
    path = Path(text)
    parts = [path.stem if path.suffix in SUFFIXES else path.name, entry.get("subset"), entry.get("split")]
    try:
        name = name_from("_".join(str(part) for part in parts if part), text, "")
    except QtuneError:
        name = "data"
    taken: dict[str, Mapping[str, Any]] = {
        known: registration.entry for known, registration in read_registrations(reading.project).items()
    }
    taken |= reading.registrations
    number = 1
    numbered = name
    while taken.get(numbered, entry) != entry:
        number += 1
        numbered = f"{name}_{number}"
    return numbered
