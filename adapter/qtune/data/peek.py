"""Looking into JSON and JSONL data files without loading them."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from functools import lru_cache
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from qtune.data.file_types import JSON_SUFFIXES
from qtune.data.opening import DAMAGED, is_packed, open_data
from qtune.errors import QtuneError

_HEAD_BYTES = 1 << 20
_LONGEST_KEY = 1 << 10


def first_row(path: Path) -> dict[str, Any]:
    """The first row of a JSON array or of JSON lines; the text decides which it is, not the suffix.

    Raises QtuneError with the line where there is no row, or where the first one is broken or no object.
    """
    return _first_row(path, _state(path))


@lru_cache(maxsize=256)  # many presets are checked for the same data
def _first_row(path: Path, state: tuple[int, int, int]) -> dict[str, Any]:
    """state: of the file, so that none is taken for what it was before."""
    with open_data(path) as stream:
        raw = b""
        while True:
            try:
                more = stream.read(max(_HEAD_BYTES, len(raw)))
            except DAMAGED:
                more = b""
            raw += more
            text = raw.decode("utf-8", errors="replace")
            start = past(text, 0, " \t\r\n\ufeff")
            if text[start : start + 1] == "[":
                start = past(text, start + 1)
            try:
                row, _ = json.JSONDecoder().raw_decode(text, start)
                break
            except json.JSONDecodeError as error:
                if more:  # perhaps only cut off where this read ended
                    continue
                if text[start : start + 1] in ("", "]"):
                    raise QtuneError("holds no rows", where=str(path), fix="name a file with data") from None
                broken = f"the first row is not JSON ({error.msg}, column {error.colno})"
                raise QtuneError(broken, where=f"{path}:{error.lineno}", fix="mend that row") from None
            except RecursionError:
                line = text.count("\n", 0, start) + 1
                where = f"{path}:{line}"
                raise QtuneError(
                    "the first row is nested too deep", where=where, fix="mend that row"
                ) from None
    if not isinstance(row, dict):
        line = text.count("\n", 0, start) + 1
        raise QtuneError(
            "the first row is not a JSON object", where=f"{path}:{line}", fix="write rows as {…}"
        )
    return row


def has_column(path: Path, name: str) -> bool | None:
    """Whether the file has a column, or any of its rows such a key; None where that cannot be told."""
    if path.suffix in JSON_SUFFIXES:
        return has_key(path, name)
    names = column_names(path)
    return None if names is None else name in names


def column_names(path: Path) -> list[str] | None:
    """The columns that a CSV, Parquet, Arrow or text file has; None where none can be read of it."""
    import csv

    try:
        if path.suffix == ".csv":
            with open_data(path) as raw, TextIOWrapper(raw, "utf-8-sig", "replace", newline="") as stream:
                return next((record for record in csv.reader(stream) if any(map(str.strip, record))), None)
        if path.suffix == ".parquet":
            import pyarrow.parquet

            with open_data(path) as raw:
                return list(pyarrow.parquet.read_schema(raw).names)
        if path.suffix == ".arrow":
            return _arrow_names(path)
    except (ImportError, OSError, ValueError, NotImplementedError, csv.Error, *DAMAGED):
        return None
    return ["text"] if path.suffix == ".txt" and path.stat().st_size else None


def arrow_source(path: Path) -> Any:
    """The content of an Arrow file, for pyarrow."""
    import pyarrow

    return pyarrow.PythonFile(open_data(path), mode="r") if is_packed(path) else pyarrow.memory_map(str(path))


def _arrow_names(path: Path) -> list[str]:
    """Of either of Arrow's formats."""
    import pyarrow

    with arrow_source(path) as source:
        try:
            return list(pyarrow.ipc.open_stream(source).schema.names)
        except (OSError, ValueError):
            return list(pyarrow.ipc.open_file(source).schema.names)


def has_key(path: Path, key: str) -> bool:
    """Whether any row of the file has `key`; one read of it, a megabyte at a time.

    A key within a row's values does not count, unless the row takes several lines, or one of a megabyte.
    """
    return _has_key(path, key, _state(path))


def _state(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=256)
def _has_key(path: Path, key: str, state: tuple[int, int, int]) -> bool:
    """state: as `_first_row` takes it."""
    spellings = sorted({json.dumps(key).encode(), json.dumps(key, ensure_ascii=False).encode()})
    search = re.compile(rb"(?:" + b"|".join(map(re.escape, spellings)) + rb")\s*:").search
    with suppress(*DAMAGED), open_data(path) as stream:
        rest = b""
        while block := stream.read(_HEAD_BYTES):
            text = rest + block + stream.readline(_HEAD_BYTES)
            at = 0
            while match := search(text, at):
                begin, at = text.rfind(b"\n", 0, match.start()) + 1, text.find(b"\n", match.end())
                if _has(text[begin:] if at < 0 else text[begin:at], key):
                    return True
                at = len(text) if at < 0 else at
            rest = b"" if text.endswith(b"\n") else text[-_LONGEST_KEY:]
    return False


def _has(line: bytes, key: str) -> bool:
    """Whether the row or rows on a line have the key; true where they take more than that line."""
    try:
        value = json.loads(line.strip().removesuffix(b","))
    except (ValueError, RecursionError):
        return True
    return any(
        isinstance(row, dict) and key in row for row in (value if isinstance(value, list) else [value])
    )


def past(text: str, start: int, blanks: str = " \t\r\n") -> int:
    """Where the first character from `start` on stands that is none of `blanks`, or the text ends."""
    while start < len(text) and text[start] in blanks:
        start += 1
    return start
