"""The commands of a shell script with their variables put in: read, never executed.

Functions are read where they are called, and a loop over words once for each. What a shell would have to
compute, or the caller's environment to tell, is kept as a hole with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from qtune.importing.scripts.shell_words import (
    Piece,
    RawDocument,
    RawWord,
    Statement,
    end_of_expansion,
    statements,
)
from qtune.importing.scripts.substitutions import (
    GPUS,
    calculated,
    counted,
    here,
    known_by,
    lists_gpus,
    stands_for,
)

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\+?)=(.*)", re.DOTALL)
_DECLARING = ("export", "declare", "local", "readonly", "typeset")
_LOOPS = ("for", "while", "until", "select")
_OPENING = (*_LOOPS, "if", "case", "function", "{")
_WITH_WORDS = ("for", "case", "select", "function")
_CLOSING = ("fi", "done", "esac", "}")
_KEYWORDS = (*_OPENING, *_CLOSING, "then", "else", "elif", "do", "!", "time")

_PLAIN = re.compile(r"\$([A-Za-z_]\w*|\d)")
_BRACED = re.compile(r"\$\{([A-Za-z_]\w*|\d+)(\[[@*]\])?(?::?[-=](.*))?\}", re.DOTALL)
_LENGTH = re.compile(r"\$\{#([A-Za-z_]\w*)\[[@*]\]\}")
_ARGUMENTS = ("$@", "$*", "${@}", "${*}")
_SPECIAL = re.compile(r"[$`\\]")
_ESCAPED = re.compile(r'\\(["$`\\])|\\\n')
_DEEPEST = 8  # functions that call themselves
_MOST = 1000  # statements of functions and loops, after which a loop is read once
_LONGEST = 100_000  # characters of a variable, which may hold another one twice


@dataclass(frozen=True)
class Word:
    """A word after expansion.

    hole: why a part of it is not known, None where all of it is. means: what the whole word stands for where
    only the machine knows its value, such as `substitutions.GPUS`.
    """

    text: str
    line: int
    hole: str | None = None
    means: str = ""


@dataclass(frozen=True)
class HereDocument:
    """A file as the script writes it; line: its first one; holes: what is not known of it, by its line."""

    text: str
    line: int
    holes: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """One simple command: its words, the assignments before it, and the variables exported by then.

    document: what it is given to read; target: the file that its output goes to; appends: at its end.
    """

    words: tuple[Word, ...]
    assigned: Mapping[str, Word]
    exported: Mapping[str, Word]
    document: HereDocument | None = None
    target: Word | None = None
    appends: bool = False

    @property
    def line(self) -> int:
        return self.words[0].line


def commands(text: str, line: int = 1, variables: Mapping[str, Word] | None = None) -> list[Command]:
    """Every simple command of the script, in its order; assignments take effect along the way.

    line: the number of its first line; variables: those that its environment has.
    """
    given = variables or {}
    shell = _Shell({name: [word] for name, word in given.items()}, set(given))
    shell.run(statements(text, line))
    return shell.commands


_BREAK = None
_Fragment = tuple[str, bool, str | None, str] | None
"""A stretch of an expanded word: its text, whether it is split at spaces, its hole, what it means; None ends
the word."""


@dataclass
class _Shell:
    variables: dict[str, list[Word]] = field(default_factory=dict)
    exported: set[str] = field(default_factory=set)
    commands: list[Command] = field(default_factory=list)
    functions: dict[str, list[Statement]] = field(default_factory=dict)
    arguments: list[Word] | None = None
    conditions: int = 0
    depth: int = 0
    steps: int = 0
    piped: HereDocument | None = None

    def run(self, script: Sequence[Statement]) -> None:
        """The statements one after the other; blocks among them as they are meant."""
        at = 0
        while at < len(script):
            at = self._block(script, at) or self._statement(script[at], at)

    def _block(self, script: Sequence[Statement], at: int) -> int | None:
        """The index after a function, a loop over words, or what `if false` leaves out; None for others."""
        words = [word.bare for word in script[at].words]
        end = None
        if words[0] == "function" and len(words) > 1:
            end = _end(script, at, "{", "}")
            if end is not None:
                self.functions[words[1]] = _body(script, at, end)
        elif words[0] == "for" and words[2:3] == ["in"]:
            end = _end(script, at, _LOOPS, "done")
            values = [word for raw in script[at].words[3:] for word in self._expand(raw)]
            if end is None or not values or any(word.hole or "*" in word.text for word in values):
                return None
            for value in values if self.steps < _MOST else values[:1]:
                self.variables[words[1]] = [value]
                self._inner(script[at + 1 : end])
        elif words == ["if", "false"]:
            end = _end(script, at, "if", "fi")
        return None if end is None else end + 1

    def _inner(self, script: Sequence[Statement]) -> None:
        self.steps += len(script)
        self.conditions += 1
        self.run(script)
        self.conditions -= 1

    def _statement(self, statement: Statement, at: int) -> int:
        command = self.interpret(statement)
        if command is not None:
            name = command.words[0].text
            if name in self.functions and self.depth < _DEEPEST and self.steps < _MOST:
                self._call(self.functions[name], list(command.words[1:]))
            elif name == "eval" and self.depth < _DEEPEST:
                self.depth += 1
                self.run(statements(" ".join(word.text for word in command.words[1:]), command.line))
                self.depth -= 1
            elif name == "read":
                self._read(statement, command.assigned.get("IFS", Word(" ", 0)).text)
            else:
                self.commands.append(command)
        return at + 1

    def _call(self, body: list[Statement], arguments: list[Word]) -> None:
        outer, self.arguments = self.arguments, arguments
        self.steps += len(body)
        self.depth += 1
        self.run(body)
        self.depth -= 1
        self.arguments = outer

    def _read(self, statement: Statement, separator: str) -> None:
        """`IFS=, read -ra NAME <<< "$LIST"`: the list's items as an array."""
        if statement.string is not None:
            given = _joined(self._expand(statement.string, split=False), statement.line)
            items = [Word(item, statement.line) for item in re.split(f"[{re.escape(separator)}]", given.text)]
            self.variables[statement.words[-1].bare] = [given] if given.hole else items

    def interpret(self, statement: Statement) -> Command | None:
        """One statement: None where it is no command but a keyword, an assignment or a declaration."""
        given, self.piped = self.piped, None
        raw = statement.words
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
        document = self._document(statement.document) if statement.document else given
        if statement.piped and words[0].text in ("cat", "tee"):
            self.piped = document
        target = _joined(self._expand(statement.target), statement.line) if statement.target else None
        return Command(tuple(words), before, exported, document, target, statement.appends)

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
        elif sum(len(word.text) for word in words) > _LONGEST:
            words = [Word(f"${name}", line, f"`{name}` is too long to be read, on line {line}")]
        self.variables[name] = words

    def _document(self, raw: RawDocument) -> HereDocument:
        if not raw.bare:
            return HereDocument(raw.text, raw.line)
        text, holes = "", {}
        for number, line in enumerate(raw.text.splitlines(keepends=True), raw.line):
            word = _joined(self._expand(RawWord(number, (Piece(line, '"'),))), number)
            text += word.text
            if word.hole:
                holes[number] = word.hole
        return HereDocument(text, raw.line, holes)

    def _expand(self, raw: RawWord, *, split: bool = True) -> list[Word]:
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
                    means = means if current is None or current.text.endswith("=") else ""
                    current = current or Word("", raw.line)
                    current = Word(current.text + item, raw.line, current.hole or hole, means)
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
            words = [word for raw in statements(default) for item in raw.words for word in self._expand(item)]
        yield from self._several(words, quoted=quoted, array=bool(array))

    def _named(self, name: str) -> list[Word] | None:
        if name.isdigit() and self.arguments is not None and name != "0":
            return self.arguments[int(name) - 1 : int(name)]
        return self.variables.get(name)

    def _several(self, words: list[Word], *, quoted: bool, array: bool) -> Iterator[_Fragment]:
        for number, word in enumerate(words):
            if number:
                yield _BREAK if array else (" ", not quoted, None, "")
            yield word.text, not quoted and not array, word.hole, word.means

    def _computed(self, expression: str) -> str | None:
        """The value of `${#NAME[@]}`, of arithmetic, and of a list's length, where their parts are known."""
        if length := _LENGTH.fullmatch(expression):
            words = self.variables.get(length[1], [])
            return str(len(words)) if words and not any(word.hole for word in words) else None
        inner = expression[2:-1]
        if expression.startswith("$((") or counted(inner):
            bare = (
                re.sub(r"(?<![\w$])([A-Za-z_]\w*)", r"$\1", inner) if expression.startswith("$((") else inner
            )
            word = _joined(self._expand(RawWord(0, (Piece(bare, '"'),))), 0)
            if not word.hole:
                return calculated(word.text) if expression.startswith("$((") else counted(word.text)
        return None

    def _meant(self, expression: str) -> str:
        """What an expression stands for whose value is not known."""
        if length := _LENGTH.fullmatch(expression):
            return GPUS if any(lists_gpus(word.text) for word in self.variables.get(length[1], [])) else ""
        return stands_for(expression)


def _end(script: Sequence[Statement], at: int, opening: str | Sequence[str], closing: str) -> int | None:
    """The index of the statement that ends the block which begins in statement `at`; None where none does."""
    depth = 0
    for index in range(at, len(script)):
        words = [word.bare for word in script[index].words]
        if words[0] == "function" and opening == "{":
            words = words[2:]
        for word in words:
            if word not in _KEYWORDS:
                break
            depth += word == opening if isinstance(opening, str) else word in opening
            depth -= word == closing
            if word in _WITH_WORDS:
                break
            if depth == 0 and word == closing:
                return index
    return None


def _body(script: Sequence[Statement], at: int, end: int) -> list[Statement]:
    """A function's statements: those between its braces, the first of which may stand beside its name."""
    first = script[at].words[2:]
    rest = [statement for statement in script[at + 1 : end] if statement.words[0].bare != "{"]
    return ([Statement(first[1:])] if first[1:] else []) + rest


def _first(word: RawWord) -> str:
    """The unquoted beginning of a word, where `NAME=` would stand."""
    return word.pieces[0].text if word.pieces and not word.pieces[0].quote else ""


def _joined(words: list[Word], line: int) -> Word:
    hole = next((word.hole for word in words if word.hole), None)
    means = words[0].means if len(words) == 1 else ""
    return Word(" ".join(word.text for word in words), line, hole, means)
