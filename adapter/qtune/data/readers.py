"""Reading data files row by row, in constant memory, with the place of each row."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from qtune.data.flaws import Flaw
from qtune.errors import QtuneError

JSON_SUFFIXES = (".json", ".jsonl")
COLUMNAR_SUFFIXES = (".parquet", ".arrow")
SUFFIXES = (*JSON_SUFFIXES, ".csv", *COLUMNAR_SUFFIXES, ".txt")
"""llamafactory/extras/constants.py, FILEEXT2TYPE"""

_BLOCK_BYTES = 1 << 20
_BLOCK_ROWS = 1024
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive rows of one file.

    rows: as the file has them, of any type; lines: where each begins, from 1 (in Parquet and Arrow files
    the row's number); flaws: the places that hold no readable row; text: the bytes that the rows were
    decoded from, empty for columnar files.
    """

    rows: list[Any]
    lines: Sequence[int]
    flaws: Sequence[tuple[int, Flaw]] = ()
    text: bytes = b""


def data_files(path: Path) -> list[Path]:
    """The file itself, or the files of a folder of shards in the order of their names."""
    return sorted(path.iterdir()) if path.is_dir() else [path]


def blocks(path: Path) -> Iterator[Block]:
    """The rows of one data file, a bounded number at a time.

    Raises QtuneError where the file's kind is unknown or its library is not installed, OSError where it
    cannot be read.
    """
    if path.suffix in JSON_SUFFIXES:
        return _json_blocks(path)
    if path.suffix in COLUMNAR_SUFFIXES:
        return _columnar_blocks(path)
    if path.suffix == ".csv":
        return _csv_blocks(path)
    if path.suffix == ".txt":
        return _text_blocks(path)
    raise QtuneError(
        f"LLaMA-Factory does not read `{path.suffix or path.name}` files",
        where=str(path),
        fix=f"convert it to one of {', '.join(SUFFIXES)}",
    )


def rows(path: Path) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """(file, line, row) of each row of a file or folder that is an object; others are passed over."""
    for file in data_files(path):
        for block in blocks(file):
            for line, row in zip(block.lines, block.rows, strict=True):
                if isinstance(row, dict):
                    yield file, line, row


def _json_blocks(path: Path) -> Iterator[Block]:
    with path.open("rb") as stream:
        head = stream.read(4096).removeprefix(_BOM).lstrip()
        is_array = head.startswith(b"[")
    return _json_values(path) if is_array else _json_lines(path)


def _json_lines(path: Path) -> Iterator[Block]:
    loads = orjson.loads
    with path.open("rb") as stream:
        number = 1
        while lines := stream.readlines(_BLOCK_BYTES):
            text = b"".join(lines)
            try:
                decoded = [loads(line) for line in lines]
                yield Block(decoded, range(number, number + len(lines)), (), text)
            except ValueError:
                yield _careful(lines, number, text)
            number += len(lines)


def _careful(lines: Sequence[bytes], number: int, text: bytes) -> Block:
    """The block of `lines` where at least one of them is blank or broken."""
    decoded, places, flaws = [], [], []
    for place, line in enumerate(lines, number):
        line = line.removeprefix(_BOM) if place == 1 else line
        if line.isspace() or not line:
            continue
        try:
            decoded.append(orjson.loads(line))
            places.append(place)
        except ValueError as error:
            flaws.append((place, _broken(error)))
    return Block(decoded, places, flaws, text)


def _broken(error: ValueError) -> Flaw:
    said = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    return Flaw("json", "refused", f"is not JSON: {said}", "mend or delete the line")


def _json_values(path: Path) -> Iterator[Block]:
    """The elements of one array, however large, decoded one by one."""
    decoder = json.JSONDecoder()
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        buffer, at, line = stream.read(_BLOCK_BYTES), 0, 1
        at = buffer.index("[") + 1
        line += buffer.count("\n", 0, at)
        decoded: list[Any] = []
        places: list[int] = []
        begin = at
        while True:
            start = at
            while start < len(buffer) and buffer[start] in " \t\r\n,":
                start += 1
            try:
                if start == len(buffer):
                    raise json.JSONDecodeError("the array does not end", buffer, start)
                if buffer[start] == "]":
                    break
                row, end = decoder.raw_decode(buffer, start)
            except json.JSONDecodeError as error:
                more = stream.read(max(_BLOCK_BYTES, len(buffer) - at))
                if more:  # perhaps only cut off where the last read ended
                    yield Block(decoded, places, (), buffer[begin:at].encode())
                    decoded, places = [], []
                    buffer, at, begin = buffer[at:] + more, 0, 0
                    continue
                place = line + buffer.count("\n", at, error.pos)
                yield Block(decoded, places, [(place, _broken(error))], buffer[begin:].encode())
                return
            line += buffer.count("\n", at, start)
            decoded.append(row)
            places.append(line)
            line += buffer.count("\n", start, end)
            at = end
        yield Block(decoded, places, (), buffer[begin:].encode())


def _csv_blocks(path: Path) -> Iterator[Block]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        decoded: list[Any] = []
        places: list[int] = []
        line = 2
        for row in reader:
            decoded.append({name: value or None for name, value in row.items()})
            places.append(line)
            line = reader.line_num + 1
            if len(decoded) == _BLOCK_ROWS:
                yield Block(decoded, places)
                decoded, places = [], []
        yield Block(decoded, places)


def _text_blocks(path: Path) -> Iterator[Block]:
    with path.open(encoding="utf-8", newline="") as stream:
        number = 1
        while lines := stream.readlines(_BLOCK_BYTES):
            yield Block([{"text": line.rstrip("\r\n")} for line in lines], range(number, number + len(lines)))
            number += len(lines)


def _columnar_blocks(path: Path) -> Iterator[Block]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise QtuneError(
            f"reading {path.suffix} files needs pyarrow", where=str(path), fix="pip install 'qtune[data]'"
        ) from None
    number = 1
    if path.suffix == ".parquet":
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_BLOCK_ROWS):
                yield Block(batch.to_pylist(), range(number, number + batch.num_rows))
                number += batch.num_rows
        return
    with pyarrow.memory_map(str(path)) as source:
        for batch in _arrow_batches(source):
            yield Block(batch.to_pylist(), range(number, number + batch.num_rows))
            number += batch.num_rows


def _arrow_batches(source: Any) -> Iterator[Any]:
    """Both of Arrow's file formats: the one that `datasets` writes (a stream), and the one with an index."""
    import pyarrow

    try:
        yield from pyarrow.ipc.open_stream(source)
    except pyarrow.ArrowInvalid:
        file = pyarrow.ipc.open_file(source)
        for index in range(file.num_record_batches):
            yield file.get_batch(index)
