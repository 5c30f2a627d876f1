"""Reads the record of a run back, and checks and renders it again for that run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qtune.checks import check
from qtune.config.project import Project
from qtune.config.resolve import merge
from qtune.data.registrations import Registration, read_registrations
from qtune.files import Document
from qtune.machine.stack import Stack
from qtune.prepare.pipeline import RENDERED, Prepared, rendered_name, with_files
from qtune.render import manifest as manifests
from qtune.values import DATASETS, Config, Layer


def read_record(
    project: Project, directory: Path, changes: Sequence[Layer] = (), *, stack: Stack | None = None
) -> Prepared:
    """What the run in `directory` was trained with, checked and rendered again, for that directory.

    It is made from the run's record alone, but for the templates, whatever presets and registrations say
    today. changes: layers over what was recorded; stack: what is installed where it will train.
    Raises QtuneError where the record cannot be read.
    """
    path = directory / manifests.FILE
    manifest = manifests.read(path, os.path.relpath(path))
    config = merge(manifest.config.name, [Layer("record", manifest.config.values), *changes])
    config = replace(config, layers=manifest.config.layers)
    registrations = {
        **read_registrations(project),
        **{name: _recorded(project, config, name, entry) for name, entry in manifest.datasets.items()},
    }
    findings = tuple(check(config, registrations, project.root, manifest.hardware, stack))
    found = Prepared(project, config, manifest.hardware, findings, (), registrations)
    return within(found, directory)


def within(prepared: Prepared, directory: Path) -> Prepared:
    """The same with files for a run's own directory; unchanged where it has errors."""
    if prepared.errors:
        return prepared
    run = prepared.project.from_root(directory)
    layers = prepared.config.layers
    made = with_files(replace(prepared, directory=f"{run}/{RENDERED}"), run, "")
    # the record vouches for the layers that the values came from, not for those of the day
    return replace(made, config=replace(made.config, layers=layers))


def _recorded(project: Project, config: Config, name: str, entry: Mapping[str, Any]) -> Registration:
    """A recorded dataset_info.json entry as a registration; its file is named from the rendered directory,
    which need not be there any more."""
    named, entry = entry.get("file_name"), dict(entry)
    if isinstance(named, str) and not Path(named).expanduser().is_absolute():
        entry["file_name"] = os.path.normpath(Path(rendered_name(config.name)) / named)
    return Registration(name, entry, Document({}, {}, project.root / DATASETS, manifests.FILE, ""))
