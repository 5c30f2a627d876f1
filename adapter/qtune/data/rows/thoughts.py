"""Thoughts before answers, and what a reasoning template does with them.

Source: llamafactory/data/template.py, ReasoningTemplate. That thoughts of earlier turns leave the prompt
(`mask_history`, and every stage but sft) is no flaw: they leave it when the model is served, too, and none of
them was to be trained on. Templates without thoughts train those in the data as they stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from qtune.data.attributes import Attributes
from qtune.data.flaws import Flaw
from qtune.data.rows.examples import converter_for
from qtune.data.rows.unread_thoughts import Keys, Row, UnreadThoughts
from qtune.schema.chat_templates import THOUGHT_WORDS, ChatTemplate
from qtune.units import counted

_STAGES = ("sft", "rm", "dpo", "kto")
_TAG = re.compile(r"[<◁]\s*/?\s*(?:\w+:)?[Tt](?:hink(?:ing)?|houghts?)\s*[>▷]")


@dataclass(frozen=True, slots=True)
class Thoughts:
    """What was found in some rows.

    flaws: the indexes of the rows that have each; mended: by index, the rows whose unread thoughts can be
    kept, as they are then.
    """

    flaws: Mapping[Flaw, Sequence[int]]
    mended: Mapping[int, dict[str, Any]]


class ThoughtCheck:
    """Flaws of the thoughts in the answers that are trained on.

    template: with the config's own `enable_thinking`, None where none is known, and then only unread fields
    are looked for; last_alone: whether only the last answer of a row is trained on.
    """

    def __init__(
        self, names: Attributes, stage: str, template: ChatTemplate | None, last_alone: bool, dataset: str
    ) -> None:
        self._trains = stage in _STAGES
        self._judges = self._trains and template is not None and template.reasons
        self._last = last_alone or stage != "sft"
        self._thinks = template.enable_thinking if template else None
        self._words = template.thought_words if template else THOUGHT_WORDS
        self._tags = tuple(word.strip() for word in self._words)
        opening, closing = map(re.escape, self._words)
        self._thought = re.compile(rf"\s*{opening}(.*?){closing}", re.DOTALL)
        is_plain = stage == "sft" and not (names.ranking or names.history)
        self._plain = _plain_answers(names) if is_plain else None
        self._convert = converter_for(names)
        self._unread = UnreadThoughts(names, self._words, dataset)
        self._some = False
        self._absent = Flaw.of("no-thought") if self._thinks else None

    def examine(self, rows: Sequence[Row], left: Sequence[int], keys: Keys) -> Thoughts:
        """left: the indexes of those rows that are trained on; keys: of the data up to here."""
        unread = self._trains and self._unread.may_be_there(keys)
        if not (unread or self._judges):
            return Thoughts({}, {})
        found: dict[Flaw, list[int]] = {}
        mended: dict[int, dict[str, Any]] = {}
        bare: list[int] = []
        for index in left:
            row = rows[index]
            for flaw in self.flaws(row) if unread else self._judged(row):
                if flaw is self._absent:  # mostly all rows have it, or none
                    bare.append(index)
                else:
                    found.setdefault(flaw, []).append(index)
            if unread and (whole := self._unread.mended(row)):
                mended[index] = whole
        if bare and self._absent:
            found[self._absent] = bare
        return Thoughts(found, mended)

    def flaws(self, row: Row) -> list[Flaw]:
        """Of a row that is trained on, each once.

        A row with unread thoughts lacks no others.
        """
        return self._unread.flaws(row) or (self._judged(row) if self._judges else [])

    def counted(self, flaw: Flaw, count: int, rows: int) -> Flaw:
        """The flaw as it is told of a whole dataset. count: of rows that have it; rows: all trained on."""
        if flaw.kind not in ("no-thought", "empty-thought", "thought-left-out"):
            return flaw
        if flaw.kind == "no-thought" and (self._some or count < rows):
            flaw = Flaw.of("no-thought-among-others")
        return replace(flaw, message=f"{flaw.message} ({count:,} of {counted(rows, 'row')})")

    def _judged(self, row: Row) -> list[Flaw]:
        flaws: list[Flaw] = []
        for answer in self._answers(row):
            flaw = self._flaw(answer)
            if flaw is not None and not any(flaw is known for known in flaws):  # `of` makes each once
                flaws.append(flaw)
        return flaws

    def _answers(self, row: Row) -> list[Any]:
        answers = self._plain(row) if self._plain else [None]
        if None in answers:
            example = self._convert(row)
            answers = [message.content for message in (*example.prompt[1::2], *example.response)]
            return [message.content for message in example.response] if self._last else answers
        return answers[-1:] if self._last else answers

    def _flaw(self, answer: Any) -> Flaw | None:
        """What is wrong with the thought of one answer."""
        if not answer or not isinstance(answer, str):
            return None  # a flaw by itself, or what kto puts beside the row's own
        opening, closing = self._tags
        has = (opening in answer, closing in answer)
        if not (has[0] or has[1]):
            if ("hink" in answer or "hought" in answer) and _TAG.search(answer):
                return self._malformed("thought-tags")
            return self._absent
        found = self._thought.match(answer)
        if found is None or any(tag in answer[found.end() :] for tag in self._tags):
            if all(has):
                return self._malformed("thought-form")
            there, lacking = (opening, closing) if has[0] else (closing, opening)
            return self._malformed("thought-half", there=_shown(there), lacking=_shown(lacking))
        if not found[1].strip():
            return None if self._thinks is False else Flaw.of("empty-thought")
        self._some = True
        return Flaw.of("thought-left-out") if self._thinks is False else None

    def _malformed(self, id: str, **words: str) -> Flaw:
        return Flaw.of(id, form=_shown("…".join(self._words)), **words)


def _plain_answers(names: Attributes) -> Callable[[Row], list[Any]]:
    """The answers of a row without a second one to choose from, fast: converting it takes many times as long.

    None stands for one that the converter makes something else of: of tool calls their JSON.
    """
    column, response = names.messages or "", names.response or ""
    role_tag, content_tag = names.role_tag, names.content_tag
    answering = (names.assistant_tag, names.function_tag)
    calls_key = "tool_calls" if names.formatting == "openai" else None

    def in_messages(row: Row) -> list[Any]:
        said = [message for message in row[column] if message.get(role_tag) in answering]
        return [None if message.get(calls_key) else message.get(content_tag) for message in said]

    return in_messages if names.conversation else lambda row: [row.get(response)]


def _shown(word: str) -> str:
    """A template's word on one line."""
    return word.replace("\n", "\\n")
