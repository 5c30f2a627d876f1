"""Thoughts in fields beside their answers, of which LLaMA-Factory's converters know nothing.

Source: llamafactory/data/converter.py, and the columns and tags of data/parser.py, DatasetAttr.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

from qtune.data.attributes import Attributes
from qtune.data.flaws import Flaw

FIELDS = ("reasoning_content", "reasoning", "thinking", "thought", "thoughts", "Complex_CoT")
"""What they are called by the APIs of DeepSeek, vLLM, OpenRouter and Ollama, and in data sets on hubs."""

Row = Mapping[str, Any]
Keys = Callable[[str], Container[str]]
"""Of a column's objects, or of those in its lists; of the rows for "": those that were seen so far."""


class UnreadThoughts:
    """Finds them, and puts them before their answers.

    words: what the chat template writes before and after a thought; dataset: its name.
    """

    def __init__(self, names: Attributes, words: tuple[str, str], dataset: str) -> None:
        self._words = words
        self._tags = tuple(word.strip() for word in words)
        self._dataset = dataset
        self._answer = names.content_tag if names.conversation else names.response or ""
        self._role_tag = names.role_tag
        self._answering = (names.assistant_tag, names.function_tag)
        self._is_openai = names.formatting == "openai"
        pair = (names.chosen, names.rejected) if names.ranking else ()
        in_messages = (names.messages, *pair) if names.conversation else ()
        self._columns = tuple(column for column in in_messages if column)
        self._fields: tuple[str, ...] = FIELDS
        if not names.conversation:  # of two answers to choose from, a row's thought may be either's
            self._fields = tuple(
                field for field in FIELDS if field not in names.columns and not names.ranking
            )

    def may_be_there(self, keys: Keys) -> bool:
        """Whether any row so far may have one."""
        return any(field in keys(column) for column in self._columns or ("",) for field in self._fields)

    def flaws(self, row: Row) -> list[Flaw]:
        """One for each field that holds one, and for each that no answer can take."""
        flaws = []
        for part in self._parts(row):
            if field := self._field(part):
                calls = self._is_openai and part.get("tool_calls")
                id = "unread-thought-of-call" if calls else "unread-thought"
                flaws.append(Flaw.of(id, field=field, name=self._dataset))
        return list(dict.fromkeys(flaws))

    def mended(self, row: Row) -> dict[str, Any] | None:
        """The row with its thoughts before their answers, None where it has none that can be moved."""
        moved = {id(part): whole for part in self._parts(row) if (whole := self._moved(part))}
        if not moved or not self._columns:
            return moved.get(id(row))

        def changed(value: Any) -> Any:
            if isinstance(value, list):
                return [moved.get(id(part), part) for part in value]
            return moved.get(id(value), value)

        return {**row, **{column: changed(row.get(column)) for column in self._columns}}

    def _parts(self, row: Row) -> Iterator[Row]:
        """The messages of answers, or the row itself, which has one answer."""
        if not self._columns:
            yield row
        for column in self._columns:
            value: Any = row.get(column)
            for message in value if isinstance(value, list) else [value]:
                if isinstance(message, dict) and message.get(self._role_tag) in self._answering:
                    yield message

    def _field(self, part: Row) -> str | None:
        """Where a part holds a thought that its answer lacks."""
        answer = part.get(self._answer)
        if isinstance(answer, str) and any(tag in answer for tag in self._tags):
            return None
        filled = (field for field in self._fields if isinstance(part.get(field), str) and part[field].strip())
        return next(filled, None)

    def _moved(self, part: Row) -> dict[str, Any] | None:
        """The part with its thought before its answer, and without the field."""
        field, answer = self._field(part), part.get(self._answer)
        if field is None or not isinstance(answer, str) or not answer or part.get("tool_calls"):
            return None
        opening, closing = self._words
        kept = {key: value for key, value in part.items() if key != field}
        return {**kept, self._answer: f"{opening}{part[field].strip()}{closing}{answer.lstrip()}"}
