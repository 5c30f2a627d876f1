"""The mark by which the processes of a training are known, and their end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

# Carried by the launcher and all its descendants: torchrun gives each worker a session of its own, so no
# process group holds them together, and orphans change parents. A node below another adds `/` and its own.
MARK = "QTUNE_PROCESS"

# How long a process has to end once it was told to. Below the 3 s after which a worker that was told so
# would begin a checkpoint (transformers/trainer_jit_checkpoint.py, kill_wait), only to lose it half-written.
GRACE_SECONDS = 2.0
_KILLED_SECONDS = 30.0  # a killed process may hang in the kernel, at a disk or a driver
_POLL_SECONDS = 0.05


def marked(mark: str) -> Iterator[psutil.Process]:
    """The processes that carry `mark`, or one below it, wherever their parents went."""
    import psutil

    for process in psutil.process_iter():
        try:
            carried = process.environ().get(MARK, "")
            if f"{carried}/".startswith(f"{mark}/") and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:
            continue


def end(mark: str, grace: float | None = None) -> None:
    """End every process that carries `mark`: politely, after `grace` seconds (GRACE_SECONDS) for certain."""
    import psutil

    for process in marked(mark):
        with suppress(psutil.Error):
            process.terminate()
    deadline = time.monotonic() + (GRACE_SECONDS if grace is None else grace)
    while (left := list(marked(mark))) and time.monotonic() < deadline + _KILLED_SECONDS:
        if time.monotonic() >= deadline:
            for process in left:
                with suppress(psutil.Error):
                    process.kill()
        time.sleep(_POLL_SECONDS)
