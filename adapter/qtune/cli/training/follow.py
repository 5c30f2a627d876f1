"""Finds a training that runs elsewhere, reads its log, and waits for its end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from qtune.cli.output import left_out, pass_on
from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.runs import record
from qtune.runs.find import begun, directory_of, records_of, under_way
from qtune.runs.record import Run

_POLL_SECONDS = 0.3
_TAIL_BYTES = 4000
ENDED = ("finished", "failed", "stopped")


def found(project: Project, name: str | None) -> Run:
    """The run of that name or directory, else the one that began last; raises QtuneError for none."""
    if name is not None:
        return record.read(directory_of(project, name))
    began = [(begun(found), directory) for directory, found in records_of(project, left_out)]
    if not began:
        raise QtuneError("there is no run yet", fix="train one: `qtune train`")
    return record.read(max(began)[1])


def log_reader(log: Path) -> Callable[[], None]:
    """A function that prints a log's last lines on its first call, and then what was added since."""
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
    """Wait until a training, or the qtune that runs it, has ended; call `look` all the while."""
    while True:
        alive = under_way(run.directory, run.record) is not None
        run.record = record.read(run.directory).record
        look()
        if run.record["status"] in ENDED or (run.record["status"] == "running" and not alive):
            return
        time.sleep(_POLL_SECONDS)
