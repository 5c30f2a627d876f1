"""The steps of a training, in one direction.

    layers → config → check → rendered files → launch → run record

`prepare` goes as far as files' text and starts nothing; `write` puts them down; `qtune.training` trains.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from qtune.config.auto import Known, auto_layer
from qtune.config.defaults import withdrawn_layer
from qtune.config.kl import kl_layer
from qtune.config.model import model_type
from qtune.config.names import valid_name
from qtune.config.overruled import overruled_preset
from qtune.config.project import Project
from qtune.config.resolve import merge
from qtune.data import token_cache
from qtune.data.reading.row_counts import count_training_rows
from qtune.data.registrations import Registration, complete_entry, read_registrations
from qtune.data.sources import DataSource, sources_of, uses_of
from qtune.files import alone, link_atomic, write_atomic
from qtune.launch.plan import plan_launch
from qtune.machine.hardware import Hardware
from qtune.machine.stack import Stack
from qtune.predict.steps import Steps, predict_steps
from qtune.secrets.text import without
from qtune.values import (
    ACCELERATE,
    JOB,
    TRAIN,
    ZERO,
    Config,
    Finding,
    LaunchPlan,
    Layer,
    RenderedFile,
)

if TYPE_CHECKING:
    from qtune.render.manifest import Manifest

RENDERED = "rendered"
CURRENT = "current"
_LINKS = ".links"
_NODE_RANK = ("launch", "node_rank")


@dataclass(frozen=True)
class Prepared:
    """A config with everything that is known about it before anything is written.

    files: the rendered directory's content, empty where a finding is an error; directory: where it belongs,
    relative to the project's root, where it is not that of the config's name.
    """

    project: Project
    config: Config
    hardware: Hardware
    findings: tuple[Finding, ...]
    files: tuple[RenderedFile, ...]
    registrations: Mapping[str, Registration]
    directory: str | None = None

    @property
    def rendered(self) -> str:
        """The rendered directory, relative to the project's root."""
        return self.directory or rendered_name(self.config.name)

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def plan(self) -> LaunchPlan:
        """What starts it; only for a config without errors."""
        return plan_launch(self.config, self.hardware, f"{self.named or self.rendered}/{TRAIN}")

    @property
    def named(self) -> str | None:
        """The link by which a command names the rendered directory, None where it needs none.

        LLaMA-Factory's launcher splits its command at spaces (llamafactory/launcher.py).
        """
        if not re.search(r"\s", self.rendered):
            return None
        return f"{RENDERED}/{_LINKS}/{hashlib.sha256(self.rendered.encode()).hexdigest()[:16]}"

    @cached_property
    def steps(self) -> Steps | None:
        """The optimizer steps that the training will take, None where they depend on more than row counts.

        Counting reads the data files, so it happens once.
        """
        train = self.config.block("train")
        if token_cache.is_automatic(self.config):
            train.pop("tokenized_path", None)  # made from this data, so of as many rows
        rows = count_training_rows(train, self.registrations)
        return predict_steps(train, rows, self.config.processes) if rows is not None else None

    @property
    def sources(self) -> list[DataSource]:
        """The datasets of local files that it reads."""
        return sources_of(self.config, self.registrations, self.project.root)

    @property
    def manifest(self) -> Manifest:
        from qtune.render import manifest as manifests

        made = manifests.make(_for_all_nodes(self.config), self.hardware, self.files)
        if self.directory is None:
            return made
        # its entries name files from where they are read back: see records.read_record
        start = self.project.root / rendered_name(self.config.name)
        entries = {name: complete_entry(self.registrations[name], start) for name in made.datasets}
        return replace(made, datasets=entries)


def resolve(
    preset: str,
    project: Project,
    hardware: Hardware,
    overrides: Sequence[Layer] = (),
    *,
    name: str | None = None,
) -> Config:
    """Merge the layers of `preset`, lowest precedence first, and decide each `auto`.

    name: of the config, where it is not the preset's; `team/lora` makes `team-lora`, which a directory can
    be called. Raises QtuneError for presets that cannot be read.
    """
    base, *presets = (item.layer for item in project.store.chain(preset))
    below, above = ([layer] if layer is not None else [] for layer in (project.defaults, project.layer))
    layers = [base, *below, *presets, *above, *overrides]
    return decide(name or preset.replace("/", "-"), layers, project, hardware)


def decide(name: str, layers: Sequence[Layer], project: Project, hardware: Hardware) -> Config:
    """Merge the layers, lowest precedence first, to the config `name`, and decide each `auto`."""
    layers = list(layers)
    merged = merge(name, layers)
    for further in (withdrawn_layer, kl_layer):
        if (layer := further(merged)) is not None:
            layers.append(layer)
            merged = merge(name, layers)
    layers.append(auto_layer(Known(merged, hardware, model_type(merged, project.root))))
    decided = merge(name, layers)
    tokens = token_cache.tokens_layer(decided, project)
    return decided if tokens is None else merge(name, [*layers, tokens])


def examine(
    preset: str,
    project: Project,
    hardware: Hardware,
    overrides: Sequence[Layer] = (),
    *,
    name: str | None = None,
    stack: Stack | None = None,
) -> Prepared:
    """Resolve the config and find everything that is wrong with it; nothing is rendered.

    stack: what is installed where it will train, None where that is not this machine.
    Raises QtuneError where presets, project or registrations cannot be read at all; what is wrong with the
    values in them is in `findings`, all of it at once.
    """
    from qtune.checks import check  # and with it every rule, which showing a config takes none of

    if name is not None:
        valid_name(name, "rendered directory")
    config = resolve(preset, project, hardware, overrides, name=name)
    registrations = read_registrations(project)
    findings = check(config, registrations, project.root, hardware, stack)
    if found := overruled_preset(preset, project, overrides, config):
        findings.append(found)
    return Prepared(project, config, hardware, tuple(findings), (), registrations)


def prepare(
    preset: str,
    project: Project,
    hardware: Hardware,
    overrides: Sequence[Layer] = (),
    *,
    name: str | None = None,
    stack: Stack | None = None,
) -> Prepared:
    """Go as far as the rendered files' text: nothing is written and nothing started.

    Raises QtuneError as `examine` does, and where a template fails.
    """
    prepared = examine(preset, project, hardware, overrides, name=name, stack=stack)
    if prepared.errors:
        return prepared
    # apart from qtune's own runs, which a second run by hand would otherwise continue and overwrite
    by_hand = f"{project.runs}/{prepared.config.name}-by-hand"
    return with_files(prepared, by_hand, project.store.load(preset).about)


def with_files(prepared: Prepared, output_dir: str, about: str) -> Prepared:
    """Add the text of its files, and to the layers the templates that made them.

    Raises QtuneError where a template fails.
    """
    from qtune.render.files import render  # and with it jinja2, which only rendering takes
    from qtune.render.templates import Templates

    project, config, registrations = prepared.project, prepared.config, prepared.registrations
    templates = Templates(project.sources, project.root)
    directory = project.root / prepared.rendered
    files = render(
        config,
        {name: complete_entry(registrations[name], directory) for name, _ in uses_of(config)},
        prepared.hardware,
        replace(prepared, config=_for_all_nodes(config)).plan,
        templates=templates,
        directory=prepared.rendered,
        output_dir=output_dir,
        about=without(about),
        hub=project.hub,
    )
    # what the files were made from: the values' layers, and the templates
    config = replace(config, layers=(*config.layers, *templates.used))
    return replace(prepared, config=config, files=tuple(files))


def write(prepared: Prepared) -> Path:
    """Write the rendered directory and make it the current one; returns its path.

    Each file is written whole or not at all; the manifest comes last, so that it never vouches for files
    that are not there.
    """
    from qtune.render import manifest as manifests

    directory = prepared.project.root / prepared.rendered
    directory.mkdir(parents=True, exist_ok=True)
    with alone(directory):
        write_files(prepared)
        for name in {ZERO, ACCELERATE, JOB} - {file.name for file in prepared.files}:
            (directory / name).unlink(missing_ok=True)
        write_atomic(directory / manifests.FILE, manifests.to_text(prepared.manifest))
    write_atomic(directory.parent / CURRENT, prepared.config.name + "\n")
    return directory


def write_files(prepared: Prepared) -> Path:
    """Write the files alone into their directory, and the link to it; returns its path."""
    directory = prepared.project.root / prepared.rendered
    for file in prepared.files:
        write_atomic(directory / file.name, file.text, executable=file.name.endswith(".sh"))
    if prepared.named is not None:
        link_atomic(prepared.project.root / prepared.named, directory)
    return directory


def _for_all_nodes(config: Config) -> Config:
    """Without `launch.node_rank`, so that every node renders the same files."""
    values = {path: value for path, value in config.values.items() if path != _NODE_RANK}
    layers = tuple(layer for layer in config.layers if layer.file or set(layer.values) != {_NODE_RANK})
    return replace(config, values=values, layers=layers)


def rendered_name(name: str) -> str:
    """The rendered directory of a config, from the project's root."""
    return f"{RENDERED}/{name}"
