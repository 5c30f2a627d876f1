"""SHA-256 digests of files, remembered as long as a file does not change.

They lie in the user's cache: small JSON files that may vanish, be damaged, or not be writable at any time,
which costs nothing but another read.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qtune.data.states import state_of
from qtune.files import read_object, write_atomic
from qtune.resources import cache_directory

# A file that changed so shortly ago may change again within its clock's tick, at the same size.
_SETTLED_NANOSECONDS = 2_000_000_000
_remembering = True


@contextmanager
def forgotten() -> Iterator[None]:
    """Remember nothing new in the block: a dry run writes nothing."""
    global _remembering
    _remembering = False
    try:
        yield
    finally:
        _remembering = True


def sha256(path: Path) -> str:
    """Of the file's content, as lowercase hex; read only where it may have changed since the last time."""
    status = path.stat()
    state = [str(path.resolve()), *state_of(status)]
    name = hashlib.sha256(json.dumps(state[0]).encode()).hexdigest()
    known = cache_directory() / "data" / "sha256" / f"{name}.json"
    found = read_object(known)
    if found.get("state") == state and "sha256" in found:
        return str(found["sha256"])
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        same = state_of(os.fstat(stream.fileno())) == state_of(status)
    if same and _remembering and time.time_ns() - status.st_mtime_ns > _SETTLED_NANOSECONDS:
        with suppress(OSError):
            write_atomic(known, json.dumps({"state": state, "sha256": digest}))
    return digest
