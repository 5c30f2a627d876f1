"""A shell's words after expansion: variables, defaults, arrays, arithmetic, and what `$(…)` stands for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from qtune.importing.scripts.shell_words import Piece, RawDocument, RawWord, end_of_expansion, statements
from qtune.importing.scripts.substitutions import (
    GPUS,
    calculated,
    counted,
    here,
    known_by,
    lists_gpus,
    stands_for,
)

_PLAIN = re.compile(r"\$([A-Za-z_]\w*|\d)")
_BRACED = re.compile(r"\$\{([A-Za-z_]\w*|\d+)(\[[@*]\])?(?::?[-=](.*))?\}", re.DOTALL)
_EXPR = re.compile(r"expr\s+")
_LENGTH = re.compile(r"\$\{#([A-Za-z_]\w*)\[[@*]\]\}")
_ARGUMENTS = ("$@", "$*", "${@}", "${*}")
_SPECIAL = re.compile(r"[$`\\]")
_MOST_PARTS = 200
_ESCAPED = re.compile(r'\\(["$`\\])|\\\n')


@dataclass(frozen=True)
class Word:
    """A word after expansion.

    hole: why a part of it is not known, None where all of it is. means: what the whole word stands for where
    only the machine knows its value, such as `substitutions.GPUS`. parts: (text, hole, meaning) of each part
    of a word with a hole, for the words that it is split into.
    """

    text: str
    line: int
    hole: str | None = None
    means: str = ""
    parts: tuple[tuple[str, str | None, str], ...] = ()

    @property
    def pieces(self) -> tuple[tuple[str, str | None, str], ...]:
        return self.parts or ((self.text, self.hole, self.means),)


@dataclass(frozen=True)
class HereDocument:
    """A file as the script writes it; line: its first one; holes: what is not known of it, by its line."""

    text: str
    line: int
    holes: Mapping[int, str] = field(default_factory=dict)


_BREAK = None
_Fragment = tuple[str, bool, str | None, str] | None
"""A stretch of an expanded word: its text, whether it is split at spaces, its hole, what it means; None ends
the word."""


@dataclass
class Scope:
    """What is set so far: variables, and the arguments of the function that is read, None outside of one."""

    variables: dict[str, list[Word]] = field(default_factory=dict)
    arguments: list[Word] | None = None

    def document(self, raw: RawDocument) -> HereDocument:
        if not raw.bare:
            return HereDocument(raw.text, raw.line)
        text, holes = "", {}
        for number, line in enumerate(raw.text.splitlines(keepends=True), raw.line):
            word = joined(self.expand(RawWord(number, (Piece(line, '"'),))), number)
            text += word.text
            if word.hole:
                holes[number] = word.hole
        return HereDocument(text, raw.line, holes)

    def expand(self, raw: RawWord, *, split: bool = True) -> list[Word]:
        """The words that one word becomes: what comes from a bare variable is split at spaces."""
        words: list[Word] = []
        current: Word | None = None
        for fragment in (item for piece in raw.pieces for item in self._fragments(piece)):
            if fragment is _BREAK:
                words += [current] if current else []
                current = None
                continue
            text, splits, hole, means = fragment
            splits = splits and split and not hole
            for number, item in enumerate(re.split(r"(\s+)", text) if splits else [text]):
                if splits and number % 2:
                    words += [current] if current else []
                    current = None
                elif item or not splits:
                    current = _longer(current, item, raw.line, hole, means)
        return [*words, current] if current else words

    def _fragments(self, piece: Piece) -> Iterator[_Fragment]:
        if piece.quote == "'":
            yield piece.text, False, None, ""
            return
        quoted, text, at = bool(piece.quote), piece.text, 0
        if quoted and not text:
            yield "", False, None, ""
        while at < len(text):
            escaped = _ESCAPED.match(text, at) if quoted else None
            if escaped:
                yield escaped[1] or "", False, None, ""
                at = escaped.end()
            elif text[at] in "$`":
                end = end_of_expansion(text, at)
                yield from self._value(text[at:end], quoted)
                at = end
            else:
                end = special.start() if (special := _SPECIAL.search(text, at + 1)) else len(text)
                yield text[at:end], False, None, ""
                at = end

    def _value(self, expression: str, quoted: bool) -> Iterator[_Fragment]:
        """What `$NAME`, `${NAME:-default}`, `${NAME[@]}`, `$(…)` or `$((…))` stands for."""
        if expression in _ARGUMENTS:
            yield from self._several(self.arguments or [], quoted=quoted, array=True)
            return  # the script was called without arguments
        if expression in ("$", "`"):
            yield expression, False, None, ""
            return
        match = _PLAIN.fullmatch(expression) or _BRACED.fullmatch(expression)
        if match is None:
            text = here(expression) or self._computed(expression)
            means = "" if text is not None else self._meant(expression)
            hole = None if text is not None else f"`{expression}` is known only when the script runs"
            yield text if text is not None else expression, False, hole, means
            return
        name, (array, default) = match[1], (match.groups()[1:] or (None, None))
        words = self._named(name)
        if words is None or (default is not None and not any(word.text for word in words)):
            if default is None:
                outside = known_by(name)
                hole = f"`{name}` is not set in the script"
                if name.isdigit():
                    hole = f"`{expression}` is known only when the script runs"
                yield outside.text or expression, False, None if outside.text else hole, outside.means
                return
            words = [word for raw in statements(default) for item in raw.words for word in self.expand(item)]
        yield from self._several(words, quoted=quoted, array=bool(array))

    def _named(self, name: str) -> list[Word] | None:
        if name.isdigit() and self.arguments is not None and name != "0":
            return self.arguments[int(name) - 1 : int(name)]
        return self.variables.get(name)

    def _several(self, words: list[Word], *, quoted: bool, array: bool) -> Iterator[_Fragment]:
        for number, word in enumerate(words):
            if number:
                yield _BREAK if array else (" ", not quoted, None, "")
            for text, hole, means in word.pieces:
                yield text, not quoted and not array, hole, means

    def _computed(self, expression: str) -> str | None:
        """The value of `${#NAME[@]}`, of arithmetic, and of a list's length, where their parts are known."""
        if length := _LENGTH.fullmatch(expression):
            words = self.variables.get(length[1], [])
            return str(len(words)) if words and not any(word.hole for word in words) else None
        inner = expression.strip("`") if expression.startswith("`") else expression[2:-1]
        if expression.startswith("$((") or counted(inner) or _EXPR.match(inner):
            bare = _EXPR.sub("", inner)
            if expression.startswith("$(("):
                bare = re.sub(r"(?<![\w$])([A-Za-z_]\w*)", r"$\1", inner)
            word = joined(self.expand(RawWord(0, (Piece(bare, '"'),))), 0)
            if not word.hole:
                return counted(word.text) or calculated(word.text.replace("\\*", "*"))
        return None

    def _meant(self, expression: str) -> str:
        """What an expression stands for whose value is not known."""
        if length := _LENGTH.fullmatch(expression):
            return GPUS if any(lists_gpus(word.text) for word in self.variables.get(length[1], [])) else ""
        return stands_for(expression)


def first(word: RawWord) -> str:
    """The unquoted beginning of a word, where `NAME=` would stand."""
    return word.pieces[0].text if word.pieces and not word.pieces[0].quote else ""


def _longer(word: Word | None, text: str, line: int, hole: str | None, means: str) -> Word:
    """The word with one more part at its end; it means what a part does that stands alone, or after `=`."""
    before = () if word is None else word.pieces
    earlier = None if word is None else word.hole
    parts = (*before, (text, hole, means)) if (hole or earlier) and len(before) < _MOST_PARTS else ()
    alone = word is None or word.text.endswith("=")
    whole = text if word is None else word.text + text
    return Word(whole, line, earlier or hole, means if alone else "", parts)


def joined(words: list[Word], line: int) -> Word:
    """One word with spaces between."""
    if len(words) == 1:
        return replace(words[0], line=line)
    found: Word | None = None
    for word in words:
        if found is not None:
            found = _longer(found, " ", line, None, "")
        for text, hole, means in word.pieces:
            found = _longer(found, text, line, hole, means)
    return found or Word("", line)
