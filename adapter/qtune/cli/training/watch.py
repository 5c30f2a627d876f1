"""`watch`: a training that runs elsewhere, in the background or at another terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.complete import run_names
from qtune.cli.output import note, pass_on
from qtune.cli.training.outcome import tell
from qtune.cli.training.slurm import wait_for_job
from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.runs import record
from qtune.runs.find import begun, directories, directory_of, plain_record, under_way
from qtune.runs.record import Run

_POLL_SECONDS = 0.3
_TAIL_BYTES = 4000
ENDED = ("finished", "failed", "stopped")

RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]",
        help="A run's name, or its directory; else the run that began last.",
        autocompletion=run_names,
    ),
]


@command("watch", "qtune watch", "qtune watch lora-2")
def watch_command(name: RunArgument = None) -> None:
    """Follow a training that runs in the background or at another terminal, to its end.

    Ctrl-C leaves the training alone. Exit code as that of `qtune train`: 0 where it finished, 1 where it
    failed or was killed, 130 where it was stopped.
    """
    run = found(here(), name)
    try:
        wait_for_job(run)
        follow(run, _reader(run.log))
    except KeyboardInterrupt:
        note(f"\n{run.name} goes on; `qtune stop {run.name}` stops it")
        raise typer.Exit(0) from None
    tell(run)


def found(project: Project, name: str | None) -> Run:
    if name is not None:
        return record.read(directory_of(project, name))
    began = [(begun(plain_record(directory)), directory) for directory in directories(project)]
    if not began:
        raise QtuneError("there is no run yet", fix="train one: `qtune train`")
    return record.read(max(began)[1])


def _reader(log: Path) -> Callable[[], None]:
    """Shows a log's last lines when it is first called, and then what was added since."""
    position = None

    def read() -> None:
        nonlocal position
        if not log.is_file():
            return
        with log.open("rb") as stream:
            if position is None:
                stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
                if stream.tell():
                    stream.readline()  # the rest of one
            else:
                stream.seek(position)
            while chunk := stream.read(1 << 16):
                pass_on(chunk)
            position = stream.tell()

    return read


def follow(run: Run, look: Callable[[], None]) -> None:
    """Wait for the end of a training, or for that of its qtune; `look` all the while."""
    while True:
        alive = under_way(run.directory, run.record) is not None
        run.record = record.read(run.directory).record
        look()
        if run.record["status"] in ENDED or (run.record["status"] == "running" and not alive):
            return
        time.sleep(_POLL_SECONDS)
