"""As much of Go's text/template as a Modelfile needs, and ollama's way of calling it: for tests alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\(|\)|:=|=|,|[^\s(),]+')


def prompt(modelfile: str, messages: list[dict[str, str]]) -> str:
    """The text that ollama makes of a chat (server/routes.go, ChatHandler; template/template.go, Execute)."""
    template = quoted(modelfile, "TEMPLATE")
    assert template is not None
    system = quoted(modelfile, "SYSTEM")
    if system and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    systems = [message["content"] for message in messages if message["role"] == "system"]
    values = {
        "System": "\n\n".join(systems),
        "Messages": [{"Role": message["role"], "Content": message["content"]} for message in messages],
    }
    return render(template, values)


def quoted(modelfile: str, command: str) -> str | None:
    found = re.search(rf'^{command} """(.*?)"""$', modelfile, re.DOTALL | re.MULTILINE)
    return found[1] if found else None


def render(template: str, values: dict[str, Any]) -> str:
    """Text between actions; `if`, `else if`, `else`, `range`, variables, fields, eq, len, slice."""
    pieces = _ACTION.split(template)
    nodes = [(index % 2 == 1, piece) for index, piece in enumerate(pieces) if piece]
    program = _Program(nodes, values)
    return program.run(values, {})


@dataclass
class _Program:
    nodes: list[tuple[bool, str]]
    root: dict[str, Any]
    position: int = 0
    shown: list[str] = field(default_factory=list)

    def run(self, dot: Any, variables: dict[str, Any]) -> str:
        end = self._block(0, dot, variables, show=True)
        assert end == len(self.nodes), "an end too many"
        return "".join(self.shown)

    def _block(self, at: int, dot: Any, variables: dict[str, Any], *, show: bool) -> int:
        """Walk from `at` to this block's `else` or `end`; where that stands."""
        while at < len(self.nodes):
            action, text = self.nodes[at]
            words = _WORD.findall(text) if action else []
            if not action:
                if show:
                    self.shown.append(text)
            elif words[0] in ("else", "end"):
                return at
            elif words[0] == "if":
                at = self._if(at, words, dot, variables, show=show)
            elif words[0] == "range":
                at = self._range(at, words, dot, variables, show=show)
            elif len(words) > 1 and words[1] in (":=", "="):
                if show:
                    variables[words[0]] = self._value(words[2:], dot, variables)
            elif show:
                self.shown.append(self._value(words, dot, variables))
            at += 1
        return at

    def _if(self, at: int, words: list[str], dot: Any, variables: dict[str, Any], *, show: bool) -> int:
        done = not show
        while words[0] != "end":
            condition = words[2:] if words[:2] == ["else", "if"] else words[1:] if words[0] == "if" else []
            holds = not done and (not condition or bool(self._value(condition, dot, variables)))
            at = self._block(at + 1, dot, variables, show=holds)
            done = done or holds
            words = _WORD.findall(self.nodes[at][1])
        return at

    def _range(self, at: int, words: list[str], dot: Any, variables: dict[str, Any], *, show: bool) -> int:
        names = [word for word in words[1 : words.index(":=")] if word != ","] if ":=" in words else []
        items = self._value(words[words.index(":=") + 1 :] if names else words[1:], dot, variables)
        for index, item in enumerate(items if show else []):
            variables.update(zip(names, (index, item), strict=False))
            self._block(at + 1, item, variables, show=True)
        return self._block(at + 1, dot, variables, show=False)

    def _value(self, words: list[str], dot: Any, variables: dict[str, Any]) -> Any:
        values = list(self._operands(iter(words), dot, variables))
        if words[0] == "eq":
            return values[1] == values[2]
        if words[0] == "len":
            return len(values[1])
        if words[0] == "slice":
            return values[1][values[2] :]
        assert len(values) == 1, words
        return values[0]

    def _operands(self, words: Iterator[str], dot: Any, variables: dict[str, Any]) -> Iterator[Any]:
        for word in words:
            if word == "(":
                inner = []
                depth = 1
                for part in words:
                    depth += {"(": 1, ")": -1}.get(part, 0)
                    if depth == 0:
                        break
                    inner.append(part)
                yield self._value(inner, dot, variables)
            elif word[0] == '"':
                yield word[1:-1]
            elif word.startswith("$."):
                yield self.root[word[2:]]
            elif word.startswith("$"):
                yield variables[word]
            elif word.startswith("."):
                yield dot[word[1:]]
            else:
                yield int(word) if word.isdecimal() else word
