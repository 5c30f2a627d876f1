"""`data split`: hold rows back for evaluation, as a dataset of their own."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import note, print_json
from qtune.config.names import valid_name
from qtune.errors import QtuneError
from qtune.units import counted


@command("data split", "qtune data split answers --eval 0.05", "qtune data split answers --eval 0.1 --seed 7")
def split_command(
    name: options.DatasetName,
    share: Annotated[
        float, typer.Option("--eval", metavar="SHARE", help="The share of the rows for evaluation: 0.05.")
    ],
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Another seed puts other rows there.")] = 42,
    called: Annotated[
        str | None, typer.Option("-n", "--name", help="Call the new ones after this instead of NAME.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write files and registrations that are there already anew.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Split a dataset into two: NAME_train and NAME_eval, new files beside its own, registered like it.

    A row's content alone decides on which side it goes: the same rows fall alike on any machine, in any
    order, however many others there are, and rows that train alike stay on one side.
    """
    if not 0 < share < 1:
        fix = "write e.g. --eval 0.05 for about 5 rows of 100"
        raise QtuneError(f"is {share:g}: a share lies between 0 and 1", where="--eval", fix=fix)
    from qtune.data.adding.register import add_entries, refuse_taken
    from qtune.data.registrations import registered
    from qtune.data.split import EVAL, TRAIN, split

    if called is not None:
        valid_name(called, "dataset")
    project = here()
    registration = registered(project, name)
    train, evaluation = (f"{called or name}_{side}" for side in (TRAIN, EVAL))
    refuse_taken(project, (train, evaluation), force=force)
    with split(registration, share, seed, name=called, force=force) as made:
        add_entries(project, made.entries, force=force)
    total = made.train_rows + made.eval_rows
    sides = ((train, made.train, made.train_rows), (evaluation, made.evaluation, made.eval_rows))
    if as_json:
        print_json({name: {"file": str(file), "rows": rows} for name, file, rows in sides})
    else:
        for name, file, rows in sides:
            shown = os.path.relpath(file, project.root)
            typer.echo(f"{name}: {rows:,} of {counted(total, 'row')} ({rows / total:.1%}) in {shown}")
    note(f"next: qtune train PRESET -d {train} -s eval_dataset={evaluation}")
