"""Compares two configs by meaning: an argument that is not set counts as its default.

A side is a preset, a rendered directory, a run's record, or a LLaMA-Factory YAML of any origin.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune import resources
from qtune.config.names import did_you_mean
from qtune.config.project import Project
from qtune.config.resolve import merge
from qtune.data.registrations import CONVERSATIONS
from qtune.data.sources import uses_of
from qtune.errors import QtuneError
from qtune.files import Document, leaves, read_object, read_yaml
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline, renderings
from qtune.render import manifest as manifests
from qtune.render.files import section_of
from qtune.runs import record
from qtune.schema import DERIVED, column_keys, known_argument, tag_keys
from qtune.values import DATASETS, Config, KeyPath, Layer, Origin, Value

DEFAULT = Origin("default")
_SECTIONS = (
    "model",
    "method",
    "dataset",
    "output",
    "train",
    "eval",
    "zero",
    "deepspeed",
    "launch",
    "datasets",
)


@dataclass(frozen=True)
class Side:
    """One side: a config, and the complete dataset_info.json entries of the datasets it uses."""

    config: Config
    datasets: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Difference:
    """One value that differs; None stands for a key that neither a layer nor the library sets."""

    section: str
    key: str
    first: Value | None
    second: Value | None


def compare(first: Side, second: Side) -> list[Difference]:
    """Every difference, grouped by the sections of train.yaml, then `zero`, `launch` and `datasets`.

    Numbers are compared as numbers (1 and 1.0 are one value); ZeRO and launch keys only where either side
    uses them.
    """
    sides = (_values(first), _values(second))
    differences = []
    for path in dict.fromkeys([*sides[0], *sides[1]]):
        one, other = (side.get(path) or _default(path) for side in sides)
        if (one and one.value) != (other and other.value):
            section = section_of(path[1]) if path[0] == "train" else path[0]
            differences.append(Difference(section, ".".join(path[1:]), one, other))
    return sorted(differences, key=lambda difference: _SECTIONS.index(difference.section))


def read_side(named: str, project: Project, hardware: Hardware) -> Side:
    """What `named` means: a preset, else a path (rendered or run directory, YAML or JSON file), else a run.

    Raises QtuneError where it is none of these.
    """
    path = project.root / Path(named).expanduser()
    if project.store.knows(named):
        prepared = pipeline.prepare(named, project, hardware)
        return Side(prepared.config, prepared.manifest.datasets)
    if path.is_file():
        return _plain_side(path, project)
    if path.parent == project.root / pipeline.RENDERED and path.is_dir():
        prepared = renderings.read(project, path.name)
        return Side(prepared.config, prepared.manifest.datasets)
    for directory in (path, project.root / project.runs / named):
        if (directory / manifests.FILE).is_file():
            display = f"{named}/{manifests.FILE}"
            record.refuse_newer(read_object(directory / manifests.FILE), display)
            manifest = manifests.read(directory / manifests.FILE, display)
            return Side(manifest.config, manifest.datasets)
    raise QtuneError(
        f"`{named}` is no preset, rendered directory, run or YAML file",
        fix=did_you_mean(named, project.store.names()) or "`qtune presets` lists the presets",
    )


def _plain_side(path: Path, project: Project) -> Side:
    """A LLaMA-Factory config with its DeepSpeed JSON and its datasets' registry, as far as they are there.

    Paths in it start from the working directory of the one who ran it: the project's root here.
    """
    document = _read_mapping(path, resources.display(path, project.root))
    layers = [_layer(document, "train")]
    deepspeed = document.data.get("deepspeed")
    if isinstance(deepspeed, str) and (project.root / deepspeed).is_file():
        file = _read_mapping(project.root / deepspeed, deepspeed)
        if isinstance(file.data.get("zero_optimization"), dict):
            layers += [_layer(file, "zero"), _layer(file, "deepspeed")]
    config = merge(path.name, layers)
    registry = project.root / str(document.data.get("dataset_dir", "data")) / DATASETS
    entries = _read_mapping(registry, str(registry)).data if registry.is_file() else {}
    used = [name for name, _ in uses_of(config) if name in entries]
    return Side(config, {name: _moved(entries[name], registry.parent, project) for name in used})


def _read_mapping(path: Path, display: str) -> Document:
    document = read_yaml(path, display)  # JSON is YAML
    if not isinstance(document.data, dict):
        raise QtuneError("is not a mapping of keys", where=display, fix="name a LLaMA-Factory YAML")
    return document


def _layer(document: Document, block: str) -> Layer:
    values = renderings.values_in(document, block)
    return Layer(document.display, values, document.display, document.sha256)


def _moved(entry: Mapping[str, Any], directory: Path, project: Project) -> dict[str, Any]:
    """The entry with its file named as a rendered directory names it."""
    file_name = entry.get("file_name")
    if not isinstance(file_name, str) or Path(file_name).is_absolute():
        return dict(entry)
    rendered = project.root / pipeline.RENDERED / "any"
    return {**entry, "file_name": Path(os.path.relpath(directory / file_name, rendered)).as_posix()}


def _values(side: Side) -> dict[KeyPath, Value]:
    values = {
        path: value
        for path, value in side.config.values.items()
        # what rendering adds follows from names, and DeepSpeed's keys mean nothing while it is off
        if not (path[0] == "train" and path[1] in DERIVED)
        and (path[0] not in ("zero", "deepspeed") or side.config.uses_zero)
    }
    for name, entry in side.datasets.items():
        whole = {**_absent_blocks(entry), **entry}
        values |= {
            ("datasets", name, *path): Value(value, Origin("datasets")) for path, value in leaves(whole)
        }
    return values


def _absent_blocks(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The columns and tags that hold for an entry without those blocks (llamafactory/data/parser.py)."""
    conversations = entry.get("formatting") in CONVERSATIONS
    columns = ("messages",) if conversations else ("prompt", "query", "response")
    blocks: dict[str, Any] = {"columns": {name: column_keys()[name].default for name in columns}}
    if conversations:
        blocks["tags"] = {name: tag.default for name, tag in tag_keys().items()}
    return blocks


def _default(path: KeyPath) -> Value | None:
    """The default of an argument; nothing for a ZeRO key, whose default only holds under ZeRO."""
    argument = known_argument(path) if path[0] in ("train", "launch") else None
    return None if argument is None or argument.default is None else Value(argument.default, DEFAULT)
