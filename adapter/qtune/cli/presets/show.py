"""`show`: what a preset says, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from qtune.cli.app import (
    DatasetOption,
    HardwareOption,
    JsonOption,
    LauncherOption,
    ModelOption,
    PresetArgument,
    SetOption,
    hardware_from,
    here,
    override_layers,
)
from qtune.cli.commands import command
from qtune.cli.complete import argument_names
from qtune.cli.output import print_json
from qtune.config.aliases import aliases
from qtune.config.names import did_you_mean
from qtune.config.presets import BLOCKS
from qtune.errors import QtuneError
from qtune.files import dump_yaml
from qtune.prepare import pipeline
from qtune.schema import known_argument, known_keys
from qtune.values import Config, KeyPath, Value


@command("show", "qtune show lora --origin", "qtune show lora learning_rate")
def show_command(
    preset: PresetArgument,
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
    model: ModelOption = None,
    dataset: DatasetOption = None,
    assignments: SetOption = None,
    launcher: LauncherOption = None,
    hardware: HardwareOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a preset's merged config: what it inherits, what the project says, and what `auto` came to.

    With KEY: that one's value, every layer that set it, and the library's help, default and choices.
    """
    config = pipeline.resolve(
        preset, here(), hardware_from(hardware), override_layers(model, dataset, assignments, launcher)
    )
    if key is not None:
        explained = _explain(config, key)
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


def _explain(config: Config, key: str) -> dict[str, Any]:
    """Everything known about one key; raises QtuneError for a key that nobody knows."""
    path = _path_of(key)
    argument = known_argument(path)
    if argument is None:
        block = path[0] if path[0] in BLOCKS else "train"
        fix = did_you_mean(path[-1], known_keys(block)) or f"`qtune show {config.name}` lists what it sets"
        raise QtuneError(f"there is no argument `{key}`", fix=fix)
    found = config.find(*path)
    return {
        "key": ".".join(path[1:] if path[0] == "train" else path),
        "set": found is not None,
        "value": found.value if found else (config.block(path[0]).get(path[1]) if len(path) == 2 else None),
        "origin": str(found.origin) if found else None,
        "layers": [
            {"layer": layer.name, "value": value.value, "origin": str(value.origin)}
            for layer in config.layers
            for layer_path, value in layer.values.items()
            if layer_path == path
        ],
        "help": argument.help,
        "types": list(argument.types),
        "default": argument.default,
        "choices": list(argument.choices) if argument.choices else None,
    }


def _path_of(key: str) -> KeyPath:
    parts = tuple(key.split("."))
    return parts if parts[0] in BLOCKS else ("train", aliases().get(parts[0], parts[0]), *parts[1:])


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
        typer.echo(f"help:    {explained['help']}")
    typer.echo(f"type:    {' or '.join(explained['types'])}")
    typer.echo(f"default: {shown(explained['default'])}")
    if explained["choices"]:
        typer.echo(f"choices: {', '.join(map(str, explained['choices']))}")


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
