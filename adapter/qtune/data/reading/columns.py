"""The types that LLaMA-Factory's loader gives the columns of a dataset, and the rows that do not fit them.

`datasets` has no types given: pyarrow and pandas infer them from the rows that they read at once
(`Block.batch`), and what comes later must fit those of the first such batch (datasets/arrow_writer.py,
ArrowWriter.write_table; datasets/table.py, table_cast).
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections import defaultdict
from collections.abc import Container, Iterator
from typing import Any

from qtune.data.attributes import attributes
from qtune.data.flaws import KINDS, Flaw
from qtune.data.reading.block import Block, Form
from qtune.data.reading.column_values import Values
from qtune.data.reading.repeated_keys import repeated_keys
from qtune.data.registrations import Registration

_PLAIN = {"text", "a number", "true or false"}
_NUMBERS = {"a number", "true or false"}
_FIRST = {"lines": "10 MB", "csv": "10,000 rows"}
_DEEPEST = 60
"""pyarrow fails a few levels below (arrow/c/bridge.cc)."""

_TEXTS = ("prompt", "query", "response", "history", "messages", "system", "tools", "chosen", "rejected")
"""The columns that LLaMA-Factory's converters want text in, or lists of it."""

_time = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)([ T]([01]\d|2[0-3])(:[0-5]\d(:[0-5]\d)?)?(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)?)?",
    re.ASCII,
).fullmatch


class ColumnTypes:
    """Is shown the blocks of one dataset, file after file, and tells what does not fit the columns' types."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration
        self._root = _Column("", "", 0)
        self._reading = _Reading()
        self._broken = False

    def flaws(self, block: Block) -> list[tuple[int, Flaw]]:
        """(index of the row in the block, flaw), in no order."""
        self._broken |= bool(block.flaws)
        if not block.rows:
            return []
        reading = self._reading
        if reading.goes_on_with(block) and reading.batch == 1:
            self._root.settle()
        reading.keys = 0
        if not self._root.knows(block.values, reading):
            reading.keys = 0
            for index, row in enumerate(block.rows):
                reading.row = index
                self._root.learn(row, reading)
        found, reading.found = reading.found, []
        return found + repeated_keys(block, reading.keys)

    def keys(self, column: str) -> Container[str]:
        """Of the objects in a column or in its lists, of all blocks so far; of the rows themselves for ""."""
        found = self._root.fields.get(column) if column else self._root
        inner = found.items if found is not None and found.items is not None else found
        return inner.fields.keys() if inner is not None else ()

    def conclusions(self) -> list[Flaw]:
        """What is wrong with the dataset as a whole."""
        if not self._root.fields:
            return [] if self._broken else [Flaw.of("empty")]
        return [*self._misread(), *(self._wrapped() or self._missing())]

    def _missing(self) -> Iterator[Flaw]:
        """Columns that the converters read, and that nothing makes null."""
        if self._broken:
            return
        for role, name in attributes(self._registration).read():
            if name not in self._root.fields:
                yield Flaw.of("column-missing", name=name, role=role)

    def _misread(self) -> Iterator[Flaw]:
        suspects = {
            column.path: column for column in self._root.below() if column.is_misread(self._reading.form)
        }
        if not suspects:
            return
        read = attributes(self._registration)
        used = {getattr(read, name) for name in _TEXTS}
        for path, column in suspects.items():
            if column.top in used:
                yield Flaw.of("misread-dates" if column.times else "misread-numbers", path=path)

    def _wrapped(self) -> list[Flaw]:
        """One object that holds the rows in a list."""
        used = set(attributes(self._registration).columns)
        return [
            Flaw.of("wrapped", name=name)
            for name, column in self._root.fields.items()
            if self._reading.rows == 1 and column.items is not None
            if used & column.items.fields.keys() - self._root.fields.keys()
        ]


class _Reading:
    """Where in the dataset the rows are from, and what was found out about them."""

    def __init__(self) -> None:
        self.block = Block([], [])
        self.form: Form = "lines"
        self.files = 0
        self.batch = -1
        self.rows = 0
        self.row = 0
        self.keys = 0
        self.found: list[tuple[int, Flaw]] = []

    def goes_on_with(self, block: Block) -> bool:
        """Whether a new batch begins."""
        another = not self.files or block.file != self.block.file
        begins = another or block.batch != self.block.batch
        self.files += another
        self.batch += begins
        self.rows += len(block.rows)
        self.block, self.form = block, block.form
        return begins

    @property
    def late(self) -> bool:
        return self.batch > 0

    @property
    def place(self) -> str:
        line = f"line {self.block.lines[self.row]}"
        return line if self.files == 1 else f"{line} of {self.block.file.name}"

    @property
    def first(self) -> str:
        """What the types are taken from."""
        return f"first {_FIRST[self.form]}" if self.files == 1 and self.form in _FIRST else "first file"

    def blame(self, id: str, **words: str) -> None:
        self.found.append((self.row, Flaw.of(id, **words)))


class _Column:
    """A column, a member of the objects in one, or the elements of the lists in one.

    types: of the values that need no closer look, but for what is in them; times: whether all
    texts so far are times, None before the first; dated, whole: whether the first batch made them times, or
    whole numbers; new: whether it came after the first batch.
    """

    __slots__ = (
        "dated",
        "depth",
        "fields",
        "items",
        "kind",
        "new",
        "path",
        "place",
        "times",
        "top",
        "types",
        "whole",
    )

    def __init__(self, path: str, top: str, depth: int) -> None:
        self.path = path
        self.top = top
        self.depth = depth
        self.kind: str | None = None
        self.place = ""
        self.types: set[type] = {type(None)}
        self.fields: dict[str, _Column] = {}
        self.items: _Column | None = None
        self.times: bool | None = None
        self.dated = self.whole = self.new = False

    def knows(self, values: Values, reading: _Reading) -> bool:
        """Whether nothing is new or wrong; counts the keys of objects."""
        types = values.types
        return (
            types <= self.types
            and (dict not in types or self._knows_members(values, reading))
            and (self.items is None or list not in types or self.items.knows(values.elements, reading))
            and not (self.times and str in types and not all(map(_is_time, values.all)))
        )

    def _knows_members(self, values: Values, reading: _Reading) -> bool:
        members = values.members
        if members is not None:
            reading.keys += len(members) * len(values.all)
        else:
            various: defaultdict[str, list[Any]] = defaultdict(list)
            for value in values.all:
                if type(value) is dict:
                    reading.keys += len(value)
                    for key, inner in value.items():
                        various[key].append(inner)
            members = {key: Values(inner) for key, inner in various.items()}
        for key, inner in members.items():
            field = self.fields.get(key)
            if field is None or not field.knows(inner, reading):
                return False
        return True

    def learn(self, value: Any, reading: _Reading) -> None:
        """Tells what is wrong with the value, and remembers what is new."""
        if value is None or self._is_wrong(value, reading):
            return
        self.types.add(type(value))
        if isinstance(value, dict):
            reading.keys += len(value)
            for key, inner in value.items():
                (self.fields.get(key) or self._add(key, reading)).learn(inner, reading)
        elif isinstance(value, list):
            self.items = self.items or _Column(f"{self.path}[]", self.top, self.depth + 1)
            for element in value:
                self.items.learn(element, reading)

    def _add(self, key: str, reading: _Reading) -> _Column:
        if reading.late and self.path:
            reading.blame("late-key", path=self.path, first=reading.first)
        elif reading.late:
            reading.blame("late-column", key=key, first=reading.first)
        self.fields[key] = field = _Column(
            f"{self.path}.{key}" if self.path else key, self.top or key, self.depth + 1
        )
        field.new = reading.late
        return field

    def _is_wrong(self, value: Any, reading: _Reading) -> bool:
        kind = KINDS.get(type(value), type(value).__name__)
        if self.depth > _DEEPEST:
            reading.blame("depth")
            return True
        if self.kind is None:
            self._begin(kind, reading)
        elif kind != self.kind and not self._casts(kind, reading):
            reading.blame("type", path=self.path, kind=kind, known=self.kind, place=self.place)
            return True
        if isinstance(value, float) and reading.late and self.whole:
            if not value.is_integer():
                reading.blame("late-fraction", path=self.path, first=reading.first)
            return True
        if isinstance(value, str) and self.times is not False and reading.form == "lines":
            self.times = _is_time(value)
            if self.dated and not self.times:
                reading.blame("late-text", path=self.path, first=reading.first)
        return False

    def _begin(self, kind: str, reading: _Reading) -> None:
        """The first value of the column."""
        self.kind, self.place = kind, reading.place
        known = reading.form == "declared" or (reading.form == "csv" and kind in _NUMBERS)
        if reading.late and not known and not self.new:
            reading.blame("late-value", path=self.path, first=reading.first)

    def _casts(self, kind: str, reading: _Reading) -> bool:
        """Whether `datasets` makes values of `kind` into values of the first batch's type."""
        return (
            reading.late
            and reading.form in ("csv", "declared")
            and kind in _PLAIN
            and (self.kind == "text" or (self.kind in _NUMBERS and kind in _NUMBERS))
        )

    def settle(self) -> None:
        """The types of the first batch hold from now on."""
        self.whole = self.types == {int, type(None)}
        self.dated = bool(self.times)
        for column in self._inner():
            column.settle()

    def is_misread(self, form: Form) -> bool:
        return bool(self.times) or (form == "csv" and self.kind in _NUMBERS)

    def _inner(self) -> Iterator[_Column]:
        yield from self.fields.values()
        if self.items is not None:
            yield self.items

    def below(self) -> Iterator[_Column]:
        """All columns within this one."""
        for column in self._inner():
            yield column
            yield from column.below()


def _is_time(text: Any) -> bool:
    """Whether pyarrow takes it for a time (arrow/util/value_parsing.h), null for nothing."""
    match = _time(text) if isinstance(text, str) else None
    if match is None:
        return text is None
    year, month, day = map(int, match.group(1, 2, 3))
    return 1 <= month <= 12 and 1 <= day <= monthrange(year or 4, month)[1]
