"""`data`: what its commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from qtune.cli.commands import group
from qtune.cli.complete import dataset_names, preset_names

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
