"""`copy`: a preset of one's own over another one."""

from __future__ import annotations

from typing import Annotated

import typer

from qtune.cli.app import PresetArgument, here
from qtune.cli.commands import command
from qtune.cli.output import note
from qtune.cli.presets.schema import schema_comment, write_schemas
from qtune.config.own import own_preset_path, write_own_preset
from qtune.config.presets import BLOCKS
from qtune.config.resolve import merge
from qtune.files import dump_yaml


@command("copy", "qtune copy stage2_offload ours", "qtune copy team/style house_style")
def copy_command(
    preset: PresetArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new preset's name.")],
) -> None:
    """Start a preset of your own over another one: a file that extends it, with its values to change.

    It goes to the project's preset directory, which qtune.yaml then lists.
    """
    project = here()
    chain = project.store.chain(preset)
    config = merge(preset, [item.layer for item in chain])
    path = own_preset_path(project, name)
    # of the same name the copy would come first, and extend itself
    parent = f"{chain[-1].source.name}/{preset}" if name == preset else preset
    lines = [
        schema_comment("preset", len(path.relative_to(project.root).parents) - 1),
        f"about: {dump_yaml(f'our {preset}')}",
        f"extends: {parent}",
        f"# What {preset} sets. Take the # away from a line to change its value here; the rest is inherited.",
    ]
    for block in BLOCKS:
        if config.block(block):
            lines.append(f"# {block}:" if block != "train" else "train:")
            lines += [f"  # {key}: {dump_yaml(value)}" for key, value in config.block(block).items()]
    write_own_preset(project, name, "\n".join(lines) + "\n")
    write_schemas(project.root)
    typer.echo(str(path.relative_to(project.root)))
    note(f"next: edit it, then `qtune render {name} && qtune train`")
