"""The first rows of data that is to be registered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune.data.file_types import JSON_SUFFIXES, data_files
from qtune.data.reading.readers import blocks, unreadable
from qtune.errors import QtuneError
from qtune.files import from_json

MOST_ROWS = 1000
_MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class Head:
    """The first rows, at most MOST_ROWS of them; whole: whether there are no more."""

    rows: Sequence[dict[str, Any]]
    whole: bool


def read_head(path: Path) -> Head:
    """Raises QtuneError for what LLaMA-Factory cannot load, and where not one row can be read."""
    for place, flaw in unreadable(path):
        raise QtuneError(flaw.message, where=str(place), fix=flaw.fix)
    rows: list[dict[str, Any]] = []
    first: QtuneError | None = None
    for file in data_files(path):
        for block in blocks(file):
            rows += block.rows
            if block.flaws and first is None:
                line, flaw = block.flaws[0]
                first = QtuneError(flaw.message, where=f"{file}:{line}", fix=flaw.fix)
            if len(rows) > MOST_ROWS:
                return Head(rows[:MOST_ROWS], whole=False)
    if rows or (rows := _one_object(path)):
        return Head(rows, whole=True)
    raise first or QtuneError("holds no rows", where=str(path), fix="name a file with data")


def _one_object(path: Path) -> list[dict[str, Any]]:
    """The row of a file that is one object over many lines; mostly it has the rows within it."""
    if path.suffix not in JSON_SUFFIXES or path.stat().st_size > _MOST_BYTES:
        return []
    try:
        found = from_json(path.read_bytes())
    except ValueError:
        return []
    return [found] if isinstance(found, dict) else []
