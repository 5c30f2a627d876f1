"""`diff`: what differs between two configs, with the origin of each value."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.complete import sides
from qtune.cli.output import note, print_json
from qtune.files import dump_yaml
from qtune.values import Value

if TYPE_CHECKING:
    from qtune.prepare.compare import Difference

_SIDE = "A preset, a rendered directory, a run, or a LLaMA-Factory YAML file."


@command("diff", "qtune diff lora qlora", "qtune diff lora train.yaml")
def diff_command(
    first: Annotated[str, typer.Argument(metavar="A", help=_SIDE, autocompletion=sides)],
    second: Annotated[str, typer.Argument(metavar="B", help=_SIDE, autocompletion=sides)],
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 where they differ.")] = False,
    hardware: options.Hardware = None,
    as_json: options.Json = False,
) -> None:
    """Show what differs between two configs by meaning, ZeRO and datasets included.

    An argument that one side leaves out counts as the library's default.
    """
    from qtune.prepare.compare import compare, read_side

    project, machine = here(), options.hardware_from(hardware)
    differences = compare(read_side(first, project, machine), read_side(second, project, machine))
    if as_json:
        print_json(
            [
                {"section": item.section, "key": item.key, "a": _plain(item.first), "b": _plain(item.second)}
                for item in differences
            ]
        )
    else:
        for section, items in groupby(differences, key=lambda item: item.section):
            typer.echo(f"### {section}")
            for item in items:
                for line in shown_lines(item):
                    typer.echo(line)
        if not differences:
            note(f"{first} and {second} mean the same")
    if differences and exit_code:
        raise typer.Exit(1)


def shown_lines(difference: Difference) -> list[str]:
    """One difference as `qtune diff` shows it."""
    first, second = _shown(difference.first), _shown(difference.second)
    return [f"{difference.key}:", f"  - {first}", f"  + {second}"]


def _plain(value: Value | None) -> dict[str, Any] | None:
    return None if value is None else {"value": value.value, "origin": str(value.origin)}


def _shown(value: Value | None) -> str:
    return "not set" if value is None else f"{dump_yaml(value.value)}  # {value.origin}"
