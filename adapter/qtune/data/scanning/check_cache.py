"""A cache of the full checks that datasets passed, so that unchanged data is not read again.

It lies in the user's cache: small JSON files that may vanish, be damaged, or not be writable at any time,
which costs nothing but another check.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from qtune import __version__
from qtune.data.digests import sha256
from qtune.data.file_types import data_files
from qtune.data.scanning.scan import Extra, Report, scan
from qtune.data.sources import DataSource
from qtune.data.states import State, states_of
from qtune.files import read_object, write_atomic
from qtune.resources import cache_directory


def check(
    sources: Sequence[DataSource],
    root: Path,
    progress: Callable[[int], None] = lambda size: None,
    *,
    extra: Callable[[DataSource], Extra | None] = lambda source: None,
    basis: Sequence[Any] = (),
) -> list[Report]:
    """What `scan` says of these datasets, now or when they last passed as they are now.

    extra: as `scan` takes it; basis: what its answers hang on, beside the datasets.
    """
    key = key_of(sources, basis)
    if key is not None and (known := _recall(key.name)) is not None:
        return known
    reports = scan(sources, root, extra=extra, progress=progress)
    remember(key, reports)
    return reports


def remember(key: Key | None, reports: Sequence[Report]) -> None:
    """Keeps the reports where no error is among them; `key_of` was asked before they were made.

    Where files changed since, nobody knows which content the reports are about, and nothing is kept.
    """
    if key is not None and key.holds and not any(report.errors for report in reports):
        passed = {"reports": [report.to_plain() for report in reports]}
        with suppress(OSError):
            write_atomic(_path(key.name), json.dumps(passed, ensure_ascii=False))


class Key(NamedTuple):
    """The name of a check, by the content of the files that had these states, by dataset."""

    name: str
    files: Mapping[Path, Mapping[Path, State]]

    @property
    def holds(self) -> bool:
        """Whether they are still the same files."""
        return all(states_of(path) == states for path, states in self.files.items())


def key_of(sources: Sequence[DataSource], basis: Sequence[Any] = ()) -> Key | None:
    """Names a check: what is in the files, how they are registered and used, by which qtune, and its `basis`.

    None where the answer hangs on more than that, namely on media files that rows name.
    """
    if any(source.registration.has_media for source in sources):
        return None
    files = {source.path: states_of(source.path) for source in sources}
    content = [
        [
            source.registration.name,
            source.registration.entry,
            source.stage,
            source.evaluation,
            source.most_rows,
            source.template,
            source.last_alone,
            source.control_words,
            [[file.name, sha256(file)] for file in data_files(source.path)],
        ]
        for source in sources
    ]
    text = json.dumps([__version__, content, basis], sort_keys=True, default=str)
    return Key(hashlib.sha256(text.encode()).hexdigest(), files)


def _recall(key: str) -> list[Report] | None:
    with suppress(KeyError, TypeError):
        return [Report.from_plain(plain) for plain in read_object(_path(key))["reports"]]
    return None


def _path(key: str) -> Path:
    return cache_directory() / "data" / "passed" / f"{key}.json"
