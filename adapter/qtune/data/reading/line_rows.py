"""The rows of JSON lines, as pyarrow reads them for datasets/packaged_modules/json.

It reads 10 MiB and to the end of the line at once, parses that in blocks of 320 KiB, and cares about line
ends only where it cuts: within a block rows may share a line, or take several.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from qtune.data.flaws import KINDS, Flaw
from qtune.data.opening import open_data
from qtune.data.peek import past
from qtune.data.reading.block import Block
from qtune.data.reading.encodings import BOM, misencoded

_BLOCK_BYTES = 1 << 19
_BATCH_BYTES = 10 << 20
_PARSED_BYTES = _BATCH_BYTES // 32
_SPREAD_LINES = (1, 16, 256, 4096)
_BLANK = b" \t\r\n"
_OBJECT = {dict}
_SURE_DIGITS = 19  # of 2**63 - 1


def broken(said: str, fix: str = "mend or delete the line") -> Flaw:
    """For what is not JSON; said: why, as the parser has it."""
    return Flaw.of("json", said=said, fix=fix)


def unparsed(error: Exception) -> Flaw:
    """For a value that no parser takes, or that lies too deep for it."""
    return Flaw.of("depth") if isinstance(error, RecursionError) else broken(str(error))


def no_object(value: Any) -> Flaw:
    """For a row of another type."""
    return Flaw.of("row", kind=KINDS[type(value)])


def line_blocks(path: Path) -> Iterator[Block]:
    """The rows of the file, about half a megabyte at a time. Raises OSError where it cannot be opened."""
    loads = orjson.loads
    with open_data(path) as stream:
        number, batch, at = 1, 0, 0
        carried: list[bytes] = []
        while True:
            read = stream.readlines(max(1, min(_BLOCK_BYTES, _BATCH_BYTES - at)))
            if number == 1 and read and not carried:
                read[0] = read[0].removeprefix(BOM)
            lines = carried + read
            if not lines:
                return
            try:
                rows = [loads(line) for line in lines]
            except ValueError:
                rows = []
            if set(map(type, rows)) == _OBJECT:
                text, used = b"".join(lines), len(lines)
                yield Block(rows, range(number, number + used), (), text, number, batch, "lines")
            else:
                careful = _Careful(lines, number, at - sum(map(len, carried)), ended=not read)
                used = careful.read()
                text = b"".join(lines[:used])
                yield Block(careful.rows, careful.places, careful.flaws, text, number, batch, "lines")
            carried = lines[used:]
            number += used
            at += sum(map(len, read))
            if at > _BATCH_BYTES:
                at, batch = 0, batch + 1


class _Careful:
    """Reads lines of which one at least is not one object.

    number: the first one's; at: where it begins in what pyarrow reads at once, in bytes; ended: whether the
    file ends with the last one.
    """

    def __init__(self, lines: Sequence[bytes], number: int, at: int, ended: bool) -> None:
        self.rows: list[dict[str, Any]] = []
        self.places: list[int] = []
        self.flaws: list[tuple[int, Flaw]] = []
        self._lines = lines
        self._number = number
        self._at = at
        self._ended = ended

    def read(self) -> int:
        """How many lines were read: the others begin a row that may end in the lines after them."""
        index = 0
        while index < len(self._lines):
            line = self._lines[index]
            used = 1
            if line.strip(_BLANK):
                try:
                    self._take(orjson.loads(line), index)
                except ValueError:
                    used = self._read_odd(index)
                    if not used:
                        return index
            index += used
            self._at += sum(map(len, self._lines[index - used : index]))
        return index

    def _take(self, value: Any, index: int) -> None:
        place = self._number + index
        if isinstance(value, dict):
            self.rows.append(value)
            self.places.append(place)
        else:
            self.flaws.append((place, no_object(value)))

    def _blame(self, index: int, flaw: Flaw) -> None:
        self.flaws.append((self._number + index, flaw))

    def _read_odd(self, index: int) -> int:
        """How many lines were read, 0 where the row may end in the lines after them."""
        line = self._lines[index]
        try:
            line.decode()
        except UnicodeDecodeError:
            self._blame(index, _misencoded_row(line))
            return 1
        for count in _SPREAD_LINES:
            window = self._lines[index : index + count]
            text = b"".join(window).decode(errors="replace")
            try:
                values, end = _values(text)
            except json.JSONDecodeError as error:
                failed = error.with_traceback(None)  # else the frame holds it, and it the frame
                if not _at_end(failed):
                    break
                if len(window) < count:
                    if self._ended or sum(map(len, window)) > _PARSED_BYTES:
                        break
                    return 0
            except (ValueError, RecursionError) as error:
                self._blame(index, unparsed(error))
                return 1
            else:
                used = text.count("\n", 0, end) + 1
                self._take_odd(values, index, text[:end], used)
                return used
        return self._blame_odd(index, failed)

    def _take_odd(self, values: list[Any], index: int, text: str, used: int) -> None:
        end = self._at + len(text.encode())
        if used > 1 and self._at // _PARSED_BYTES != end // _PARSED_BYTES:
            self._blame(index, Flaw.of("row-over-lines"))
        if "\\ud" in text.lower() and not encodable(values):
            self._blame(index, Flaw.of("half-pair"))
            return
        for value in values:
            self._take(value, index)

    def _blame_odd(self, index: int, error: json.JSONDecodeError) -> int:
        """How many lines belong to the broken row."""
        line = self._lines[index].strip()
        if line in (b"{", b"["):  # a row over several lines
            self._blame(index + error.doc.count("\n", 0, error.pos), broken(error.msg))
            rest = range(index + 1, len(self._lines))
            return next((other for other in rest if self._lines[other][:1] == b"{"), len(self._lines)) - index
        if line[-1:] == b"," and _is_json(line[:-1]):
            self._blame(index, broken("a comma after the row", "take the comma away"))
        elif _at_end(error) or error.pos >= error.doc.find("\n") > -1:
            self._blame(index, broken("the row is cut off, or a line break is in a text"))
        else:
            self._blame(index, broken(error.msg))
        return 1


def _finite(digits: str) -> float:
    number = float(digits)
    if abs(number) == float("inf"):
        raise ValueError("a number too large for a double")
    return number


def _number(digits: str) -> int | float:
    """What is no whole number of 64 bits is a double to pyarrow, infinite where it is too large for one."""
    return int(digits) if len(digits) < _SURE_DIGITS else float(digits)


_raw_decode = json.JSONDecoder(parse_float=_finite, parse_int=_number).raw_decode


def _values(text: str) -> tuple[list[Any], int]:
    """The values from the first line on, to the end of a line, and where that is."""
    values: list[Any] = []
    end = 0
    while True:
        end = past(text, end, " \t\r")
        if end == len(text) or (values and text[end] == "\n"):
            return values, end
        value, end = _raw_decode(text, end)
        values.append(value)


def _at_end(error: json.JSONDecodeError) -> bool:
    """Whether the text is right as far as it goes."""
    return error.pos >= len(error.doc.rstrip()) - 1 or error.msg.startswith("Unterminated string")


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True


def encodable(value: Any) -> bool:
    """Whether no text in it holds half of a surrogate pair, or a byte that `surrogateescape` let pass."""
    return all(map(_is_unicode, _texts(value)))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _texts(value: Any, keys_only: bool = False) -> Iterator[str]:
    """All texts in a JSON value, keys too, however deep it is."""
    remaining = [value]
    while remaining:
        inner = remaining.pop()
        if isinstance(inner, dict):
            yield from inner
            remaining += inner.values()
        elif isinstance(inner, list):
            remaining += inner
        elif isinstance(inner, str) and not keys_only:
            yield inner


def _misencoded_row(line: bytes) -> Flaw:
    """pyarrow lets a value pass that is not UTF-8; it is met when the row is read, in the training."""
    try:
        row = json.loads(line.decode(errors="surrogateescape"))
    except (ValueError, RecursionError):
        return misencoded(line, "refused")
    return misencoded(line, "crash" if all(map(_is_unicode, _texts(row, keys_only=True))) else "refused")
