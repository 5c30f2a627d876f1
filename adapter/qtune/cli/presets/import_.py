"""`import`: a config of another shape becomes a preset."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.data.registry import add_registry
from qtune.cli.output import note, report
from qtune.config.own import own_preset_path, write_own_preset
from qtune.config.project import Project

if TYPE_CHECKING:  # read by this command alone, and by no other's start
    from qtune.importing.read import Imported


@command("import", "qtune import train.yaml", "qtune import run.sh --name ours")
def import_command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="LLaMA-Factory YAML or JSON, a script or notebook that starts it, another toolkit's config.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option("-n", "--name", help="Write it as the preset NAME; printed without it.")
    ] = None,
) -> None:
    """Turn a config of another shape into a preset: what it says beyond base, in today's names.

    Scripts are read, never run. What was translated is named; a key that a preset cannot hold is an error,
    and then nothing is written. The datasets of a dataset_info.json are registered.
    """
    from qtune.files import block_lines
    from qtune.importing.read import read_import
    from qtune.importing.registry import registry_at

    project = here()
    if file.is_file() and registry_at(file) is not None:
        command_line = f"qtune data add {shlex.quote(str(file))} --force"
        add_registry(project, file, fix=f"`{command_line}` replaces what is there")
        if name is not None:
            note(f"no preset {name} was written: a dataset_info.json has datasets alone")
        return
    if name is not None:
        own_preset_path(project, name)  # refuses before anything is read
    imported = read_import(file, Path.cwd(), project)
    for item in imported.notes:
        note(str(item))
    report(imported.findings)
    if imported.errors:
        raise typer.Exit(2)
    read_as = f"read as {imported.kind}" + (f" ({imported.coverage})" if imported.coverage else "")
    if name is None:
        typer.echo(imported.text, nl=False)
        if imported.datasets:
            typer.echo("# data/datasets.yaml needs:")
            for line in block_lines(imported.datasets):
                typer.echo(f"# {line}")
        note(f"{read_as}; next: `qtune import {file} -n NAME` writes it")
    else:
        _write(project, name, imported)
        note(f"{read_as}; next: `qtune check {name}`, then `qtune train {name}`")


def _write(project: Project, name: str, imported: Imported) -> None:
    from qtune.data.adding.register import add_entries

    if imported.datasets:
        typer.echo(add_entries(project, imported.datasets).relative_to(project.root).as_posix())
    path = write_own_preset(project, name, imported.text)
    typer.echo(path.relative_to(project.root).as_posix())
