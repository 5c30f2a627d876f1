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
from qtune.files import Document, parse_yaml
from qtune.machine.stack import Stack
from qtune.prepare.pipeline import RENDERED, Prepared, rendered_name, with_files
from qtune.render import manifest as manifests
from qtune.render.manifest import Manifest
from qtune.values import ACCELERATE, DATASETS, JOB, TRAIN, ZERO, Layer, RenderedFile


def read_record(
    project: Project, directory: Path, changes: Sequence[Layer] = (), *, stack: Stack | None = None
) -> Prepared:
    """What the run in `directory` was trained with, checked and rendered again, for that directory.

    It is made from the run's record alone, whatever presets and registrations say today. Without changes its
    files are those that the run trained or will train; with them, and of a run that was moved or lacks one,
    today's templates make them anew. changes: layers over what was recorded; stack: what is installed where
    it will train.
    Raises QtuneError where the record cannot be read.
    """
    path = directory / manifests.FILE
    manifest = manifests.read(path, os.path.relpath(path))
    config = merge(manifest.config.name, [Layer("record", manifest.config.values), *changes])
    config = replace(config, layers=manifest.config.layers)
    rendered = rendered_name(config.name)
    registrations = {
        **read_registrations(project),
        **{name: registration(project, rendered, name, entry) for name, entry in manifest.datasets.items()},
    }
    findings = tuple(check(config, registrations, project.root, manifest.hardware, stack))
    found = Prepared(project, config, manifest.hardware, findings, (), registrations)
    if not found.errors and not changes:
        own = f"{project.from_root(directory)}/{RENDERED}"
        found = replace(found, files=_written(directory / RENDERED, manifest))
        if _place(found.files) == own:
            return replace(found, directory=own)
    return within(found, directory)


def within(prepared: Prepared, directory: Path, name: str = RENDERED) -> Prepared:
    """The same with files of its own in a run's directory, below `name`; unchanged where it has errors."""
    if prepared.errors:
        return prepared
    run = prepared.project.from_root(directory)
    layers = prepared.config.layers
    made = with_files(replace(prepared, directory=f"{run}/{name}"), run, "")
    # these name no directory, so what they were rendered or edited to by hand holds
    kept = {file.name: file for file in prepared.files if file.name in (ZERO, ACCELERATE, JOB)}
    files = tuple(kept.get(file.name, file) for file in made.files)
    # the record vouches for the layers that the values came from, not for those of the day
    return replace(made, config=replace(made.config, layers=layers), files=files)


def _place(files: Sequence[RenderedFile]) -> str | None:
    """The directory that these files were rendered for, None of none."""
    text = next((file.text for file in files if file.name == TRAIN), None)
    return None if text is None else parse_yaml(text, TRAIN)[0].get("dataset_dir")


def _written(directory: Path, manifest: Manifest) -> tuple[RenderedFile, ...]:
    """The recorded files as they lie in a run's own directory; none where one is another or gone."""
    try:
        files = tuple(
            RenderedFile(name, (directory / name).read_text(encoding="utf-8")) for name in manifest.files
        )
    except (OSError, ValueError):
        return ()
    same = all(manifests.digest(file.text.encode()) == manifest.files[file.name] for file in files)
    return files if same else ()


def registration(project: Project, rendered: str, name: str, entry: Mapping[str, Any]) -> Registration:
    """An entry of a rendered dataset_info.json as a registration.

    Its file is named from the directory `rendered`, which need not be there any more.
    """
    named, entry = entry.get("file_name"), dict(entry)
    if isinstance(named, str) and not Path(named).expanduser().is_absolute():
        entry["file_name"] = os.path.normpath(Path(rendered) / named)
    return Registration(name, entry, Document({}, {}, project.root / DATASETS, manifests.FILE, ""))
