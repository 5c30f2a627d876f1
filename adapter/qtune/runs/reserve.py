"""Room on a run's disk that is kept while it trains, so that a full one can still be recorded."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

FILE = ".reserve"
_BYTES = 1 << 18
_FULL = {errno.ENOSPC, errno.EDQUOT}


def keep(directory: Path) -> None:
    """Take the room, as far as there is any."""
    with suppress(OSError):
        descriptor = os.open(directory / FILE, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            os.posix_fallocate(descriptor, 0, _BYTES)
        finally:
            os.close(descriptor)


def give_up(directory: Path) -> None:
    """Free the room, for the record."""
    with suppress(OSError):
        (directory / FILE).unlink(missing_ok=True)


def is_full(error: OSError) -> bool:
    """Whether that is what a full disk, or a used-up quota, answers."""
    return error.errno in _FULL
