"""What passed the full check of its rows before, so that it is not read again.

It lies in the user's cache: small JSON files that may vanish, be damaged, or not be writable at any time,
which costs nothing but another check.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from qtune import __version__
from qtune.data.readers import data_files
from qtune.data.scan import Report, scan
from qtune.data.sources import Source
from qtune.files import write_atomic
from qtune.resources import cache_directory

# A file that changed so shortly ago may change again within its clock's tick, at the same size.
_SETTLED_NANOSECONDS = 2_000_000_000
_MEDIA = ("images", "videos", "audios")


def check(
    sources: Sequence[Source], root: Path, progress: Callable[[int], None] = lambda size: None
) -> list[Report]:
    """What `scan` says of these datasets, now or when they last passed as they are now."""
    key = key_of(sources)
    known = _recall(key) if key else None
    if known is not None:
        return known
    reports = scan(sources, root, progress=progress)
    remember(key, reports)
    return reports


def remember(key: str | None, reports: Sequence[Report]) -> None:
    """Keeps the reports where no error is among them; `key_of` was asked before they were made."""
    if key is not None and not any(report.errors for report in reports):
        _write(_path("passed", key), {"reports": [report.to_plain() for report in reports]})


def key_of(sources: Sequence[Source]) -> str | None:
    """Names a check: what is in the files, how they are registered and used, and by which qtune.

    None where the answer hangs on more than that, namely on media files that rows name.
    """
    if any(source.registration.columns().get(column) for source in sources for column in _MEDIA):
        return None
    content = [
        [
            source.registration.name,
            source.registration.entry,
            source.stage,
            source.evaluation,
            source.most_rows,
            [[file.name, sha256(file)] for file in data_files(source.path)],
        ]
        for source in sources
    ]
    return _digest([__version__, content])


def _recall(key: str) -> list[Report] | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(_path("passed", key).read_bytes())
        return [Report.from_plain(plain) for plain in found["reports"]]
    return None


def sha256(path: Path) -> str:
    """Of the file's content, as lowercase hex; read only where it may have changed since the last time."""
    status = path.stat()
    state = [str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ino]
    known = _path("sha256", _digest(state[0]))
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(known.read_bytes())
        if found["state"] == state:
            return str(found["sha256"])
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if time.time_ns() - status.st_mtime_ns > _SETTLED_NANOSECONDS:
        _write(known, {"state": state, "sha256": digest})
    return digest


def _path(room: str, name: str) -> Path:
    return cache_directory() / "data" / room / f"{name}.json"


def _write(path: Path, value: Any) -> None:
    with suppress(OSError):
        write_atomic(path, json.dumps(value, ensure_ascii=False))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
