"""The rows of a data file as lines of JSON, from which LLaMA-Factory reads them alike."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson

from qtune.data.file_types import data_files
from qtune.data.flaws import Flaw
from qtune.data.reading.block import Block
from qtune.data.reading.readers import blocks
from qtune.errors import QtuneError


@dataclass(frozen=True, slots=True)
class Record:
    """One row: the file and line where it begins, its values, and its line of JSON with the line's end."""

    file: Path
    line: int
    row: dict[str, Any]
    text: bytes


OnFlaw = Callable[[Path, int, Flaw], None]
"""Called with the file and line of what cannot be read."""


def records(path: Path, on_flaw: OnFlaw) -> Iterator[Record]:
    """Each readable row of a file or folder, in constant memory; what is JSON lines stays byte for byte.

    Raises QtuneError for a row that JSON cannot hold, and as `readers.blocks` does.
    """
    for file in data_files(path):
        for block in blocks(file):
            for line, flaw in block.flaws:
                on_flaw(file, line, flaw)
            given = own_lines(block)
            for line, row in zip(block.lines, block.rows, strict=True):
                yield Record(file, line, row, given.get(line) or _written(file, line, row))


def pick(path: Path, count: int, seed: int | None, on_flaw: OnFlaw) -> list[Record]:
    """The first `count` rows, with a seed as many random ones of all, in the order in which they stand."""
    rows = records(path, on_flaw)
    if seed is None:
        return list(islice(rows, count))
    dice = random.Random(seed)
    kept: list[tuple[int, Record]] = []
    for number, record in enumerate(rows):
        if number < count:
            kept.append((number, record))
        elif (place := dice.randrange(number + 1)) < count:
            kept[place] = (number, record)
    return [record for _, record in sorted(kept, key=itemgetter(0))]


def own_lines(block: Block) -> dict[int, bytes]:
    """The lines of a JSONL file, by number and with their ends, that hold one row and nothing else."""
    if block.form != "lines":
        return {}
    lines = block.text.split(b"\n")
    if isinstance(block.lines, range):
        return {line: lines[line - block.begin] + b"\n" for line in block.lines}
    rows = Counter(block.lines)
    return {
        line: lines[line - block.begin] + b"\n"
        for line, row in zip(block.lines, block.rows, strict=True)
        if rows[line] == 1 and _holds(lines[line - block.begin], row)
    }


def _holds(line: bytes, row: dict[str, Any]) -> bool:
    try:
        return bool(orjson.loads(line) == row)
    except orjson.JSONDecodeError:
        return False


def _written(file: Path, line: int, row: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError as error:
        raise QtuneError(
            f"the row cannot be written as JSON: {error}",
            where=f"{file}:{line}",
            fix="write the file as JSONL with text, numbers, lists and objects only",
        ) from None
