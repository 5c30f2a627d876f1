"""One writer for each run: a lock in its directory that dies with who holds it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from qtune.errors import QtuneError
from qtune.processes import marks

if TYPE_CHECKING:
    import psutil

LOCK, TRAINERS = "run.lock", "trainers.lock"
"""Held by the qtune that trains the run; and, shared, by each process of its training (processes/guard)."""
# A process that only looks whether it is held takes the lock itself for a moment.
_LOOK_SECONDS = 0.5
_ENDING_SECONDS = 10.0  # those of a training whose qtune was killed take to end
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class Holder(NamedTuple):
    """Who holds a run: a qtune process, its computer's name, and since when (UTC, ISO 8601)."""

    pid: int
    host: str
    since: str

    @property
    def is_here(self) -> bool:
        return self.host == platform.node()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


@contextmanager
def held(directory: Path) -> Iterator[bool]:
    """Hold the run in `directory`; whether its file system keeps locks, without which nobody is kept out.

    Held by flock, which Linux keeps across computers too on NFS (from 2.6.12 on), Lustre mounted with `flock`
    and the like. A child of a fork inherits it. Raises QtuneError where it is held, naming the holder, and
    where the processes of a training outlived their qtune.
    """
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        kept = _wait_for(descriptor, directory)
        _wait_for_trainers(directory)
        own = Holder(os.getpid(), platform.node(), datetime.now(UTC).isoformat(timespec="seconds"))
        os.ftruncate(descriptor, os.pwrite(descriptor, json.dumps(own._asdict()).encode(), 0))
        yield kept
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def holder(directory: Path, otherwise: Holder | None = None) -> Holder | None:
    """Who holds the run in `directory`, None where nobody does.

    otherwise: the answer where no lock tells, since none was ever taken or the file system keeps none.
    """
    try:
        descriptor = os.open(directory / LOCK, os.O_RDONLY)
    except OSError:
        return otherwise
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(descriptor)
    except OSError:
        return otherwise
    finally:
        os.close(descriptor)
    return None


def _wait_for(descriptor: int, directory: Path) -> bool:
    deadline = time.monotonic() + _LOOK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise QtuneError(
                    f"is held by another qtune: {_read(descriptor)}",
                    where=os.path.relpath(directory),
                    fix=f"wait for its end, or stop it: `qtune stop {directory.name}`",
                ) from None
            time.sleep(_LOOK_SECONDS / 10)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return False


def _wait_for_trainers(directory: Path) -> None:
    descriptor = os.open(directory / TRAINERS, os.O_RDWR | os.O_CREAT, 0o666)
    deadline = time.monotonic() + _ENDING_SECONDS
    try:
        while (here := marks.of_run(directory)) or _is_shared(descriptor):
            if time.monotonic() > deadline:
                named = ", ".join(f"process {found.pid} ({_name(found)})" for found in here)
                raise QtuneError(
                    f"still has a training whose qtune is gone: {named or 'on another computer'}",
                    where=os.path.relpath(directory),
                    fix=f"end it: `qtune stop {directory.name}`" if here else "end its processes there",
                )
            time.sleep(_LOOK_SECONDS / 10)
    finally:
        os.close(descriptor)


def _is_shared(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # it keeps no locks, as the run's own lock tells
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _name(process: psutil.Process) -> str:
    import psutil

    try:
        return process.name()
    except psutil.Error:
        return "ended meanwhile"


def _read(descriptor: int) -> Holder:
    try:
        return Holder(**json.loads(os.pread(descriptor, 1 << 12, 0)))
    except (ValueError, TypeError):  # it is just about to write who it is
        return Holder(0, "an unknown computer", "just now")
