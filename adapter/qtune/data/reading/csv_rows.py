"""The rows of CSV files, as pandas reads them for datasets/packaged_modules/csv."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from qtune.data.flaws import Flaw
from qtune.data.opening import open_data
from qtune.data.reading.block import Block
from qtune.data.reading.csv_types import typed
from qtune.data.reading.encodings import as_utf8

_BATCH_ROWS = 10_000
"""pandas reads so many at once (datasets/packaged_modules/csv/csv.py, CsvConfig.chunksize)."""

_END = "\0end\0"
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def csv_blocks(path: Path) -> Iterator[Block]:
    """The rows of the file, as many at a time as pandas reads. Raises OSError where it cannot be opened."""
    csv.field_size_limit(sys.maxsize)
    with (
        open_data(path) as raw,
        TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="") as stream,
    ):
        records = _Records(stream)
        header = next(records, None)
        if header is None:
            yield Block([], [], [*records.flaws, (1, Flaw.of("csv-header"))])
            return
        table = _Table(*header)
        batch = 0
        while taken := list(islice(records, _BATCH_ROWS)):
            rows, lines = table.rows(taken)
            flaws = [*table.flaws, *records.flaws]
            table.flaws, records.flaws = [], []
            yield Block(rows, lines, flaws, batch=batch, form="csv")
            batch += 1
        yield Block([], [], [*table.flaws, *records.flaws], batch=batch, form="csv")


class _Records(Iterator[tuple[int, list[str]]]):
    """(line, fields) of each record; blank lines are passed over, within quotation marks they are text."""

    def __init__(self, stream: TextIO) -> None:
        self.flaws: list[tuple[int, Flaw]] = []
        self._stream = stream
        self._line = 0
        self._within = False
        self._reader = csv.reader(self._lines())

    def _lines(self) -> Iterator[str]:
        for line in self._stream:
            self._line += 1
            if not self._within:
                if not line.strip(" \t\r\n"):
                    continue
                self._start = self._line
                self._within = True
            text, flaw = (line, None) if line.isascii() else as_utf8(line)
            if flaw is not None:
                self.flaws.append((self._line, flaw))
            yield text
        yield _END

    def __next__(self) -> tuple[int, list[str]]:
        fields = next(self._reader)
        self._within = False
        if fields and fields[-1].endswith(_END):
            if fields != [_END]:
                self.flaws.append((self._start, Flaw.of("csv-quote")))
            raise StopIteration
        if any("\0" in field for field in fields):
            self.flaws.append((self._start, Flaw.of("csv-zero")))
            fields = [field.partition("\0")[0] for field in fields]
        return self._start, fields


class _Table:
    """The columns that a header names."""

    def __init__(self, line: int, header: Sequence[str]) -> None:
        self.flaws: list[tuple[int, Flaw]] = []
        self._columns = _unique(header)
        self._names: list[str] = []
        for name, count in Counter(filter(None, header)).items():
            if count > 1:
                self.flaws.append((line, Flaw.of("csv-same-name", name=name)))
        for sign, words in _DELIMITERS.items():
            if len(header) == 1 and sign in header[0]:
                self.flaws.append((line, Flaw.of("csv-delimiter", name=header[0], delimiter=words)))

    def rows(self, records: Sequence[tuple[int, list[str]]]) -> tuple[list[dict[str, Any]], list[int]]:
        """The rows of what pandas reads at once, and their lines."""
        if not self._names:
            line, first = records[0]
            more = len(first) - len(self._columns)
            if more > 0:
                self.flaws.append((line, Flaw.of("csv-shifted")))
            self._names = [*(f"__index_level_{number}__" for number in range(more)), *self._columns]
        width = len(self._names)
        lines, kept = [], []
        for line, fields in records:
            if len(fields) > width:
                self.flaws.append((line, Flaw.of("csv-long")))
                continue
            lines.append(line)
            kept.append(fields + [""] * (width - len(fields)))
        if not kept:
            return [], []
        columns = [
            self._column(name, values, lines)
            for name, values in zip(self._names, zip(*kept, strict=True), strict=True)
        ]
        return [dict(zip(self._names, row, strict=True)) for row in zip(*columns, strict=True)], lines

    def _column(self, name: str, values: Sequence[str], lines: Sequence[int]) -> Sequence[Any]:
        read = typed(values)
        if any(isinstance(value, str) for value in read):
            for line, value, word in zip(lines, read, values, strict=True):
                if value is None and word:
                    self.flaws.append((line, Flaw.of("csv-word", word=word, name=name)))
        return read


def _unique(header: Sequence[str]) -> list[str]:
    """pandas/_libs/parsers.pyx, TextReader._get_header."""
    names = [name or f"Unnamed: {index}" for index, name in enumerate(header)]
    counts: Counter[str] = Counter()
    for index in sorted(range(len(names)), key=lambda index: not header[index]):  # the unnamed ones last
        name = given = names[index]
        count = counts[name]
        while count > 0:
            counts[given] = count + 1
            name = f"{given}.{count}"
            count = count + 1 if name in names else counts[name]
        names[index] = name
        counts[name] = count + 1
    return names
