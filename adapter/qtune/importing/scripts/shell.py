"""The commands of a shell script with their variables put in: read, never executed.

What a shell would have to compute, or the caller's environment to tell, is kept as a hole with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from qtune.importing.scripts.shell_words import Piece, RawWord, end_of_expansion, statements

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\+?)=(.*)", re.DOTALL)
_DECLARING = ("export", "declare", "local", "readonly", "typeset")
_OPENING = ("if", "for", "while", "until", "case", "select", "function", "{")
_WITH_WORDS = ("for", "case", "select", "function")
_CLOSING = ("fi", "done", "esac", "}")
_KEYWORDS = (*_OPENING, *_CLOSING, "then", "else", "elif", "do", "!")

_PLAIN = re.compile(r"\$([A-Za-z_]\w*)")
_BRACED = re.compile(r"\$\{([A-Za-z_]\w*)(\[[@*]\])?(?::?[-=](.*))?\}", re.DOTALL)
_ARGUMENTS = ("$@", "$*", "${@}", "${*}")
_ESCAPED = re.compile(r'\\(["$`\\])|\\\n')


@dataclass(frozen=True)
class Word:
    """A word after expansion; hole: why a part of it is not known, None where all of it is."""

    text: str
    line: int
    hole: str | None = None


@dataclass(frozen=True)
class Command:
    """One simple command: its words, the assignments before it, and the variables exported by then."""

    words: tuple[Word, ...]
    assigned: Mapping[str, Word]
    exported: Mapping[str, Word]

    @property
    def line(self) -> int:
        return self.words[0].line


def commands(text: str) -> list[Command]:
    """Every simple command of the script, in its order; assignments take effect along the way."""
    shell = _Shell()
    return [command for words in statements(text) if (command := shell.interpret(words)) is not None]


_BREAK = None
_Fragment = tuple[str, bool, str | None] | None
"""A stretch of an expanded word: its text, whether it is split at spaces, its hole; None ends the word."""


@dataclass
class _Shell:
    variables: dict[str, list[Word]] = field(default_factory=dict)
    exported: set[str] = field(default_factory=set)
    conditions: int = 0

    def interpret(self, raw: list[RawWord]) -> Command | None:
        """One statement: None where it is no command but a keyword, an assignment or a declaration."""
        while raw and raw[0].bare in _KEYWORDS:
            keyword, raw = raw[0].bare, raw[1:]
            self.conditions = max(0, self.conditions + (keyword in _OPENING) - (keyword in _CLOSING))
            if keyword in _WITH_WORDS:
                return None
        before: dict[str, Word] = {}
        while raw and _ASSIGNMENT.fullmatch(_first(raw[0])):
            name, words = self._assignment(raw[0])
            if all(_ASSIGNMENT.fullmatch(_first(word)) for word in raw):
                self._set(name, words, raw[0].line)
            before[name] = _joined(words, raw[0].line)
            raw = raw[1:]
        if raw and raw[0].bare in _DECLARING:
            self._declare(raw)
            return None
        words = [word for item in raw for word in self._expand(item)]
        if not words:
            return None
        exported = {
            name: _joined(self.variables[name], words[0].line)
            for name in sorted(self.exported & self.variables.keys())
        }
        return Command(tuple(words), before, exported)

    def _declare(self, raw: list[RawWord]) -> None:
        for word in raw[1:]:
            name = word.bare
            if _ASSIGNMENT.fullmatch(_first(word)):
                name, words = self._assignment(word)
                self._set(name, words, word.line)
            if raw[0].bare == "export":
                self.exported.add(name)

    def _assignment(self, raw: RawWord) -> tuple[str, list[Word]]:
        match = _ASSIGNMENT.fullmatch(_first(raw))
        assert match is not None
        if raw.array is not None:
            words = [word for item in raw.array for word in self._expand(item)]
        else:
            value = RawWord(raw.line, (Piece(match[3], ""), *raw.pieces[1:]))
            # the value of an assignment is not split
            words = [_joined(self._expand(value, split=False), raw.line)]
        return match[1], [*self.variables.get(match[1], []), *words] if match[2] else words

    def _set(self, name: str, words: list[Word], line: int) -> None:
        if self.conditions:
            hole = f"`{name}` is set only under a condition, on line {line}"
            words = [Word(f"${name}", line, hole)]
        self.variables[name] = words

    def _expand(self, raw: RawWord, *, split: bool = True) -> list[Word]:
        """The words that one word becomes: what comes from a bare variable is split at spaces."""
        words: list[Word] = []
        current: Word | None = None
        for fragment in (item for piece in raw.pieces for item in self._fragments(piece)):
            if fragment is _BREAK:
                words += [current] if current else []
                current = None
                continue
            text, splits, hole = fragment
            splits = splits and split
            for number, item in enumerate(re.split(r"(\s+)", text) if splits else [text]):
                if splits and number % 2:
                    words += [current] if current else []
                    current = None
                elif item or not splits:
                    current = current or Word("", raw.line)
                    current = Word(current.text + item, raw.line, current.hole or hole)
        return [*words, current] if current else words

    def _fragments(self, piece: Piece) -> Iterator[_Fragment]:
        if piece.quote == "'":
            yield piece.text, False, None
            return
        quoted, text, at = bool(piece.quote), piece.text, 0
        if quoted and not text:
            yield "", False, None
        while at < len(text):
            escaped = _ESCAPED.match(text, at) if quoted else None
            if escaped:
                yield escaped[1] or "", False, None
                at = escaped.end()
            elif text[at] in "$`":
                end = end_of_expansion(text, at)
                yield from self._value(text[at:end], quoted)
                at = end
            else:
                yield text[at], False, None
                at += 1

    def _value(self, expression: str, quoted: bool) -> Iterator[_Fragment]:
        """What `$NAME`, `${NAME:-default}` or `${NAME[@]}` stands for."""
        if expression in _ARGUMENTS:
            return  # the script was called without arguments
        if expression in ("$", "`"):
            yield expression, False, None
            return
        match = _PLAIN.fullmatch(expression) or _BRACED.fullmatch(expression)
        if match is None:
            yield expression, False, f"`{expression}` is known only when the script runs"
            return
        name, (array, default) = match[1], (match.groups()[1:] or (None, None))
        words = self.variables.get(name)
        if words is None or (default is not None and not any(word.text for word in words)):
            if default is None:
                yield expression, False, f"`{name}` is not set in the script"
                return
            words = [word for raw in statements(default) for item in raw for word in self._expand(item)]
        for number, word in enumerate(words):
            if number:
                yield _BREAK if array else (" ", not quoted, None)
            yield word.text, not quoted and not array, word.hole


def _first(raw: RawWord) -> str:
    """The unquoted beginning of a word, where `NAME=` would stand."""
    return raw.pieces[0].text if raw.pieces and not raw.pieces[0].quote else ""


def _joined(words: list[Word], line: int) -> Word:
    hole = next((word.hole for word in words if word.hole), None)
    return Word(" ".join(word.text for word in words), line, hole)
