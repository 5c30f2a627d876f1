"""Reads rendered directories back, edits by hand included, and tells which of their sources changed since."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from qtune import resources
from qtune.checks import check
from qtune.config.auto import AUTO, DECIDED
from qtune.config.names import valid_name
from qtune.config.presets import DEFAULT
from qtune.config.project import Project
from qtune.config.resolve import merge
from qtune.config.sources import pin_of_file
from qtune.data.registrations import Registration, read_registrations
from qtune.errors import QtuneError
from qtune.files import Document, alone, leaves, read_yaml
from qtune.machine.hardware import Hardware
from qtune.machine.stack import Stack
from qtune.prepare import pipeline
from qtune.prepare.pipeline import CURRENT, RENDERED, Prepared, rendered_name
from qtune.prepare.records import registration
from qtune.render import manifest as manifests
from qtune.render.engine import set_keys
from qtune.render.manifest import Manifest
from qtune.schema import DERIVED
from qtune.values import DATASETS, TRAIN, ZERO, KeyPath, Layer, Origin, RenderedFile, Value


def current(project: Project) -> str | None:
    """The name of the current rendered directory, None where nothing was rendered."""
    path = project.root / RENDERED / CURRENT
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def examine(
    project: Project,
    preset: str | None,
    hardware: Hardware,
    overrides: Sequence[Layer] = (),
    *,
    anew: bool = False,
    stack: Stack | None = None,
) -> Prepared:
    """The config of `preset`, else what was rendered last, under `overrides`, with every finding.

    What was rendered is for its own hardware, and under overrides each `auto` in it that nobody edited is
    decided once more. anew: for `hardware` instead; stack: what is installed where it will train.
    Raises QtuneError as `pipeline.examine` does, and where what was rendered last is incomplete.
    """
    name = current(project) if preset is None else None
    if name is None:
        return pipeline.examine(preset or DEFAULT, project, hardware, overrides, stack=stack)
    found = read(project, name, stack)
    if not (overrides or anew):
        return found
    machine = hardware if anew else found.hardware
    values = {
        path: Value(AUTO, value.origin) if value.origin.layer.startswith(DECIDED) else value
        for path, value in found.config.values.items()
    }
    config = pipeline.decide(name, [Layer("rendered", values), *overrides], project, machine)
    findings = tuple(check(config, found.registrations, project.root, machine, stack))
    return Prepared(project, config, machine, findings, (), found.registrations)


def read(
    project: Project, name: str, stack: Stack | None = None, overrides: Sequence[Layer] = ()
) -> Prepared:
    """The rendered directory `name` as it stands, edits by hand included, checked again.

    stack: what is installed on this machine, where it will train on this one; overrides: what changes
    nothing that is rendered.
    Raises QtuneError where it is incomplete or unreadable.
    """
    relative = rendered_name(valid_name(name, "rendered directory"))
    directory = project.root / relative
    if not (directory / manifests.FILE).is_file():
        raise QtuneError(f"there is no rendered {relative}", fix=render_again(project, name))
    with alone(directory):
        manifest = manifests.read(directory / manifests.FILE, f"{relative}/{manifests.FILE}")
        for file in manifest.files:
            if not (directory / file).is_file():
                raise QtuneError("is missing", where=f"{relative}/{file}", fix=render_again(project, name))
        texts = [RenderedFile(file, (directory / file).read_text("utf-8")) for file in manifest.files]
        edits = _edits(directory, relative, manifest)
        datasets = _edited_datasets(project, relative, manifest, texts)
    rendered = Layer("rendered", manifest.config.values)
    config = merge(name, [rendered, *edits, *overrides])
    config = replace(config, layers=manifest.config.layers)
    registrations = {**read_registrations(project), **datasets}
    return Prepared(
        project,
        config,
        manifest.hardware,
        tuple(check(config, registrations, project.root, manifest.hardware, stack)),
        tuple(texts),
        registrations,
    )


def preset_word(project: Project, name: str) -> str:
    """`name` where it is a preset's; else, as nothing tells of which preset it is, a word in its place."""
    with suppress(QtuneError):  # the project's sources need not be there
        if project.store.knows(name):
            return name
    return "PRESET"


def render_again(project: Project, name: str) -> str:
    """What makes the rendered directory `name` anew."""
    preset = preset_word(project, name)
    return f"render it again: `qtune render {preset}{'' if preset == name else f' -n {name}'}`"


def stale_layers(prepared: Prepared) -> list[str]:
    """The files that a rendered directory was made from and that have changed since, or whose pin has."""
    stale = []
    for layer in prepared.config.layers:
        if layer.file is None or layer.sha256 is None:
            continue
        present = pin_of_file(layer.file, prepared.project.pins)
        path = resources.find(layer.file, prepared.project.root)
        if present is None and path.is_file():
            present = manifests.digest(path.read_bytes())
        if present != layer.sha256:
            stale.append(layer.file)
    return list(dict.fromkeys(stale))


def is_by_hand(value: Value) -> bool:
    """Whether somebody gave it for this training alone: as an option, or in the rendered files."""
    return value.origin.layer.startswith("--") or (value.origin.file or "").startswith(f"{RENDERED}/")


def _edits(directory: Path, relative: str, manifest: Manifest) -> list[Layer]:
    """What somebody changed by hand in train.yaml and zero.json, as layers over what was rendered."""
    layers = []
    for file, block in ((TRAIN, "train"), (ZERO, "zero"), (ZERO, "deepspeed")):
        path = directory / file
        if file not in manifest.files or manifests.digest(path.read_bytes()) == manifest.files[file]:
            continue
        display = f"{relative}/{file}"
        found = values_in(read_yaml(path, display), block)  # JSON is YAML
        values = {path: Value(None, Origin(display)) for path in manifest.config.values if path[0] == block}
        values |= {path: value for path, value in found.items() if path[1] not in DERIVED}
        if values:
            layers.append(Layer(display, values, display))
    return layers


def _edited_datasets(
    project: Project, relative: str, manifest: Manifest, texts: Sequence[RenderedFile]
) -> dict[str, Registration]:
    """The registrations of a dataset_info.json that somebody changed by hand; none of one as rendered."""
    text = next((file.text for file in texts if file.name == DATASETS), "")
    if manifests.digest(text.encode()) == manifest.files.get(DATASETS):
        return {}
    display = f"{relative}/{DATASETS}"
    found = read_yaml(project.root / display, display)  # JSON is YAML
    entries = found.data
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            fix = f"render it again: `qtune render {manifest.config.name}`"
            raise QtuneError("is no registration", where=found.where(name), fix=fix)
    return {name: registration(project, relative, name, entry) for name, entry in entries.items()}


def values_in(document: Document, block: str) -> dict[KeyPath, Value]:
    """The values of a train.yaml, or for the blocks `zero` and `deepspeed` those of DeepSpeed's JSON."""
    inside = ("zero_optimization",) if block == "zero" else ()
    data = document.data.get("zero_optimization", {}) if inside else document.data
    name, lines = document.display, document.lines
    return {
        (block, *path): Value(value, Origin(name, name, lines.get((*inside, *path))))
        for path, value in (set_keys(data) if block == "deepspeed" else leaves(data))
    }
