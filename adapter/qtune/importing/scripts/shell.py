"""The commands of a shell script with their variables put in: read, never executed.

Functions are read where they are called, and a loop over words once for each. What a shell would have to
compute, or the caller's environment to tell, is kept as a hole with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qtune.importing.scripts.expansion import HereDocument, Scope, Word, first, joined
from qtune.importing.scripts.shell_words import Piece, RawWord, Statement, statements

__all__ = ["Command", "HereDocument", "Word", "commands"]

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\+?)=(.*)", re.DOTALL)
_DECLARING = ("export", "declare", "local", "readonly", "typeset")
_PAIRS = {**dict.fromkeys(("for", "while", "until", "select"), "done"), "if": "fi", "{": "}"}
_OPENING = (*_PAIRS, "case", "function")
_WITH_WORDS = ("for", "case", "select", "function")
_CLOSING = ("fi", "done", "esac", "}")
_KEYWORDS = (*_OPENING, *_CLOSING, "then", "else", "elif", "do", "!")

_DEEPEST = 16  # loops in loops, and functions that call themselves
_MOST = 1000  # statements of functions and loops, after which a loop is read once
_LONGEST = 100_000  # characters of a variable, which may hold another one twice


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

    @property
    def variables(self) -> Mapping[str, Word]:
        """Those that the command sees."""
        return {**self.exported, **self.assigned}


def commands(text: str, line: int = 1, variables: Mapping[str, Word] | None = None) -> list[Command]:
    """Every simple command of the script, in its order; assignments take effect along the way.

    line: the number of its first line; variables: those that its environment has.
    """
    given = variables or {}
    shell = _Shell(Scope({name: [word] for name, word in given.items()}), set(given))
    shell.run(statements(text, line))
    return shell.commands


_OF_THE_CALLER = re.compile(r"\$\{?(?:[1-9]|OPTARG)\b")


@dataclass
class _Shell:
    scope: Scope
    exported: set[str] = field(default_factory=set)
    commands: list[Command] = field(default_factory=list)
    functions: dict[str, list[Statement]] = field(default_factory=dict)
    conditions: int = 0
    cases: int = 0
    depth: int = 0
    steps: int = 0
    piped: HereDocument | None = None

    def run(self, script: Sequence[Statement]) -> None:
        """The statements one after the other; blocks among them as they are meant."""
        at, ends = 0, _ends(script)
        while at < len(script):
            end = self._block(script, at, ends)
            if end is None:
                self._statement(script[at])
            at = (at if end is None else end) + 1

    def _block(self, script: Sequence[Statement], at: int, ends: Mapping[tuple[str, int], int]) -> int | None:
        """The end of a function, a loop over words, or what `if false` leaves out; None for others."""
        words = [word.bare for word in script[at].words]
        if words[0] == "function" and len(words) > 1:
            end = ends.get(("}", at), ends.get(("}", at + 1)))
            if end is not None:
                self.functions[words[1]] = _body(script, at, end)
            return end
        if words[0] == "for" and words[2:3] == ["in"] and self.depth < _DEEPEST:
            end = ends.get(("done", at))
            values = [word for raw in script[at].words[3:] for word in self.scope.expand(raw)]
            if end is None or not values or any(word.hole or "*" in word.text for word in values):
                return None
            for value in values if self.steps < _MOST else values[:1]:
                self.scope.variables[words[1]] = [value]
                self._inner(script[at + 1 : end])
            return end
        return ends.get(("fi", at)) if words == ["if", "false"] else None

    def _inner(self, script: Sequence[Statement]) -> None:
        self.steps += len(script)
        self.conditions += 1
        self.depth += 1
        self.run(script)
        self.depth -= 1
        self.conditions -= 1

    def _statement(self, statement: Statement) -> None:
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

    def _call(self, body: list[Statement], arguments: list[Word]) -> None:
        outer, self.scope.arguments = self.scope.arguments, arguments
        self.steps += len(body)
        self.depth += 1
        self.run(body)
        self.depth -= 1
        self.scope.arguments = outer

    def _read(self, statement: Statement, separator: str) -> None:
        """`IFS=, read -ra NAME <<< "$LIST"`: the list's items as an array."""
        if statement.string is not None:
            given = joined(self.scope.expand(statement.string, split=False), statement.line)
            items = re.split(f"[{re.escape(separator)}]", given.text) if separator else [given.text]
            found = [given] if given.hole else [Word(item, statement.line) for item in items]
            self.scope.variables[statement.words[-1].bare] = found

    def interpret(self, statement: Statement) -> Command | None:
        """One statement: None where it is no command but a keyword, an assignment or a declaration."""
        given, self.piped = self.piped, None
        raw = statement.words
        while raw and raw[0].bare in _KEYWORDS:
            keyword, raw = raw[0].bare, raw[1:]
            self.conditions = max(0, self.conditions + (keyword in _OPENING) - (keyword in _CLOSING))
            self.cases = max(0, self.cases + (keyword == "case") - (keyword == "esac"))
            if keyword in _WITH_WORDS:
                return None
        if raw and self.cases and raw[0].bare.startswith("-"):
            return None  # a pattern of the case, `-m | --model)`
        before: dict[str, Word] = {}
        while raw and _ASSIGNMENT.fullmatch(first(raw[0])):
            name, words = self._assignment(raw[0])
            if all(_ASSIGNMENT.fullmatch(first(word)) for word in raw) and not self._is_an_option(raw[0]):
                self._set(name, words, raw[0].line)
            before[name] = joined(words, raw[0].line)
            raw = raw[1:]
        if raw and raw[0].bare in _DECLARING:
            self._declare(raw)
            return None
        words = [word for item in raw for word in self.scope.expand(item)]
        if not words:
            return None
        exported = {
            name: joined(self.scope.variables[name], words[0].line)
            for name in sorted(self.exported & self.scope.variables.keys())
        }
        document = self.scope.document(statement.document) if statement.document else given
        if statement.piped and words[0].text in ("cat", "tee"):
            self.piped = document
        target = joined(self.scope.expand(statement.target), statement.line) if statement.target else None
        return Command(tuple(words), before, exported, document, target, statement.appends)

    def _declare(self, raw: list[RawWord]) -> None:
        for word in raw[1:]:
            name = word.bare
            if _ASSIGNMENT.fullmatch(first(word)):
                name, words = self._assignment(word)
                self._set(name, words, word.line)
            if raw[0].bare == "export":
                self.exported.add(name)

    def _assignment(self, raw: RawWord) -> tuple[str, list[Word]]:
        match = _ASSIGNMENT.fullmatch(first(raw))
        assert match is not None
        if raw.array is not None:
            words = [word for item in raw.array for word in self.scope.expand(item)]
        else:
            value = RawWord(raw.line, (Piece(match[3], ""), *raw.pieces[1:]))
            # the value of an assignment is not split
            words = [joined(self.scope.expand(value, split=False), raw.line)]
        return match[1], [*self.scope.variables.get(match[1], []), *words] if match[2] else words

    def _is_an_option(self, raw: RawWord) -> bool:
        """Whether it replaces a default where the caller gives an option, which nobody did here."""
        name = first(raw).partition("=")[0]
        given = any(_OF_THE_CALLER.search(piece.text) for piece in raw.pieces if piece.quote != "'")
        return given and bool(self.conditions) and not self.scope.arguments and name in self.scope.variables

    def _set(self, name: str, words: list[Word], line: int) -> None:
        if self.conditions:
            hole = f"`{name}` is set only under a condition, on line {line}"
            words = [Word(f"${name}", line, hole)]
        elif sum(len(word.text) for word in words) > _LONGEST:
            words = [Word(f"${name}", line, f"`{name}` is too long to be read, on line {line}")]
        self.scope.variables[name] = words


def _ends(script: Sequence[Statement]) -> dict[tuple[str, int], int]:
    """The index of the statement that ends a block, by the word that does and the index where it begins."""
    opened: dict[str, list[int]] = {closing: [] for closing in _PAIRS.values()}
    ends: dict[tuple[str, int], int] = {}
    for index, statement in enumerate(script):
        words = [word.bare for word in statement.words]
        for word in words[2:] if words[0] == "function" else words:
            if word in _PAIRS:
                opened[_PAIRS[word]].append(index)
            elif opened.get(word):
                ends[word, opened[word].pop()] = index
            if word not in _KEYWORDS or word in _WITH_WORDS:
                break
    return ends


def _body(script: Sequence[Statement], at: int, end: int) -> list[Statement]:
    """A function's statements: those between its braces, the first of which may stand beside its name."""
    first = script[at].words[2:]
    rest = [statement for statement in script[at + 1 : end] if statement.words[0].bare != "{"]
    return ([Statement(first[1:])] if first[1:] else []) + rest
