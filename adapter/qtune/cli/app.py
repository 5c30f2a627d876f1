"""The application, and the project that its commands work in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qtune import __version__
from qtune.cli.commands import CommandGroup, examples_text, plain_typer

if TYPE_CHECKING:
    from qtune.config.project import Project

app = plain_typer(
    name="qtune",
    cls=CommandGroup,
    help="Team-shared YAML presets in; checked LLaMA-Factory and DeepSpeed configs out; training run.",
    epilog=examples_text("qtune init my-project", "qtune check", "qtune render stage3 && qtune train"),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
