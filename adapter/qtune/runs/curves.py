"""A run's TensorBoard curves, which go on where an attempt does, instead of beginning a second time.

Each attempt writes a file of events of its own, by default in a directory of its own, which is a curve of
its own. In one directory TensorBoard reads the files in the order of their names, which begin with the
second of their making; an event that says START takes back what was logged from its step on
(tensorboard/backend/event_processing/event_accumulator.py, _CheckForRestartAndMaybePurge). torch's writer
can write it, transformers never asks it to (torch/utils/tensorboard/writer.py, purge_step).
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path

_PREFIX = "events.out.tfevents."


def logged_to(directory: Path) -> Path | None:
    """Where in the run's `directory` the attempt before has logged, None where none did."""
    newest = max(directory.glob(f"runs/*/{_PREFIX}*"), key=_made, default=None)
    return None if newest is None else newest.parent


def go_on(directory: Path, step: int) -> None:
    """Take back what was logged in the run's `directory` from `step` on.

    Nothing is done where nothing was logged, without tensorboard, or by a clock that was set back since.
    """
    logged, now = logged_to(directory), int(time.time())
    if logged is None or find_spec("tensorboard") is None:
        return
    if now <= max(map(_made, logged.glob(f"{_PREFIX}*"))):
        return
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.summary.writer.record_writer import RecordWriter

    start = Event(wall_time=now, step=step, session_log=SessionLog(status=SessionLog.START))
    with (logged / f"{_PREFIX}{now:010d}.qtune").open("wb") as stream:
        # START twice: the first of a directory takes nothing back (plugin_event_accumulator.py, of that name)
        for event in (Event(wall_time=now, file_version="brain.Event:2"), start, start):
            RecordWriter(stream).write(event.SerializeToString())


def _made(file: Path) -> int:
    second = file.name.removeprefix(_PREFIX).split(".")[0]
    return int(second) if second.isdecimal() else 0
