"""The mark by which the processes of a training are known, and their end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

# Carried by the launcher and all its descendants: torchrun gives each worker a session of its own, so no
# process group holds them together, and orphans change parents. A node below another adds `/` and its own.
MARK = "QTUNE_PROCESS"
# And by these their guard knows whom it ends with, and which run it holds (guard/sitecustomize.py).
SUPERVISOR = "QTUNE_SUPERVISOR"
RUN = "QTUNE_RUN"
_GUARD = Path(__file__).with_name("guard")

# How long a process has to end once it was told to. Below the 3 s after which a worker that was told so
# would begin a checkpoint (transformers/trainer_jit_checkpoint.py, kill_wait), only to lose it half-written.
GRACE_SECONDS = 2.0
_KILLED_SECONDS = 30.0  # a killed process may hang in the kernel, at a disk or a driver
_POLL_SECONDS = 0.05


def guarded(environment: Mapping[str, str]) -> dict[str, str]:
    """What makes the Python processes below this one end with it, for their `environment`."""
    number = os.getpid()
    paths = [str(_GUARD), *filter(None, [environment.get("PYTHONPATH")])]
    return {SUPERVISOR: f"{number} {_start_of(number)}", "PYTHONPATH": os.pathsep.join(paths)}


def _start_of(number: int) -> str:
    """When a process of this machine started, in clock ticks; empty where no /proc tells."""
    try:
        return Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        return ""


def of_run(directory: Path) -> list[psutil.Process]:
    """The processes of this machine that belong to a training of the run in `directory`."""
    return list(_carrying(RUN, lambda carried: carried == str(directory.resolve())))


def marked(mark: str) -> Iterator[psutil.Process]:
    """The processes that carry `mark`, or one below it, wherever their parents went."""
    return _carrying(MARK, lambda carried: f"{carried}/".startswith(f"{mark}/"))


def _carrying(name: str, fits: Callable[[str], bool]) -> Iterator[psutil.Process]:
    import psutil

    for process in psutil.process_iter():
        try:
            if fits(process.environ().get(name, "")) and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:
            continue


def end(mark: str, grace: float | None = None) -> None:
    """End every process that carries `mark`: politely, after `grace` seconds (GRACE_SECONDS) for certain."""
    _end(lambda: list(marked(mark)), grace)


def end_run(directory: Path) -> None:
    """End every process `of_run`, in the same way."""
    _end(lambda: of_run(directory), None)


def _end(found: Callable[[], list[psutil.Process]], grace: float | None) -> None:
    import psutil

    for process in found():
        with suppress(psutil.Error):
            process.terminate()
    deadline = time.monotonic() + (GRACE_SECONDS if grace is None else grace)
    while (left := found()) and time.monotonic() < deadline + _KILLED_SECONDS:
        if time.monotonic() >= deadline:
            for process in left:
                with suppress(psutil.Error):
                    process.kill()
        time.sleep(_POLL_SECONDS)
