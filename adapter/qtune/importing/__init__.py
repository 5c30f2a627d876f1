"""Importing configs and scripts of other shapes as presets.

    file → source → keys of one shape → this release's arguments, ZeRO keys, launch → what differs from base

Nothing is executed, and nothing is lost without a word: what a preset cannot say is an error.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune.config.aliases import aliases
from qtune.config.kl import KL_BETA
from qtune.config.presets import BASE
from qtune.config.presets import KEYS as PRESET_KEYS
from qtune.config.project import FILE, Project
from qtune.config.renames import renamed
from qtune.data.adding.register import file_name
from qtune.errors import QtuneError
from qtune.files import dump_yaml
from qtune.importing import arguments, datasets, places, toolkits, zero
from qtune.importing.commands import read_commands
from qtune.importing.parts import Note, Registered, Translation, noted, refused, warned
from qtune.importing.preset import preset_text
from qtune.importing.reduce import reduce
from qtune.importing.source import LAYER, ImportedFile, not_a_config, read_source
from qtune.importing.zero import DeepSpeedFile
from qtune.schema import arguments as known_arguments
from qtune.values import DATASETS, Finding, Origin, Value

# With a model and one of these a config is a whole one: what it leaves out has the library's default.
_SIGNATURE = (
    *("stage", "finetuning_type", "template", "prompt_template", "dataset", "dataset_dir"),
    *("do_train", "lora_target", "cutoff_len"),
)
_MODEL = "model_name_or_path"
_DEEPSPEED = ("zero_optimization", "train_micro_batch_size_per_gpu", "train_batch_size")


@dataclass(frozen=True)
class Imported:
    """An import: the preset's text, the registrations it needs, and what there is to say about both.

    kind: what the file was read as, in words.
    """

    kind: str
    text: str
    datasets: Registered
    notes: tuple[Note, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")


@dataclass(frozen=True)
class _Read:
    """One shape's keys as LLaMA-Factory's own, old or new, and what else the file says.

    whole: whether it is a whole LLaMA-Factory config; near_base: its `kl_beta`.
    """

    kind: str
    source: ImportedFile
    keys: Mapping[str, Value]
    part: Translation
    whole: bool = False
    near_base: Value | None = None


def read_import(path: Path, working_directory: Path, project: Project) -> Imported:
    """The file at `path` as a preset of `project`; nothing is written.

    Raises QtuneError for a file that is no config or cannot be read; a key that would be lost is an error
    among the findings.
    """
    read = _recognise(read_source(path, working_directory.resolve()), working_directory.resolve(), project)
    part = read.part + arguments.translate(read.keys)
    part += datasets.register(read.keys, read.source, project)
    if read.near_base is not None:
        part += toolkits.hold_near_base(read.near_base, part)
    part += _deepspeed(read.keys.get("deepspeed"), part, read)
    if read.whole:
        part += _media_dir(read.keys, read.source, project)
    part = places.settled(part, read.source, project)
    unset = Value(None, Origin(LAYER, read.source.display))
    base = project.store.load(BASE).layer.values
    reduced = reduce(part, base, complete=read.whole, unset=unset)
    errors = any(finding.severity == "error" for finding in reduced.findings)
    overruled = () if errors else _overruled(part, project, read.whole).findings
    return Imported(
        read.kind,
        preset_text(reduced, read.kind, read.source.path.name),
        reduced.datasets,
        reduced.notes,
        tuple(dict.fromkeys((*reduced.findings, *overruled))),
    )


def _recognise(source: ImportedFile, working_directory: Path, project: Project) -> _Read:
    """What the file is, by its content, whatever it is called; raises QtuneError where it is no config."""
    keys = source.keys
    if keys is None:
        started = read_commands(source, working_directory)
        if started is None:
            raise not_a_config(source)
        kind = "a command that starts LLaMA-Factory"
        return _Read(kind, started.source, started.keys, started.part, whole=True)
    if "train" in keys and set(keys) <= set(PRESET_KEYS):
        fix = "put it into one of the project's preset directories as it is"
        raise QtuneError("is a qtune preset already", where=source.display, fix=fix)
    if _MODEL in keys and any(key in keys for key in _SIGNATURE) and not toolkits.has_its_own(keys):
        return _Read("a LLaMA-Factory config", source, source.values(), Translation(), whole=True)
    if any(key in keys for key in _DEEPSPEED) and _MODEL not in keys:
        part = zero.translate(DeepSpeedFile(keys, source.lines, source.display), Translation(), whole=False)
        return _Read("a DeepSpeed config", source, {}, part)
    flat = toolkits.flatten(source)
    known = [key for key in flat if any(key in names for names in (known_arguments(), aliases(), renamed()))]
    if not toolkits.has_its_own(keys) and 2 * len(known) < len(flat):
        raise not_a_config(source)
    left, part = toolkits.translate(flat, source, project)
    return _Read("a training config", source, left, part, near_base=flat.get(KL_BETA))


def _deepspeed(value: Value | None, train: Translation, read: _Read) -> Translation:
    """The `zero` block of the file, or the mapping, that the original names under `deepspeed`."""
    if value is None or not value.value:
        return Translation()
    source = read.source
    if isinstance(value.value, dict):
        lines = {path[1:]: line for path, line in source.lines.items() if path[:1] == ("deepspeed",)}
        return zero.translate(DeepSpeedFile(value.value, lines, source.display), train, whole=read.whole)
    name = str(value.value)
    path = source.find(name)
    if path is None:
        fix = "put DeepSpeed's JSON there, or import it from a directory where that path holds"
        return refused("deepspeed", f"there is no {name}", fix, value.origin)
    file = read_source(path, source.roots[0])
    if file.keys is None:
        return refused("deepspeed", f"{name} is no DeepSpeed JSON", "correct that file", value.origin)
    part = zero.translate(DeepSpeedFile(file.keys, file.lines, file.display), train, whole=read.whole)
    return noted("deepspeed", f"{name} becomes the `zero` block", value.origin) + part


def _media_dir(keys: Mapping[str, Value], source: ImportedFile, project: Project) -> Translation:
    """LLaMA-Factory looks for media in dataset_dir where nothing else is said, and qtune moves that one.

    Source: llamafactory/hparams/data_args.py, __post_init__.
    """
    if any(key in keys and keys[key].value is not None for key in ("media_dir", "image_dir")):
        return Translation()
    value = keys.get("dataset_dir", Value("data", Origin(LAYER)))
    info = source.find(f"{value.value}/{DATASETS}")
    if info is not None:
        value = Value(file_name(info.parent, project, project.root), value.origin)
    return Translation({("train", "media_dir"): value})


def _overruled(part: Translation, project: Project, whole: bool) -> Translation:
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
