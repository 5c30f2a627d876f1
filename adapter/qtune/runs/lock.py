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
from typing import NamedTuple

from qtune.errors import QtuneError

LOCK = "run.lock"
# A process that only looks whether it is held takes the lock itself for a moment.
_LOOK_SECONDS = 0.5
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
    and the like. A child of a fork inherits it. Raises QtuneError, naming the holder, where it is held.
    """
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        kept = _wait_for(descriptor, directory)
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


def _read(descriptor: int) -> Holder:
    try:
        return Holder(**json.loads(os.pread(descriptor, 1 << 12, 0)))
    except (ValueError, TypeError):  # it is just about to write who it is
        return Holder(0, "an unknown computer", "just now")
