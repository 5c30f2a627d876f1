"""Whether the files of a dataset are still those that were looked at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from qtune.data.file_types import data_files
from qtune.errors import QtuneError

State = tuple[int, ...]
"""Size, times and number of a file, of which no change of its content leaves all alone."""


def state_of(status: os.stat_result) -> State:
    """The state of a file, from what the system says of it. A rename counts, as it may take a file away and
    bring it back."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def states_of(path: Path) -> Mapping[Path, State]:
    """Each file of the dataset at `path`, without those that are not there."""
    found = {}
    with suppress(OSError):
        for file in data_files(path):
            with suppress(OSError):
                found[file] = state_of(file.stat())
    return found


def require_unchanged(path: Path, before: Mapping[Path, State]) -> None:
    """Raises QtuneError where the dataset's files are not those of `before`, naming the first."""
    now = states_of(path)
    for file in sorted({*before, *now}):
        if before.get(file) != now.get(file):
            fix = "do it again once nothing writes to it"
            raise QtuneError("changed while it was read", where=os.path.relpath(file), fix=fix)
