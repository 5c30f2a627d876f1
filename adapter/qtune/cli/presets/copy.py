"""`copy`: a preset of one's own over another one."""

from __future__ import annotations

from typing import Annotated

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import note
from qtune.config.own import copy_preset


@command("copy", "qtune copy stage2_offload ours", "qtune copy team/style house_style")
def copy_command(
    preset: options.Preset,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new preset's name.")],
) -> None:
    """Start a preset of your own over another one: a file that extends it, with its values to change.

    It goes to the project's preset directory, which qtune.yaml then lists.
    """
    project = here()
    path = copy_preset(project, preset, name)
    typer.echo(str(path.relative_to(project.root)))
    note(f"next: edit it, then `qtune render {name} && qtune train`")
