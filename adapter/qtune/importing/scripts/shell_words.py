"""A shell script cut into statements and words; quotes and lines are kept, which shlex forgets."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z_]\w*")
# ` continues a line in the preview that LLaMA Board writes on Windows
_CONTINUED = re.compile(r"[\\`][ \t\r]*\n")
_REDIRECTION = re.compile(r"[<>]+&?[ \t]*[^\s;|&()]*")
_ARRAY = re.compile(r"[A-Za-z_]\w*\+?=$")
_FENCE = "```"
_CLOSING = {"{": "}", "(": ")"}


@dataclass(frozen=True)
class Piece:
    """A stretch of a word; quote: "'" or '"' around it, '' for none. Nothing in it is expanded yet."""

    text: str
    quote: str


@dataclass(frozen=True)
class RawWord:
    """A word before expansion; array: the elements where it assigns one, `NAME=(…)`."""

    line: int
    pieces: tuple[Piece, ...]
    array: tuple[RawWord, ...] | None = None

    @property
    def bare(self) -> str:
        """Its text where no part of it is quoted, else ''."""
        return "" if any(piece.quote for piece in self.pieces) else "".join(p.text for p in self.pieces)


def statements(text: str, line: int = 1) -> list[list[RawWord]]:
    """The words of each simple command, in the script's order; comments and redirections are left out."""
    scanner = _Scanner(text, line)
    scanner.run()
    return scanner.statements


def end_of_expansion(text: str, at: int) -> int:
    """Where `$NAME`, `${…}`, `$(…)`, `$((…))`, or a pair of backquotes that starts at `at` ends."""
    if text[at] == "`":
        return text.find("`", at + 1) + 1 or len(text)
    opening = text[at + 1 : at + 2]
    if opening not in _CLOSING or not opening:
        match = _NAME.match(text, at + 1)
        return match.end() if match else min(at + 2, len(text))
    depth = 0
    for end in range(at + 1, len(text)):
        depth += (text[end] == opening) - (text[end] == _CLOSING[opening])
        if depth == 0:
            return end + 1
    return len(text)


class _Scanner:
    def __init__(self, text: str, line: int) -> None:
        self.statements: list[list[RawWord]] = []
        self._text = text
        self._at = 0
        self._line = line
        self._words: list[RawWord] = []
        self._pieces: list[Piece] = []
        self._started_at = line

    def run(self) -> None:
        while self._at < len(self._text):
            self._step(self._text[self._at])
        self._end_statement()

    def _step(self, char: str) -> None:
        text, at = self._text, self._at
        continued = _CONTINUED.match(text, at)
        if text.startswith(_FENCE, at) or (char == "#" and not self._pieces):
            end = text.find("\n", at)
            self._go(end if end >= 0 else len(text))
        elif continued:
            # the shell would glue what follows to the word; the space before it is forgotten often enough
            self._go(continued.end())
            self._end_word()
        elif char == "\\":
            self._take(text[at + 1 : at + 2], "'", at + 2)
        elif char in "'\"":
            end = self._closing_quote(at)
            self._take(text[at + 1 : end], char, end + 1)
        elif char in "$`":
            end = end_of_expansion(text, at)
            self._take(text[at:end], "", end)
        elif char == "(" and self._pieces and _ARRAY.fullmatch(self._pieces[-1].text):
            self._array()
        elif char in "\n;|&()":
            self._go(at + 1)
            self._end_statement()
        elif char.isspace():
            self._go(at + 1)
            self._end_word()
        elif char in "<>":
            self._redirection()
        else:
            self._take(char, "", at + 1)

    def _go(self, to: int) -> None:
        self._line += self._text.count("\n", self._at, to)
        self._at = to

    def _take(self, text: str, quote: str, to: int) -> None:
        if not self._pieces:
            self._started_at = self._line
        if self._pieces and not quote and not self._pieces[-1].quote:
            self._pieces[-1] = Piece(self._pieces[-1].text + text, "")
        else:
            self._pieces.append(Piece(text, quote))
        self._go(to)

    def _end_word(self, array: tuple[RawWord, ...] | None = None) -> None:
        if self._pieces:
            self._words.append(RawWord(self._started_at, tuple(self._pieces), array))
            self._pieces = []

    def _end_statement(self) -> None:
        self._end_word()
        if self._words:
            self.statements.append(self._words)
            self._words = []

    def _closing_quote(self, start: int) -> int:
        text, quote, at = self._text, self._text[start], start + 1
        while at < len(text) and text[at] != quote:
            at += 2 if quote == '"' and text[at] == "\\" else 1
        return min(at, len(text))

    def _array(self) -> None:
        end = self._at + 1
        while end < len(self._text) and self._text[end] != ")":
            if self._text[end] in "'\"":
                end = self._closing_quote(end)
            elif self._text[end] == "$":
                end = end_of_expansion(self._text, end) - 1
            end += 1
        elements = statements(self._text[self._at + 1 : end], self._line)
        self._go(end + 1)
        self._end_word(tuple(word for words in elements for word in words))

    def _redirection(self) -> None:
        """`2>&1`, `> file`: the file descriptor before it and the file after it are no words."""
        if self._pieces and RawWord(0, tuple(self._pieces)).bare.isdigit():
            self._pieces = []
        self._end_word()
        match = _REDIRECTION.match(self._text, self._at)
        assert match is not None
        self._go(match.end())
