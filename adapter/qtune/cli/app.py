"""The application and the options that commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qtune import __version__
from qtune.cli.commands import CommandGroup, examples_text, plain_typer
from qtune.cli.complete import assignments, dataset_names, launchers, preset_names
from qtune.values import KeyPath, Layer, Origin, Value

if TYPE_CHECKING:
    from qtune.config.project import Project
    from qtune.machine.hardware import Hardware
    from qtune.machine.stack import Stack

app = plain_typer(
    name="qtune",
    cls=CommandGroup,
    help="Team-shared YAML presets in; checked LLaMA-Factory and DeepSpeed configs out; training run.",
    epilog=examples_text("qtune init my-project", "qtune check", "qtune render stage3 && qtune train"),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

PresetArgument = Annotated[
    str,
    typer.Argument(
        metavar="PRESET", help="A preset's name; `qtune presets` lists them.", autocompletion=preset_names
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option("-m", "--model", help="The model: a hub's id or a directory (model_name_or_path)."),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        "-d",
        "--dataset",
        help="Registered dataset, or several with commas between.",
        autocompletion=dataset_names,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "-s",
        "--set",
        metavar="KEY=VALUE",
        help="Set one argument; repeatable. VALUE is YAML, null removes; zero.KEY and launch.KEY work too.",
        autocompletion=assignments,
    ),
]
LauncherOption = Annotated[
    str | None,
    typer.Option(
        "--launcher",
        help=f"What starts the processes: {', '.join(launchers(''))} (launch.launcher).",
        autocompletion=launchers,
    ),
]
HardwareOption = Annotated[
    str | None,
    typer.Option("--hardware", help="Decide `auto` for cpu, 1x24GB, 8x80GB, … instead of for this machine."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"qtune {__version__}")
        raise typer.Exit


@app.callback()
def _shared(
    directory: Annotated[
        Path | None, typer.Option("-C", metavar="DIR", help="Run as if started in DIR.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if directory is not None:
        os.chdir(directory)


def here() -> Project:
    """The project of the working directory; its `hub:` holds from here on, for every child too."""
    from qtune.config.project import find_project

    project = find_project(Path.cwd())
    if project.hub:
        from qtune.machine.hub import set_variables

        set_variables(project.hub, override=False)
    return project


def hardware_from(option: str | None) -> Hardware:
    """The hardware that --hardware names, else this machine's; raises QtuneError where it names none."""
    from qtune.machine.hardware import detect_hardware, parse_hardware

    return detect_hardware() if option is None else parse_hardware(option)


def stack_from(option: str | None) -> Stack | None:
    """What is installed where it will train, None where --hardware names another machine."""
    from qtune.machine.stack import installed_stack

    return installed_stack() if option is None else None


def override_layers(
    model: str | None, dataset: str | None, assignments: list[str] | None, launcher: str | None = None
) -> list[Layer]:
    """The command line's values: --model, --dataset and --launcher, then --set, which wins over them."""
    given = (
        ("train", "model_name_or_path", model, "--model"),
        ("train", "dataset", dataset, "--dataset"),
        ("launch", "launcher", launcher, "--launcher"),
    )
    values: dict[KeyPath, Value] = {
        (block, key): Value(value, Origin(option)) for block, key, value, option in given if value is not None
    }
    layers = [Layer("options", values)] if values else []
    if not assignments:
        return layers
    from qtune.config.resolve import overrides

    return [*layers, overrides(assignments)]
