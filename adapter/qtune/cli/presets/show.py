"""`show`: what a preset says, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.complete import argument_names
from qtune.cli.output import print_json
from qtune.cli.terminal import say
from qtune.config.presets import BLOCKS
from qtune.files import dump_yaml
from qtune.values import Config, KeyPath, Value


@command("show", "qtune show lora --origin", "qtune show lora learning_rate")
def show_command(
    preset: options.Preset,
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="[KEY]",
            help="Explain this one: learning_rate, zero.stage, launch.nproc_per_node, …",
            autocompletion=argument_names,
        ),
    ] = None,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say of each value which layer, file and line set it.")
    ] = False,
    model: options.Model = None,
    dataset: options.Dataset = None,
    assignments: options.Assignments = None,
    launcher: options.Launcher = None,
    hardware: options.Hardware = None,
    as_json: options.Json = False,
) -> None:
    """Show a preset's merged config: what it inherits, what the project says, and what `auto` came to.

    With KEY: that one's value, every layer that set it, and the library's help, default and choices.
    """
    from qtune.config.explain import explain
    from qtune.prepare import pipeline

    config = pipeline.resolve(
        preset,
        here(),
        options.hardware_from(hardware),
        options.override_layers(model, dataset, assignments, launcher),
    )
    if key is not None:
        explained = explain(config, key)
        if as_json:
            print_json(explained)
        else:
            _print_explained(explained)
    elif as_json:
        print_json(
            {
                block: {
                    ".".join(path[1:]): _with_origin(value) if origin else value.value
                    for path, value in config.values.items()
                    if path[0] == block
                }
                for block in BLOCKS
            }
        )
    else:
        for block in BLOCKS:
            if config.block(block):
                typer.echo(f"{block}:")
                _show(config, (block,), origin)


def _print_explained(explained: dict[str, Any]) -> None:
    def shown(value: Any) -> str:
        return "none" if value is None else dump_yaml(value)

    if explained["set"]:
        typer.echo(f"{explained['key']}: {shown(explained['value'])}  # {explained['origin']}")
    elif explained["value"] is not None:
        typer.echo(f"{explained['key']}: {shown(explained['value'])}")
    else:
        typer.echo(
            f"{explained['key']}: not set, so the library's default holds: {shown(explained['default'])}"
        )
    if len(explained["layers"]) > 1:
        typer.echo("set by, the last one wins:")
        for layer in explained["layers"]:
            value = "removed" if layer["value"] is None else shown(layer["value"])
            typer.echo(f"  {value}  # {layer['origin']}")
    if explained["help"]:
        say(f"help:    {explained['help']}", later=9)
    typer.echo(f"type:    {' or '.join(explained['types'])}")
    typer.echo(f"default: {shown(explained['default'])}")
    if explained["choices"]:
        say(f"choices: {', '.join(map(str, explained['choices']))}", later=9)


def _with_origin(value: Value) -> dict[str, Any]:
    origin = value.origin
    return {"value": value.value, "layer": origin.layer, "file": origin.file, "line": origin.line}


def _show(config: Config, prefix: KeyPath, origin: bool) -> None:
    """The leaves below `prefix` as nested YAML, each with its origin behind it."""
    indent = "  " * len(prefix)
    depth = len(prefix)
    for key in dict.fromkeys(
        path[depth] for path in config.values if path[:depth] == prefix and len(path) > depth
    ):
        leaf = config.find(*prefix, key)
        if leaf is None:
            typer.echo(f"{indent}{key}:")
            _show(config, (*prefix, key), origin)
        else:
            typer.echo(f"{indent}{key}: {dump_yaml(leaf.value)}" + (f"  # {leaf.origin}" if origin else ""))
