"""One node's part of a training: start its launcher, ask its workers to stop, leave nothing of it behind.

    python -m qtune.launch.node [--no-keeper] COMMAND …

Its keeper holds its stdin open. SIGTERM, SIGINT or a line `stop` asks the workers to stop cleanly; a second
one, a line `end`, or the end of stdin (the keeper is gone) ends every process of the training at once. With
`--no-keeper`, for who can send signals only (srun), stdin is not read. Its exit code is the command's,
128 + N where signal N ended that.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

# Carried by the launcher and all its descendants: torchrun gives each worker a session of its own, so no
# process group holds them together, and orphans change parents. A node below another adds `/` and its own.
MARK = "QTUNE_PROCESS"
STOP, END = b"stop", b"end"
SIGNALLED = 128
"""Added to a signal's number it makes the exit code of who was ended by it."""

# How long a process has to end once it was told to. Below the 3 s after which a worker that was told so
# would begin a checkpoint (transformers/trainer_jit_checkpoint.py, kill_wait), only to lose it half-written.
GRACE_SECONDS = 2.0
# Signals that come closer together than a hand can press twice are one: `timeout` and a closing terminal
# send theirs to a process and to its group.
ONE_PRESS_SECONDS = 0.5
_LOOK_SECONDS = 1.0
_POLL_SECONDS = 0.05
# A worker that waits for one that left a step earlier waits for ever, and writes nothing meanwhile.
_HUNG_SECONDS = 60.0


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


def end(mark: str, grace: float = GRACE_SECONDS) -> None:
    """End every process that carries `mark`: politely, after `grace` seconds for certain."""
    import psutil

    for process in marked(mark):
        with suppress(psutil.Error):
            process.terminate()
    deadline = time.monotonic() + grace
    while left := list(marked(mark)):
        if time.monotonic() >= deadline:
            for process in left:
                with suppress(psutil.Error):
                    process.kill()
        time.sleep(_POLL_SECONDS)


class _Node:
    """The launcher that this process started, and what was asked of it."""

    def __init__(self, command: Sequence[str]) -> None:
        above = os.environ.get(MARK)
        self.mark = f"{above}/{uuid.uuid4().hex}" if above else uuid.uuid4().hex
        self.child = subprocess.Popen(
            command,
            env={**os.environ, MARK: self.mark},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._asked: list[psutil.Process] | None = None
        self._asked_at = 0.0
        self._trains = False
        self._written: dict[int, int] = {}
        self._moved_at = 0.0

    @property
    def needs_looks(self) -> bool:
        """Whether `look` has anything to see: a start, or the end that was asked for."""
        return not self._trains or self._asked is not None

    def look(self) -> None:
        """See whether it trains; and, once it was asked to stop, whether it does."""
        if self._asked is None:
            workers = self._workers()
            self._trains = bool(workers) and all(_catches_sigterm(worker) for worker in workers)
        elif any(not _runs(worker) for worker in self._asked):
            self._end_who_waits_for_ever([worker for worker in self._asked if _runs(worker)])

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

        ranked = {process.pid: process for process in marked(self.mark) if _has_rank(process)}
        topmost = [process for process in ranked.values() if _parent(process) not in ranked]
        if not topmost and self.child.poll() is None:
            with suppress(psutil.Error):
                return [psutil.Process(self.child.pid)]
        return topmost

    def _end_who_waits_for_ever(self, left: list[psutil.Process]) -> None:
        """Who is left may still save the model, for long; who only waits is ended."""
        written = {worker.pid: _written(worker) for worker in left}
        if written != self._written or not left:
            self._written, self._moved_at = written, time.monotonic()
        elif time.monotonic() - self._moved_at > _HUNG_SECONDS:
            print(
                "qtune: a worker stopped a step before the others, which wait for it: ended", file=sys.stderr
            )
            self.end()


def _runs(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _has_rank(process: psutil.Process) -> bool:
    import psutil

    try:
        return "LOCAL_RANK" in process.environ()
    except psutil.Error:
        return False


def _parent(process: psutil.Process) -> int | None:
    import psutil

    try:
        return process.ppid()
    except psutil.Error:
        return None


def _written(process: psutil.Process) -> int:
    """Bytes that it gave to write calls so far; not those it sent to other workers."""
    import psutil

    try:
        return int(process.io_counters().write_chars)
    except (psutil.Error, AttributeError):  # not every system counts
        return 0


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
    while node.child.poll() is None:
        ready, _, _ = select.select(heard, [], [], _LOOK_SECONDS if node.needs_looks else None)
        if wake in ready:
            os.read(wake, 1 << 10)
            while received:
                if received.pop() != signal.SIGCHLD:
                    node.stop()
        if kept and sys.stdin.fileno() in ready:
            words = os.read(sys.stdin.fileno(), 1 << 10).split()
            if STOP in words:
                node.stop()
            if END in words or not words:
                node.end()
                heard = [wake]
        if node.needs_looks:
            node.look()
    node.end()  # a worker may outlive the launcher that started it, however that one ended
    code = node.child.returncode
    return SIGNALLED - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
