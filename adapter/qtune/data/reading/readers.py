"""Reading data files row by row, in constant memory, with the place of each row.

What is read, and what is said to be refused, agrees with the `datasets` builders that LLaMA-Factory reads
files with (llamafactory/data/loader.py, _load_single_dataset; datasets/packaged_modules).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from qtune.data.file_types import COLUMNAR_SUFFIXES, JSON_SUFFIXES, SUFFIXES, data_files
from qtune.data.flaws import Flaw
from qtune.data.opening import DAMAGED, open_data
from qtune.data.reading.block import Block
from qtune.data.reading.columnar_rows import columnar_blocks
from qtune.data.reading.csv_rows import csv_blocks
from qtune.data.reading.encodings import packed, wide
from qtune.data.reading.json_rows import json_blocks
from qtune.data.reading.text_rows import text_blocks
from qtune.errors import QtuneError

_READERS = {
    ".json": json_blocks,
    ".jsonl": json_blocks,
    ".csv": csv_blocks,
    ".parquet": columnar_blocks,
    ".arrow": columnar_blocks,
    ".txt": text_blocks,
}
_HEAD_BYTES = 64


def unreadable(path: Path) -> list[tuple[Path, Flaw]]:
    """What keeps LLaMA-Factory from reading a file or a folder of shards before it looks into any.

    It takes everything in a folder, hidden files and folders too, and wants one type of all.
    """
    found = data_files(path)
    if not found:
        return [(path, Flaw.of("folder-empty"))]
    types = Counter(_type(file) for file in found if file.suffix in SUFFIXES)
    usual = types.most_common(1)[0][0] if types else ""
    return [(file, flaw) for file in found for flaw in _unfit(file, usual)]


def _unfit(file: Path, usual: str) -> Iterator[Flaw]:
    if file.is_dir():
        yield Flaw.of("folder-nested")
    elif file.suffix not in SUFFIXES:
        yield Flaw.of("suffix-unknown", suffixes=", ".join(SUFFIXES))
    elif _type(file) != usual:
        yield Flaw.of("suffix-mixed", type=_type(file), usual=usual)
    if any(sign in str(file.absolute()) for sign in "*?["):
        # datasets/data_files.py, resolve_pattern
        yield Flaw.of("name")


def _type(file: Path) -> str:
    return "JSON" if file.suffix in JSON_SUFFIXES else file.suffix


def blocks(path: Path) -> Iterator[Block]:
    """The rows of one data file, a bounded number at a time.

    Raises QtuneError where the file's kind is unknown or its library is not installed, OSError where it
    cannot be opened.
    """
    if path.is_dir():
        nested = Flaw.of("folder-nested")
        raise QtuneError(nested.message, where=str(path), fix=nested.fix)
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise QtuneError(
            f"LLaMA-Factory does not read `{path.suffix or path.name}` files",
            where=str(path),
            fix=f"convert it to one of {', '.join(SUFFIXES)}",
        )
    with path.open("rb"):
        pass  # what cannot be opened is no flaw of its rows
    return (replace(block, file=path) for block in _read(path, reader))


def _read(path: Path, reader: Callable[[Path], Iterator[Block]]) -> Iterator[Block]:
    try:
        with open_data(path) as stream:
            head = stream.read(_HEAD_BYTES)
        flaw = None if path.suffix in COLUMNAR_SUFFIXES else packed(head) or wide(head)
        if flaw is None:
            yield from reader(path)
            return
    except DAMAGED:
        flaw = Flaw.of("packed-damaged")
    yield Block([], [], [(1, flaw)])
