"""The rows of a JSON file that is one array, as pandas reads it for datasets/packaged_modules/json.

pandas takes the array whole, in memory, with a laxer parser of its own (ujson): raw control characters, a
comma after an object's last member and NaN pass, a byte-order mark does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from qtune.data.flaws import Flaw
from qtune.data.opening import open_data
from qtune.data.peek import past
from qtune.data.reading.block import Block
from qtune.data.reading.encodings import misencoded
from qtune.data.reading.line_rows import broken, encodable, no_object, unparsed

_READ_CHARACTERS = 1 << 20
_MOST_CHARACTERS = 1 << 25
"""Of one element: a text whose quotation marks do not match would be read to its end."""

_LONGEST_WORD = 32
_LONGEST_BORDER = 4096
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
_OPENING = '{["'

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}"]', re.DOTALL)
_LAST_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=[ \t\r\n]*\})', re.DOTALL)
_BORDER = re.compile(r'\}[ \t\r\n]*,[ \t\r\n]*\{[ \t\r\n]*"(?:[^"\\]|\\.)*"')
_ESCAPED = re.compile("[\udc80-\udcff]")  # bytes that are not UTF-8
_MISENCODED = re.compile("[^\n]*[\udc80-\udcff]")
_SURROGATE = re.compile(rb"\\u[dD]")
_HALF = re.compile("(?<![\ud800-\udfff])[\ud800-\udbff](?![\ud800-\udfff])")


def array_blocks(path: Path) -> Iterator[Block]:
    """An array of texts has rows with the column `text`, as `datasets` calls it."""
    with open_data(path) as raw, TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape") as stream:
        yield from _Reader(stream).blocks()


class _Reader:
    """Has read the buffer up to `_at`, which is in line `_line`; `_step` reads on, while it returns True."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._buffer = ""
        self._at = 0
        self._line = 1
        self._step: Callable[[], bool] = self._open
        self._ended = False
        self._first = True
        self._texts = False
        self._border: str | None = None  # from the end of a row to the first key of the next

    def blocks(self) -> Iterator[Block]:
        while not self._ended:
            self._rows: list[dict[str, Any]] = []
            self._places: list[int] = []
            self._flaws: list[tuple[int, Flaw]] = []
            self._fill()
            begin = self._line
            if self._step == self._row and self._border is not None:
                self._read_many(self._border)
            while self._step():
                pass
            yield self._block(self._buffer[: self._at], begin)

    def _block(self, text: str, begin: int) -> Block:
        try:
            raw = text.encode()
        except UnicodeEncodeError:
            raw = text.encode(errors="replace")
            self._mend_encoding(text, begin)
        if b"\\" in raw and _SURROGATE.search(raw):
            self._mend_surrogates()
        if b"\0" in raw:
            self._flaws.append((begin + text.count("\n", 0, text.index("\0")), broken("a zero byte")))
        return Block(self._rows, self._places, self._flaws, raw, begin, 0, "array")

    def _fill(self) -> None:
        rest = self._buffer[self._at :]
        more = self._stream.read(max(_READ_CHARACTERS, len(rest)))
        self._ended = not more
        self._buffer = rest + more
        self._at = 0
        if self._step == self._open and more.startswith("\ufeff"):
            self._blame(0, Flaw.of("byte-order-mark"))

    def _mend_encoding(self, text: str, begin: int) -> None:
        for line in _MISENCODED.finditer(text):
            place = begin + text.count("\n", 0, line.end() - 1)
            self._flaws.append((place, misencoded(line.group().encode(errors="surrogateescape"), "refused")))
        self._rows = [row if encodable(row) else _replace(_ESCAPED, "?", row) for row in self._rows]

    def _mend_surrogates(self) -> None:
        for index, row in enumerate(self._rows):
            if not encodable(row):
                self._rows[index] = mended = _replace(_HALF, "", row)
                unpaired = broken(r"halves of surrogate pairs (`\ud83d`) that do not match")
                flaw = Flaw.of("half-pair-left-out") if encodable(mended) else unpaired
                self._flaws.append((self._places[index], flaw))

    def _blame(self, position: int, flaw: Flaw) -> None:
        self._flaws.append((self._line + self._buffer.count("\n", self._at, position), flaw))

    def _advance(self, position: int) -> None:
        self._line += self._buffer.count("\n", self._at, position)
        self._at = position

    def _open(self) -> bool:
        self._advance(self._buffer.index("[", self._at) + 1)
        self._step = self._row
        return True

    def _read_many(self, border: str) -> None:
        """Reads up to the last border at once, if nothing is wrong there and each border is one."""
        start = past(self._buffer, self._at)
        end = self._buffer.rfind(border, start) + 1
        text = self._buffer[start:end]
        try:
            rows, read = _raw_decode(f"[{text}]", 0)
        except (ValueError, RecursionError):
            return
        if read < len(text) + 2 or set(map(type, rows)) != {dict} or text.count(border) != len(rows) - 1:
            return
        self._advance(start)
        self._rows += rows
        if "\n" in text:
            for _ in rows[1:]:
                self._places.append(self._line)
                self._advance(self._buffer.index("{", self._buffer.index(border, self._at)))
        self._places += [self._line] * (len(self._rows) - len(self._places))
        self._advance(self._buffer.index(",", end) + 1)

    def _row(self) -> bool:
        """Reads one element and what stands after it."""
        buffer = self._buffer
        start = past(buffer, self._at)
        sign = buffer[start : start + 1]
        if sign == "]":
            if not self._first:
                self._blame(start, broken("a comma after the last row", "take the comma away"))
            return self._close(start)
        if not sign:
            return self._run_out(start)
        try:
            value, end = _raw_decode(buffer, start)
        except (ValueError, RecursionError) as error:
            found = self._odd_row(start, error)
            if found is None:
                return self._step == self._seek
            value, end = found
        after = past(buffer, end)
        sign = buffer[after : after + 1]
        if not sign and not self._ended:
            return False
        self._advance(start)
        self._take(value)
        self._advance(end)
        if sign == ",":
            self._advance(after + 1)
            if self._border is None and (border := _BORDER.match(buffer, end - 1)):
                self._border = border.group()
        elif sign == "]":
            return self._close(after)
        elif sign:
            self._blame(after, broken("no comma between two rows", "write a comma after each row"))
            self._advance(after)
        return bool(sign) or self._run_out(after)

    def _run_out(self, position: int) -> bool:
        if self._ended:
            self._blame(position, broken("the array does not end", "write ] after the last row"))
        return False

    def _close(self, position: int) -> bool:
        self._advance(position + 1)
        self._step = self._rest
        return True

    def _rest(self) -> bool:
        start = past(self._buffer, self._at)
        if start < len(self._buffer):
            self._blame(start, broken("text after the end of the array", "take it away"))
            self._step = self._nothing
        return self._nothing()

    def _nothing(self) -> bool:
        self._advance(len(self._buffer))
        return False

    def _seek(self) -> bool:
        """Goes on, after what cannot be read, at what looks like the next row."""
        border = _BORDER.search if self._border is None else re.compile(re.escape(self._border)).search
        found = border(self._buffer, self._at)
        if found is None:
            self._advance(max(self._at, len(self._buffer) - _LONGEST_BORDER))
            return False
        self._advance(self._buffer.index("{", found.start()))
        self._step = self._row
        return True

    def _take(self, value: Any) -> None:
        if self._first:
            self._texts = isinstance(value, str)
            self._first = False
        if isinstance(value, dict) and not self._texts:
            self._rows.append(value)
            self._places.append(self._line)
        elif self._texts and (value is None or isinstance(value, str)):
            self._rows.append({"text": value})
            self._places.append(self._line)
        else:
            mixed = isinstance(value, dict)
            self._blame(self._at, Flaw.of("object-among-texts") if mixed else no_object(value))

    def _odd_row(self, start: int, error: Exception) -> tuple[Any, int] | None:
        """The element that pandas reads all the same, and its end; None where it is broken, or needs more."""
        buffer = self._buffer
        end = _end_of_value(buffer, start)
        if end is None and not self._ended and len(buffer) - start < _MOST_CHARACTERS:
            return None
        if end is not None:
            try:
                value = _decoder.decode(_LAST_COMMA.sub(r"\1", buffer[start:end]))
            except (ValueError, RecursionError):
                pass
            else:
                self._blame(start, Flaw.of("comma-after-member"))
                return value, end
        if isinstance(error, json.JSONDecodeError):
            if end is None and buffer[start] in _OPENING:
                self._blame(start, broken("the row is cut off, or a quotation mark is missing"))
            else:
                self._blame(error.pos, broken(error.msg))
            self._advance(max(start, error.pos))
        else:
            self._blame(start, unparsed(error))
            self._advance(end or start)
        self._first = False
        self._step = self._seek
        return None


def _whole_number(digits: str) -> int:
    number = int(digits)
    if not _SMALLEST <= number <= _LARGEST:
        raise ValueError("a whole number of more than 64 bits")
    return number


_decoder = json.JSONDecoder(
    strict=False,
    parse_int=_whole_number,
    parse_constant={"NaN": None, "Infinity": float("inf"), "-Infinity": float("-inf")}.__getitem__,
)
_raw_decode = _decoder.raw_decode


def _end_of_value(text: str, start: int) -> int | None:
    """Where the brackets or quotation marks match; None where they do not within the text."""
    if text[start] not in _OPENING:
        return start if len(text) - start > _LONGEST_WORD else None
    depth = 0
    for token in _TOKEN.finditer(text, start):
        sign = token.group()
        if sign == '"':
            return None
        depth += (sign in "{[") - (sign in "}]")
        if depth == 0:
            return token.end()
    return None


def _replace(pattern: re.Pattern[str], by: str, value: Any) -> Any:
    if isinstance(value, str):
        return pattern.sub(by, value)
    if isinstance(value, list):
        return [_replace(pattern, by, inner) for inner in value]
    if isinstance(value, dict):
        return {_replace(pattern, by, key): _replace(pattern, by, inner) for key, inner in value.items()}
    return value
