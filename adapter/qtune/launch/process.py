"""The only place that starts a process: run a plan, show its output, leave nothing of it behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, BinaryIO

from qtune.errors import QtuneError
from qtune.values import LaunchPlan

if TYPE_CHECKING:
    import psutil

# Carried by the child and all its descendants: torchrun gives each worker a session of its own, so no
# process group holds them together, and orphans change parents.
_MARK = "QTUNE_PROCESS"
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class Outcome:
    """How a child ended: its exit code (minus the signal's number where one killed it), and by whose will.

    interrupted: the signal that qtune got and passed on, None where the child ended by itself.
    """

    exit_code: int
    interrupted: int | None = None


def find_program(name: str) -> Path:
    """`name` beside the running Python, else on PATH.

    Raises QtuneError where there is none.
    """
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=str(beside)) or shutil.which(name)
    if found is None:
        raise QtuneError(
            f"`{name}` is not installed here",
            fix="install the training stack: pip install 'qtune[train]' (rendering works without it)",
        )
    return Path(found)


def run(plan: LaunchPlan, directory: Path, log: Path, show: Callable[[bytes], None]) -> Outcome:
    """Run `plan` in `directory` to its end, its output going to `log` and to `show` as it comes.

    SIGINT, SIGTERM and SIGHUP end the child and all its descendants; so does any exception here.
    """
    program = find_program(plan.argv[0])
    mark = uuid.uuid4().hex
    environment = {
        **os.environ,
        **plan.environment,
        # the launcher finds torchrun by name, and DeepSpeed finds ninja so
        "PATH": f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
        _MARK: mark,
    }
    with log.open("ab") as output, log.open("rb") as shown, _signals() as received:
        child = subprocess.Popen(
            [str(program), *plan.argv[1:]],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the terminal's Ctrl-C reaches qtune alone, which then ends everything
        )
        try:
            while _running(child) and not received:
                _copy(shown, show)
            if received:
                _end(child, mark)
            _copy(shown, show)
        finally:
            # a worker may outlive the launcher that started it, however that one ended
            _end(child, mark)
    return Outcome(child.returncode, received[0] if received else None)


def _running(child: subprocess.Popen[bytes]) -> bool:
    try:
        child.wait(_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def _copy(source: BinaryIO, show: Callable[[bytes], None]) -> None:
    while chunk := source.read(1 << 16):
        show(chunk)


def _end(child: subprocess.Popen[bytes], mark: str) -> None:
    """End the child and every process that carries `mark`: politely, then for certain."""
    import psutil

    for stop in (psutil.Process.terminate, psutil.Process.kill):
        for process in _marked(mark):
            with suppress(psutil.NoSuchProcess):
                stop(process)
        deadline = time.monotonic() + _GRACE_SECONDS
        while any(_marked(mark)) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    child.wait()


def _marked(mark: str) -> Iterator[psutil.Process]:
    import psutil

    for process in psutil.process_iter():
        try:
            if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:
            continue


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGINT, SIGTERM and SIGHUP while inside, SIGINT also where a script's `&` made it ignored."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    watched = {signal.SIGINT, signal.SIGTERM}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else nohup asked for it
        watched.add(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in watched}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
