"""`data`: what its commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from qtune.cli.commands import group
from qtune.cli.complete import dataset_names, preset_names
from qtune.config.names import did_you_mean
from qtune.config.presets import DEFAULT
from qtune.config.project import Project
from qtune.data.registrations import Registration, read_registrations
from qtune.errors import QtuneError
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline, renderings
from qtune.values import Config, Layer

NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A registered dataset's name.", autocompletion=dataset_names),
]
ForPresetOption = Annotated[
    str | None,
    typer.Option(
        "-p",
        "--preset",
        help="Whose stage, template, model and cutoff_len count; else those of what was rendered last.",
        autocompletion=preset_names,
    ),
]


@group("data", "qtune data add answers.jsonl", "qtune data check answers", no_args_is_help=True)
def data_group() -> None:
    """Register, check, measure and preview datasets."""


def registered(project: Project, name: str) -> Registration:
    """Raises QtuneError, with what comes near, where no dataset has this name."""
    registrations = read_registrations(project)
    if name not in registrations:
        fix = (
            did_you_mean(name, registrations) or "`qtune data list` shows what is, `qtune data add` adds one"
        )
        raise QtuneError(f"dataset `{name}` is not registered", fix=fix)
    return registrations[name]


def config_for(project: Project, preset: str | None, hardware: Hardware, layers: list[Layer]) -> Config:
    """The config that data is looked at for: `preset`, else what was rendered last, else the default one."""
    return pipeline.resolve(preset or renderings.current(project) or DEFAULT, project, hardware, layers)
