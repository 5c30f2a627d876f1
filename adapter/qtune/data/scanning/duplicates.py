"""Rows that repeat earlier ones, found from one hash a row, in bounded memory."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

MOST_ROWS = 1 << 24
"""Up to so many rows every repetition is found; later rows are not compared, so that memory stays bounded."""

NEW, REPEATED, ELSEWHERE = 0, 1, 2
"""What a row is: the first of its kind, one that its own dataset had before, or one that an earlier dataset
has."""

_PARTITIONS = 64
_SHIFT = 57  # a partition's number is the first 6 of a hash's 63 bits: sets go by the last ones


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row begins: the file's name, and the line from 1 (of Parquet and Arrow the row's number)."""

    file: str
    line: int


class Duplicates:
    """Takes the hashes of rows, dataset after dataset, and says which rows repeat earlier ones.

    9 bytes a row stay in memory, 4 more where the lines of a file are not evenly spaced. The hashes lie in
    partitions, one of which at a time becomes a set of Python integers. That two different rows among 16
    million have the same hash of 63 bits happens once in 65,000 times.
    """

    def __init__(self, most_rows: int = MOST_ROWS) -> None:
        self._most_rows = most_rows
        self._partitions = [array("Q") for _ in range(_PARTITIONS)]
        self._appends = [partition.append for partition in self._partitions]
        self._order = bytearray()  # the partition of each row
        self._datasets: list[tuple[int, list[int]]] = []
        self._starts: list[int] = []
        self._runs: list[tuple[str, Sequence[int]]] = []
        self._marks: bytes | None = None
        self.complete = True
        """Whether there was room for every row."""

    def begin_dataset(self) -> None:
        """The rows that are added from now on are those of the next dataset."""
        self._datasets.append((len(self._order), [len(partition) for partition in self._partitions]))

    def add(self, file: str, lines: Sequence[int], hashes: Sequence[int]) -> None:
        """Some rows of the dataset begun last: the line of each, and its hash of 63 bits."""
        room = self._most_rows - len(self._order)
        if len(hashes) > room:
            self.complete = False
            lines, hashes = lines[:room], hashes[:room]
        if not hashes:
            return
        self._starts.append(len(self._order))
        self._runs.append((file, _compact(lines)))
        numbers = [value >> _SHIFT for value in hashes]
        self._order.extend(numbers)
        appends = self._appends
        for number, value in zip(numbers, hashes, strict=True):
            appends[number](value)

    def marks(self, dataset: int) -> bytes:
        """NEW, REPEATED or ELSEWHERE for each row of a dataset, in their order; ask when all are added."""
        if self._marks is None:
            self._marks = self._compare()
        begin, _ = self._datasets[dataset]
        later = self._datasets[dataset + 1 : dataset + 2]
        return self._marks[begin : later[0][0] if later else None]

    def marked(self, dataset: int, mark: int) -> Iterator[Place]:
        """The places of those rows of a dataset that have this mark, in their order."""
        return map(self._place, self._rows(dataset, mark))

    def originals(self, dataset: int, mark: int) -> Iterator[Place]:
        """For each place of `marked` that of the row which it repeats; each costs a walk over all rows."""
        _, sizes = self._datasets[dataset]
        for repeating in self._rows(dataset, mark):
            number = self._order[repeating]
            partition = self._partitions[number]
            value = partition[self._order.count(number, 0, repeating)]
            earlier = partition.index(value, sizes[number] if mark == REPEATED else 0)
            row = -1
            for _ in range(earlier + 1):
                row = self._order.find(number, row + 1)
            yield self._place(row)

    def _rows(self, dataset: int, mark: int) -> Iterator[int]:
        """Those rows of a dataset that have this mark, counted from the first of all datasets."""
        marks, (begin, _) = self.marks(dataset), self._datasets[dataset]
        at = marks.find(mark)
        while at >= 0:
            yield begin + at
            at = marks.find(mark, at + 1)

    def _compare(self) -> bytes:
        sizes = [sizes for _, sizes in self._datasets]
        found = [
            _mark(partition, [*(size[number] for size in sizes), len(partition)])
            for number, partition in enumerate(self._partitions)
        ]
        if not any(map(any, found)):
            return bytes(len(self._order))
        following = [iter(marks).__next__ for marks in found]
        return bytes(following[number]() for number in self._order)

    def _place(self, row: int) -> Place:
        run = bisect_right(self._starts, row) - 1
        file, lines = self._runs[run]
        return Place(file, lines[row - self._starts[run]])


def _mark(hashes: array[int], bounds: Sequence[int]) -> bytearray:
    """The mark of each hash of one partition; bounds: where each dataset begins in it, and its end."""
    marks = bytearray(len(hashes))
    earlier: set[int] = set()
    for begin, end in pairwise(bounds):
        own = set(hashes[begin:end])
        if len(own) < end - begin or not own.isdisjoint(earlier):
            seen: set[int] = set()
            for at, value in enumerate(hashes[begin:end], begin):
                if value in seen:
                    marks[at] = REPEATED
                else:
                    seen.add(value)
                    marks[at] = ELSEWHERE if value in earlier else NEW
        earlier |= own
    return marks


def _compact(lines: Sequence[int]) -> Sequence[int]:
    """The same lines in 4 bytes each, or in none where they are evenly spaced."""
    if isinstance(lines, range):
        return lines
    step = lines[1] - lines[0] or 1 if len(lines) > 1 else 1
    even = range(lines[0], lines[0] + step * len(lines), step)
    return even if list(even) == list(lines) else array("I", lines)
