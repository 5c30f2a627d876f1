"""Importing configs and scripts of other shapes as presets.

    file → source → keys of one shape → this release's arguments, ZeRO keys, launch → what differs from base

Nothing is executed, and nothing is lost without a word: what a preset cannot say is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qtune.config.overruled import overruled
from qtune.config.presets import BASE
from qtune.config.project import Project
from qtune.files import leaves
from qtune.importing import arguments, datasets, places
from qtune.importing.data_file import refuse_data
from qtune.importing.deepspeed import named as deepspeed
from qtune.importing.kl import hold_near_base
from qtune.importing.original import Coverage
from qtune.importing.parts import Note, Registered, Translation, warned
from qtune.importing.preset import preset_text
from qtune.importing.recognise import recognise
from qtune.importing.reduce import library_default, reduce
from qtune.importing.registry import find_registry
from qtune.importing.source import LAYER, read_source
from qtune.values import Finding, KeyPath, Origin, Value


@dataclass(frozen=True)
class Imported:
    """An import: the preset's text, the registrations it needs, and what there is to say about both.

    kind: what the file was read as, in words; coverage: of another toolkit's keys.
    """

    kind: str
    text: str
    datasets: Registered
    notes: tuple[Note, ...]
    findings: tuple[Finding, ...]
    coverage: Coverage | None = None

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")


def read_import(path: Path, working_directory: Path, project: Project) -> Imported:
    """The file at `path` as a preset of `project`; nothing is written.

    Raises QtuneError for a file that is no config or cannot be read; a key that would be lost is an error
    among the findings.
    """
    refuse_data(path)
    here = working_directory.resolve()
    read = recognise(read_source(path, here), project)
    part = read.part + arguments.translate(read.keys)
    registry = find_registry(read.keys.get("dataset_dir"), list(datasets.names_of(read.keys)), read.source)
    if registry is not None:
        read = replace(read, source=read.source.starting(registry.ran_in))
    part += datasets.register(read.keys, registry, project, read.part.datasets)
    if read.near_base is not None:
        part += hold_near_base(read.near_base, part)
    part += deepspeed.named(read.keys.get("deepspeed"), part, read)
    part = places.settled(part, read, project)
    if read.whole:
        part += places.media_dir(part, read, registry, project)
        part += _without_training(part, read.source.display)
    unset = Value(None, Origin(LAYER, read.source.display))
    base = project.store.load(BASE).layer.values
    above = {path: value for layer in project.layers for path, value in layer.values.items()}
    reduced = reduce(part, base, above, complete=read.whole, unset=unset)
    errors = any(finding.severity == "error" for finding in reduced.findings)
    otherwise = None if errors else overruled(_said(part, above, read.whole), project)
    return Imported(
        read.kind,
        preset_text(reduced, read.kind, read.source.path.name),
        reduced.datasets,
        reduced.notes,
        tuple(dict.fromkeys((*reduced.findings, *filter(None, [otherwise])))),
        read.coverage,
    )


def _without_training(part: Translation, display: str) -> Translation:
    """A word on a config that starts nothing (llamafactory/train/sft/workflow.py, run_sft)."""
    if any(part.train(key) for key in ("do_train", "do_eval", "do_predict")):
        return Translation()
    message = "is not set, and without it LLaMA-Factory loads everything and trains nothing"
    return warned("do_train", message, "set do_train: true in the preset", Origin(LAYER, display))


def _said(part: Translation, project: Mapping[KeyPath, Value], whole: bool) -> dict[KeyPath, Any]:
    """What an original says of each value that the project sets; where a whole one is silent, the default."""
    said = {
        leaf: plain
        for path, value in part.values.items()
        for leaf, plain in leaves({path[-1]: value.value}, path[:-1])
    }
    left_out = {path: library_default(path) for path in project if whole and path[0] != "launch"}
    return {**left_out, **said}
