"""A shell script cut into statements and words; quotes and lines are kept, which shlex forgets.

A here-document stays with its statement, and so does the file that the statement writes to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z_]\w*")
# ` continues a line in the preview that LLaMA Board writes on Windows
_CONTINUED = re.compile(r"[\\`][ \t\r]*\n")
_HERE = re.compile(r"<<(?P<tabs>-?)[ \t]*(?P<quote>['\"\\]?)(?P<end>[\w.-]+)['\"]?")
_REDIRECTION = re.compile(r"<<<|>>|[<>]&|&>>?|[<>]\|?")
_ARRAY = re.compile(r"[A-Za-z_]\w*\+?=$")
_FUNCTION = re.compile(r"\([ \t]*\)(?=[ \t\r]*(?:\{|\n))")
_RUN = re.compile(r"[\w./:,=@%+~^!?*{}\[\]-]+")
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


@dataclass(frozen=True)
class RawDocument:
    """A here-document; line: its first one; bare: whether variables in it are put in."""

    text: str
    line: int
    bare: bool


@dataclass(frozen=True)
class Statement:
    """A simple command before expansion.

    document, string: what `<<` and `<<<` give it; target: the file its output goes to, appended or not;
    piped: whether what it prints goes to the next one.
    """

    words: list[RawWord]
    document: RawDocument | None = None
    string: RawWord | None = None
    target: RawWord | None = None
    appends: bool = False
    piped: bool = False

    @property
    def line(self) -> int:
        return self.words[0].line


def statements(text: str, line: int = 1) -> list[Statement]:
    """Each simple command, in the script's order; comments and other redirections are left out."""
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
        self.statements: list[Statement] = []
        self._text = text
        self._at = 0
        self._line = line
        self._words: list[RawWord] = []
        self._pieces: list[Piece] = []
        self._started_at = line
        # the redirection whose file comes next, and what the statement has of them so far
        self._operator = ""
        self._document: RawDocument | None = None
        self._string: RawWord | None = None
        self._target: tuple[RawWord, bool] | None = None
        # where the here-documents of the line begin, and the end of those read
        self._documents: tuple[int, int] | None = None

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
        elif char == "(" and (opened := _FUNCTION.match(text, at)) and self._names_function():
            self._go(opened.end())
        elif char == "\n":
            self._end_statement()
            self._go(at + 1)
            if self._documents and self._documents[0] == self._at:
                self._go(self._documents[1])
        elif redirection := _REDIRECTION.match(text, at):
            self._redirection(redirection[0])
        elif char in ";|&()":
            self._go(at + 1)
            self._end_statement(
                piped=char == "|" and text[at - 1 : at] != "|" and text[at + 1 : at + 2] != "|"
            )
        elif char.isspace():
            self._go(at + 1)
            self._end_word()
        else:
            run = _RUN.match(text, at)
            end = run.end() if run else at + 1
            self._take(text[at:end], "", end)

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
        if not self._pieces:
            return
        word = RawWord(self._started_at, tuple(self._pieces), array)
        operator, self._operator, self._pieces = self._operator, "", []
        if operator == "<<<":
            self._string = word
        elif operator.strip("&|") in (">", ">>") and operator != ">&":
            self._target = word, ">>" in operator
        elif not operator:
            self._words.append(word)

    def _end_statement(self, *, piped: bool = False) -> None:
        self._end_word()
        if self._words:
            target, appends = self._target or (None, False)
            found = Statement(self._words, self._document, self._string, target, appends, piped)
            self.statements.append(found)
            self._words = []
        self._operator, self._document, self._string, self._target = "", None, None, None

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
        self._end_word(tuple(word for element in elements for word in element.words))

    def _names_function(self) -> bool:
        """Whether the statement is a name alone, before `()`; from here on it is `function name`."""
        self._end_word()
        declared = [word.bare for word in self._words[:-1]]
        if len(self._words) == 1:
            self._words.insert(0, RawWord(self._line, (Piece("function", ""),)))
        return len(self._words) == 2 and declared in ([], ["function"])

    def _redirection(self, operator: str) -> None:
        """`2>&1`, `> file`: the file descriptor before it is no word, nor is the file after it."""
        descriptor = RawWord(0, tuple(self._pieces)).bare
        if descriptor.isdigit():
            self._pieces = []
        self._end_word()
        here = _HERE.match(self._text, self._at)
        if here and operator != "<<<":
            self._here_document(here)
            return
        # of what only errors go to nothing is known
        self._operator = "2>" if descriptor.isdigit() and descriptor != "1" else operator
        self._go(self._at + len(operator))

    def _here_document(self, here: re.Match[str]) -> None:
        text = self._text
        end_of_line = text.find("\n", here.end())
        first = end_of_line + 1 if end_of_line >= 0 else len(text)
        start = self._documents[1] if self._documents and self._documents[0] == first else first
        line = self._line + text.count("\n", self._at, start)
        lines: list[str] = []
        end = start
        for number in text[start:].splitlines(keepends=True):
            end += len(number)
            bare = number.lstrip("\t") if here["tabs"] else number
            if bare.rstrip("\r\n") == here["end"]:
                break
            lines.append(bare)
        self._documents = first, end
        self._document = RawDocument("".join(lines), line, not here["quote"])
        self._go(here.end())
