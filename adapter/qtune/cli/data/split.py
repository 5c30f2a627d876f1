"""`data split`: hold rows back for evaluation, as a dataset of their own."""

from __future__ import annotations

import math
import os
from typing import Annotated

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.data.group import PRESETS
from qtune.cli.output import note, print_json
from qtune.config.auto import AUTO
from qtune.config.defaults import DEFAULTS
from qtune.config.edit import with_values
from qtune.config.names import valid_name
from qtune.config.project import FILE, Project
from qtune.errors import QtuneError
from qtune.files import write_atomic
from qtune.units import counted


@command("data split", "qtune data split answers --eval 5%", "qtune data split answers --eval 0.1 --use")
def split_command(
    name: options.DatasetName,
    share: Annotated[
        str,
        typer.Option("--eval", metavar="SHARE", help="The share of the rows for evaluation: 5%, or 0.05."),
    ],
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Another seed puts other rows there.")] = 42,
    called: Annotated[
        str | None, typer.Option("-n", "--name", help="Call the new ones after this instead of NAME.")
    ] = None,
    use: Annotated[
        bool, typer.Option("--use", help="Write both into qtune.yaml, as its dataset and eval_dataset.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write files and registrations that are there already anew.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Split a dataset into two: NAME_train and NAME_eval, new files beside its own, registered like it.

    A row's content alone decides on which side it goes: the same rows fall alike on any machine, in any
    order, however many others there are, and rows that train alike stay on one side.
    """
    part = _share(share)
    from qtune.data.adding.register import add_entries, refuse_taken
    from qtune.data.registrations import registered
    from qtune.data.sources import guessed_stage
    from qtune.data.split import EVAL, TRAIN, split

    if called is not None:
        valid_name(called, "dataset")
    project = here()
    registration = registered(project, name)
    train, evaluation = (f"{called or name}_{side}" for side in (TRAIN, EVAL))
    refuse_taken(project, (train, evaluation), force=force)
    settings = _used(project, train, evaluation) if use else None
    with split(registration, part, seed, name=called, force=force) as made:
        add_entries(project, made.entries, force=force)
    if settings is not None:
        write_atomic((project.root / FILE).resolve(), settings)
    total = made.train_rows + made.eval_rows
    sides = ((train, made.train, made.train_rows), (evaluation, made.evaluation, made.eval_rows))
    if as_json:
        print_json({name: {"file": str(file), "rows": rows} for name, file, rows in sides})
    else:
        for name, file, rows in sides:
            shown = os.path.relpath(file, project.root)
            typer.echo(f"{name}: {rows:,} of {counted(total, 'row')} ({rows / total:.1%}) in {shown}")
    preset = PRESETS[guessed_stage(registration)]
    if use:
        note(f"{FILE} names both as dataset and eval_dataset; next: `qtune train {preset}`")
    else:
        note(f"next: `qtune train {preset} -d {train} -s eval_dataset={evaluation}`")


def _share(text: str) -> float:
    """`5%` or `0.05`; raises QtuneError for what is no number, or does not lie between 0 and 1."""
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        fix = "write e.g. --eval 0.05 or --eval 5% for about 5 rows of 100"
        raise QtuneError(f"is {text}: a share lies between 0 and 1", where="--eval", fix=fix)
    return share


def _used(project: Project, train: str, evaluation: str) -> str:
    """The text of qtune.yaml with these datasets, where its own `dataset` stands, else among the defaults.

    Raises QtuneError without a qtune.yaml, where it sets rows for evaluation aside by `val_size`, or where it
    is written in a way that leaves no room.
    """
    if project.layer is None:
        raise QtuneError(f"there is no {FILE} here", where="--use", fix="make a project first: `qtune init`")
    for layer in project.layers:
        if (found := layer.values.get(("train", "val_size"))) and found.value not in (0, AUTO):
            what = (
                "`val_size` sets rows for evaluation aside already, and LLaMA-Factory takes one way of both"
            )
            raise QtuneError(what, where=found.origin.place, fix="take that line out, or leave --use out")
    keys = project.layer.values.keys()
    block = "train" if {("train", "dataset"), ("train", "eval_dataset")} & keys else DEFAULTS
    # bytes, because reading text would turn the file's own line ends into others
    text = (project.root / FILE).read_bytes().decode("utf-8")
    return with_values(text, block, {"dataset": train, "eval_dataset": evaluation}, FILE)
