"""Telling data from configs: who brings rows to an import is told where they go."""

from __future__ import annotations

import shlex
from pathlib import Path

from qtune.data.file_types import SUFFIXES, data_files
from qtune.errors import QtuneError
from qtune.files import from_json

_ENOUGH = 65_536


def refuse_data(path: Path) -> None:
    """Raises QtuneError, with the command that registers it, for a file or a folder of rows."""
    files = data_files(path) if path.exists() else []
    if files and all(_is_data(file) for file in files):
        kind = "a folder of data files" if path.is_dir() else "a data file"
        fix = f"register it: `qtune data add {shlex.quote(str(path))}`"
        raise QtuneError(f"is {kind}, not a training config", where=str(path), fix=fix)


def _is_data(file: Path) -> bool:
    """By its name; of JSON a list, or an object a line. Text could be a script."""
    if file.suffix not in SUFFIXES or file.suffix == ".txt" or not file.is_file():
        return False
    if file.suffix != ".json":
        return True
    with file.open("rb") as stream:
        start = stream.read(_ENOUGH).lstrip()
    first, *more = start.splitlines() or [b""]
    return start.startswith(b"[") or (any(more) and _is_json(first))


def _is_json(text: bytes) -> bool:
    try:
        from_json(text)
    except ValueError:
        return False
    return True
