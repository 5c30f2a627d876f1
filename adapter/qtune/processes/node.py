"""One node's part of a training: start its launcher, ask its workers to stop, leave nothing of it behind.

    python -m qtune.processes.node [--no-keeper] COMMAND …

Its keeper holds its stdin open. SIGTERM, SIGINT or a line `stop` asks the workers to stop cleanly; a second
one, a line `end`, or the end of stdin (the keeper is gone) ends every process of the training at once. With
`--no-keeper`, for who can send signals only (srun), stdin is not read. Its exit code is the command's,
128 + N where signal N ended that.
"""

from __future__ import annotations

import math
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

from qtune.processes.marks import MARK, end, guarded, marked

if TYPE_CHECKING:
    import psutil

T = TypeVar("T")

STOP, END = b"stop", b"end"
SIGNALLED = 128
"""Added to a signal's number it makes the exit code of who was ended by it."""

# Signals that come closer together than a hand can press twice are one: `timeout` and a closing terminal
# send theirs to a process and to its group.
ONE_PRESS_SECONDS = 0.5
_LOOK_SECONDS, _LOOK_SHARE = 1.0, 50  # between looks, and as a multiple of what one takes
# Workers can see the flag that stops them a step apart. Then they wait for each other for ever, and write
# nothing any more: gloo's also do nothing else, NCCL's may be busy with waiting, and saving may take long.
_IDLE_SECONDS = 60.0
_SILENT_SECONDS = 600.0
_IDLE_SHARE = 0.05


class _Node:
    """The launcher that this process started, and what was asked of it."""

    def __init__(self, command: Sequence[str]) -> None:
        above = os.environ.get(MARK)
        self.mark = f"{above}/{uuid.uuid4().hex}" if above else uuid.uuid4().hex
        self.child = subprocess.Popen(
            command,
            env={**os.environ, MARK: self.mark, **guarded(os.environ)},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._asked: list[psutil.Process] | None = None
        self._asked_at = 0.0
        self._trains = False
        self._done = (-1, 0)
        self._moved_at = self._computed = 0.0

    def look(self) -> float | None:
        """See whether it trains, and whether it stops when asked to; after how many seconds to look again.

        Training until it is asked to stop, it needs no look.
        """
        began = time.monotonic()
        if self._asked is None:
            workers = self._workers()
            self._trains = bool(workers) and all(_catches_sigterm(worker) for worker in workers)
        elif self._are_stuck(self._asked):
            print("qtune: the workers stopped apart and wait for each other: ended", file=sys.stderr)
            self.end()
        if self._trains and self._asked is None:
            return None
        return max(_LOOK_SECONDS, _LOOK_SHARE * (time.monotonic() - began))

    def stop(self) -> None:
        """Ask the workers to stop cleanly, which they can while they train; a second time, `end`.

        A worker that trains catches SIGTERM (transformers/trainer_jit_checkpoint.py), before and after that
        it dies of it: before it, there is nothing to lose; after it, it saves what it made, and ends.
        """
        import psutil

        if self._asked is not None:
            if time.monotonic() - self._asked_at > ONE_PRESS_SECONDS:
                self.end()
            return
        self._asked, self._asked_at = self._workers(), time.monotonic()
        able = [worker for worker in self._asked if _catches_sigterm(worker)]
        if len(able) < len(self._asked) and not self._trains:
            self.end()
        for worker in able:
            with suppress(psutil.Error):
                worker.terminate()

    def end(self) -> None:
        """End every process of it at once."""
        end(self.mark)

    def _workers(self) -> list[psutil.Process]:
        """The topmost processes with a rank; the launcher where it is the one process that trains."""
        import psutil

        ranked = {process.pid: process for process in marked(self.mark) if _told(process, _has_rank, False)}
        topmost = [
            found for found in ranked.values() if _told(found, psutil.Process.ppid, None) not in ranked
        ]
        if not topmost and self.child.poll() is None:
            with suppress(psutil.Error):
                return [psutil.Process(self.child.pid)]
        return topmost

    def _are_stuck(self, workers: list[psutil.Process]) -> bool:
        if any(worker.pid == self.child.pid for worker in workers):
            return False  # it is alone
        running = [worker for worker in workers if _told(worker, _runs, False)]
        done = len(running), sum(_told(worker, _written, 0) for worker in running)
        computed = sum(_told(worker, _computed, 0.0) for worker in running)
        if done != self._done:
            self._done, self._computed, self._moved_at = done, computed, time.monotonic()
        silent = time.monotonic() - self._moved_at
        idle = bool(running) and computed - self._computed < _IDLE_SHARE * silent
        return silent > (_IDLE_SECONDS if idle else _SILENT_SECONDS)


def _told(process: psutil.Process, ask: Callable[[psutil.Process], T], otherwise: T) -> T:
    """What a process is asked, `otherwise` of one that is gone or may not be asked."""
    import psutil

    try:
        return ask(process)
    except psutil.Error:
        return otherwise


def _has_rank(process: psutil.Process) -> bool:
    return "LOCAL_RANK" in process.environ()


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != "zombie"


def _written(process: psutil.Process) -> int:
    """Bytes that it gave to write calls so far; not those it sent to other workers."""
    # not every system counts
    return int(process.io_counters().write_chars) if hasattr(process, "io_counters") else 0


def _computed(process: psutil.Process) -> float:
    """Seconds that it computed so far; without bound for who waits for a disk."""
    return math.inf if process.status() == "disk-sleep" else sum(process.cpu_times()[:2])


def _catches_sigterm(process: psutil.Process) -> bool:
    """Whether SIGTERM calls a function of its own; taken for granted where no /proc tells."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    except OSError:
        return not Path("/proc/self/status").exists()
    [caught] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def main(arguments: Sequence[str]) -> int:
    """Supervise a command to its end; its exit code."""
    kept = arguments[0] != "--no-keeper"
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    # A handler here is the default in the child, which a script's `&` would have made deaf to SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, note)
    node = _Node(arguments if kept else arguments[1:])
    heard = [wake, *([sys.stdin.fileno()] if kept else [])]
    wait: float | None = _LOOK_SECONDS
    while node.child.poll() is None:
        ready, _, _ = select.select(heard, [], [], wait)
        if wake in ready:
            os.read(wake, 1 << 10)
            asked = False
            while received:
                asked |= received.pop() != signal.SIGCHLD
            if asked:
                node.stop()
        if kept and sys.stdin.fileno() in ready:
            words = os.read(sys.stdin.fileno(), 1 << 10).split()
            if STOP in words:
                node.stop()
            if END in words or not words:
                node.end()
                heard = [wake]
        wait = node.look()
    node.end()  # a worker may outlive the launcher that started it, however that one ended
    code = node.child.returncode
    return SIGNALLED - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
