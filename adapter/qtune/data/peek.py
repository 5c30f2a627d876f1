"""Looking into JSON and JSONL data files without loading them."""

from __future__ import annotations

import json
import mmap
import re
from pathlib import Path
from typing import Any

from qtune.errors import QtuneError
from qtune.files import from_json

_HEAD_BYTES = 1 << 20
_COUNTABLE_JSON_BYTES = 256_000_000


def first_row(path: Path) -> dict[str, Any]:
    """The first row of a JSON array or of JSON lines; the text decides which it is, not the suffix.

    Raises QtuneError with the line where there is no row, or where the first one is broken or no object.
    """
    with path.open("rb") as stream:
        raw = b""
        while True:
            more = stream.read(max(_HEAD_BYTES, len(raw)))
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


def has_key(path: Path, key: str) -> bool:
    """Whether any row of the file has `key`.

    Found as bytes, so that a file of any size costs one read of it at most: a nested key counts too.
    """
    if path.stat().st_size == 0:
        return False
    spellings = {json.dumps(key), json.dumps(key, ensure_ascii=False)}
    pattern = b"|".join(re.escape(spelling.encode()) for spelling in sorted(spellings))
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return re.search(rb"(?:" + pattern + rb")\s*:", content) is not None


def count_rows(path: Path) -> int | None:
    """Rows of a JSONL file (lines that are not blank) or a JSON array.

    None where counting would mean loading more than 256 MB of JSON, or the file is broken.
    """
    with path.open("rb") as stream:
        if stream.read(64).lstrip(b" \t\r\n\xef\xbb\xbf")[:1] != b"[":
            stream.seek(0)
            return sum(1 for line in stream if not line.isspace())
        if path.stat().st_size > _COUNTABLE_JSON_BYTES:
            return None
        stream.seek(0)
        try:
            rows = from_json(stream.read())
        except ValueError:
            return None
        return len(rows) if isinstance(rows, list) else None


def past(text: str, start: int, blanks: str = " \t\r\n") -> int:
    """Where the first character from `start` on stands that is none of `blanks`, or the text ends."""
    while start < len(text) and text[start] in blanks:
        start += 1
    return start
