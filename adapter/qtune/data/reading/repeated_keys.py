"""Keys that are given twice in one object, which decoders pass over."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from qtune.data.flaws import Flaw
from qtune.data.peek import past
from qtune.data.reading.block import Block

_BETWEEN = "[ \t\r\n,"
_SPACED = re.compile(rb'"[ \t\r\n]+:')


def repeated_keys(block: Block, keys: int) -> list[tuple[int, Flaw]]:
    """(index of the row, flaw) of the rows that repeat a key.

    pyarrow refuses a file of JSON lines for it, pandas takes the last value. keys: how many the block's rows
    have, on all levels; as long as so many are written, none is looked at closely. Broken blocks are passed
    over: their file is refused as it is.
    """
    if not block.text or block.flaws or _written(block.text, keys) == keys:
        return []
    id = "repeated-refused" if block.form == "lines" else "repeated-kept"
    return [(index, Flaw.of(id, key=key)) for index, key in _repeated(block.text.decode())]


def _written(text: bytes, expected: int) -> int:
    """How many keys stand in the text, or too many.

    Too few only where some colons stand apart from their keys and others do not, which nobody's program
    writes: looking for that in every block would take a tenth of the whole check.
    """
    count = text.count(b'":')
    if count != expected:
        count -= text.count(b'\\":')
    if count < expected:
        count += len(_SPACED.findall(text))
    return count


def _repeated(text: str) -> Iterator[tuple[int, str]]:
    seen: list[str] = []

    def as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            names = [name for name, _ in pairs]
            seen.append(next(name for name in names if names.count(name) > 1))
        return members

    raw_decode = json.JSONDecoder(strict=False, object_pairs_hook=as_object).raw_decode
    at = past(text, 0, _BETWEEN)
    index = 0
    while at < len(text) and text[at] != "]":
        try:
            _, at = raw_decode(text, at)
        except (ValueError, RecursionError):
            return  # passed over by the reader, after what it named in an earlier block
        if seen:
            yield index, seen[0]
            seen.clear()
        index += 1
        at = past(text, at, _BETWEEN)
