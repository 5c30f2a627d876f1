"""What a training stage does with a converted row (llamafactory/data/processor, data/template.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from qtune.data.attributes import Attributes
from qtune.data.flaws import Flaw
from qtune.data.rows.calls import call_flaws, tools_flaws
from qtune.data.rows.examples import ANSWERING, ASKING, ASSISTANT, FUNCTION, SYSTEM, Example, Message
from qtune.data.rows.media import PLACEHOLDERS, MediaCheck

Row = Mapping[str, Any]


def processor_check(names: Attributes, stage: str, media: MediaCheck) -> PretrainRows | SupervisedRows:
    """stage: one of LLaMA-Factory's; dpo reads rows as rm does (llamafactory/train/dpo/workflow.py)."""
    if stage == "pt":
        return PretrainRows(names)
    kinds = {"rm": PairwiseRows, "dpo": PairwiseRows, "kto": FeedbackRows, "ppo": UnsupervisedRows}
    return kinds.get(stage, SupervisedRows)(names, media)


class PretrainRows:
    """PretrainDatasetProcessor: the first message is the text, and nothing else is looked at."""

    def __init__(self, names: Attributes) -> None:
        self._names = names

    def flaws(self, row: Row, example: Example, left_out: Flaw | None) -> list[Flaw]:
        """left_out: why the converter left the messages out."""
        if not example.prompt:
            return [replace(left_out or _wrong_stage(self._names, "pt"), effect="crash")]
        history = self._names.conversation or len(example.prompt) > 1
        return _content_flaws(example.prompt[0], "the first message" if history else _asked(self._names))


class SupervisedRows:
    """SupervisedDatasetProcessor: one answer, and every message is encoded."""

    stage = "sft"

    def __init__(self, names: Attributes, media: MediaCheck) -> None:
        self._names = names
        self._media = media

    def flaws(self, row: Row, example: Example, left_out: Flaw | None) -> list[Flaw]:
        """left_out: why the converter left the messages out."""
        if dropped := left_out or self._unanswered(row, example):
            return [dropped]
        answers = self._answers(example)
        flaws = [*self._prompt_flaws(example), *self._answer_flaws(example, answers)]
        if not isinstance(example.system, str):
            flaws.append(Flaw.of("system-not-text"))
        flaws += tools_flaws(example.tools)
        if self._names.media and not any(flaw.effect == "crash" for flaw in flaws):
            asked = [message.content for message in example.prompt]
            for answer in answers:
                flaws += self._media.flaws(row, [*asked, answer.content])
        return flaws

    def _unanswered(self, row: Row, example: Example) -> Flaw | None:
        """Why the processor drops the row."""
        if (
            len(example.prompt) % 2 == 0
            or len(example.response) > 1
            or (self._names.ranking and not example.response)
        ):
            return _wrong_stage(self._names, self.stage)
        if example.response:
            return None
        column = self._names.response
        if row.get(column or "") is None:
            return Flaw.of("missing-answer", column=column or "response")
        return Flaw.of("answer-not-text", column=column)

    def _not_two(self, example: Example) -> Flaw | None:
        """For stages that take two answers."""
        are_two = len(example.response) >= 2 and len(example.prompt) % 2
        return None if are_two else _wrong_stage(self._names, self.stage)

    def _answers(self, example: Example) -> Sequence[Message]:
        """Those that are encoded."""
        return example.response

    def _answer_columns(self) -> Sequence[str | None]:
        return [] if self._names.conversation else [self._names.response]

    def _prompt_flaws(self, example: Example) -> list[Flaw]:
        flaws = []
        for message in example.prompt:
            subject = _speaker(message)
            if not self._names.conversation:
                is_last = message is example.prompt[-1]
                subject = _asked(self._names) if is_last else f"a text of `{self._names.history}`"
            flaws += _content_flaws(message, subject)
        return flaws

    def _answer_flaws(self, example: Example, answers: Sequence[Message]) -> list[Flaw]:
        columns = self._answer_columns()
        subjects = [f"`{column}`" for column in columns] or map(_speaker, answers)
        flaws = []
        for message, subject in zip(answers, subjects, strict=True):
            flaws += _content_flaws(message, subject)
            if message.role in ASKING:
                tags = {"role_tag": self._names.role_tag, "assistant": self._names.assistant_tag}
                flaws.append(Flaw.of("answer-role", role=message.role, **tags))
        return flaws


class UnsupervisedRows(SupervisedRows):
    """UnsupervisedDatasetProcessor: a single answer is encoded, and never trained on."""

    stage = "ppo"

    def _unanswered(self, row: Row, example: Example) -> Flaw | None:
        return _wrong_stage(self._names, self.stage) if len(example.prompt) % 2 == 0 else None

    def _answers(self, example: Example) -> Sequence[Message]:
        return example.response if len(example.response) == 1 else [Message(ASSISTANT, "")]

    def _answer_flaws(self, example: Example, answers: Sequence[Message]) -> list[Flaw]:
        return [flaw for flaw in super()._answer_flaws(example, answers) if flaw.effect == "crash"]


class PairwiseRows(SupervisedRows):
    """PairwiseDatasetProcessor: the chosen answer, then the rejected one."""

    stage = "rm"

    def _unanswered(self, row: Row, example: Example) -> Flaw | None:
        lacks_one = len(example.response) < 2 and self._names.ranking
        return self._no_pair(row) if lacks_one else self._not_two(example)

    def _no_pair(self, row: Row) -> Flaw:
        names = self._names
        kind, wanted = (dict, "an object with role and text") if names.conversation else (str, "text")
        pair = [(column, row.get(column)) for column in (names.chosen, names.rejected) if column]
        missing = [f"`{column}`" for column, answer in pair if answer is None]
        wrong = [f"`{column}`" for column, answer in pair if not isinstance(answer, kind)]
        if missing:
            return Flaw.of("missing-answers", columns=_and(missing))
        return Flaw.of("answers-not-text", columns=_and(wrong), wanted=wanted)

    def _answer_columns(self) -> Sequence[str | None]:
        return [self._names.chosen, self._names.rejected]

    def _answer_flaws(self, example: Example, answers: Sequence[Message]) -> list[Flaw]:
        flaws = super()._answer_flaws(example, answers)
        if answers[0] == answers[1]:
            flaws.append(Flaw.of("same-answers"))
        return flaws


class FeedbackRows(SupervisedRows):
    """FeedbackDatasetProcessor: a labelled answer, which the next row borrows for its KL estimate."""

    stage = "kto"

    def flaws(self, row: Row, example: Example, left_out: Flaw | None) -> list[Flaw]:
        """left_out: why the converter left the messages out."""
        found = super().flaws(row, example, left_out)
        if any(flaw.effect == "dropped" for flaw in found):
            return [self._of_dropped(flaw, example) for flaw in found]
        answer = self._answers(example)[0].content or ""
        if self._names.kto_tag and row.get(self._names.kto_tag) and not answer:
            found.append(Flaw.of("empty-good-answer"))
        if self._has_media(self._answers(example)):
            found.append(Flaw.of("media-in-answer"))
        return found

    def _of_dropped(self, flaw: Flaw, example: Example) -> Flaw:
        """The flaw of a row that is dropped, if the row after it can still borrow its answer."""
        has_two = len(example.response) == 2  # for an empty answer it takes the other one
        borrowed = self._answers(example) if has_two else example.response
        is_there = bool(borrowed) and (has_two or bool(borrowed[0].content))
        crashes = is_there and any(found.effect == "crash" for found in _content_flaws(borrowed[0], ""))
        if is_there and not crashes and not self._has_media(borrowed):
            return flaw
        message = f"{flaw.message}; at stage kto the row after it stops the training"
        return replace(flaw, effect="crash", message=message)

    def _has_media(self, answers: Sequence[Message]) -> bool:
        """Whether the next row's text has more placeholders by them than media."""
        texts = [answer.content for answer in answers if isinstance(answer.content, str)]
        return bool(self._names.media) and any(place in text for text in texts for place in PLACEHOLDERS)

    def _unanswered(self, row: Row, example: Example) -> Flaw | None:
        column = self._names.kto_tag
        if len(example.response) < 2 and column:
            is_missing = row.get(column) is None
            return Flaw.of("missing-label" if is_missing else "label-not-boolean", column=column)
        return self._not_two(example)

    def _answers(self, example: Example) -> Sequence[Message]:
        good, bad = example.response
        return [good if good.content else bad]


def _wrong_stage(names: Attributes, stage: str) -> Flaw:
    """For rows that another stage takes."""
    gives = "with `ranking`" if names.ranking else "with `kto_tag`" if names.kto_tag else "for single answers"
    fixes = {
        "rm": "register `ranking: true`, `chosen` and `rejected`",
        "kto": "register `kto_tag` and a column of true and false",
    }
    fix = fixes.get(stage, "take `ranking` and `kto_tag` out of the registration")
    return Flaw.of("wrong-stage", gives=gives, stage=stage, fix=fix)


def _content_flaws(message: Message, subject: str) -> list[Flaw]:
    content: Any = message.content
    if message.role == SYSTEM:
        return [Flaw.of("system-not-first", subject=subject)]
    if content is None:
        return [Flaw.of("content-missing", subject=subject)]
    if isinstance(content, list):
        return [Flaw.of("content-parts", subject=subject)]
    if not isinstance(content, str):
        return [Flaw.of("content-not-text", subject=subject)]
    if message.role == FUNCTION:
        return call_flaws(content)
    what = "answer" if message.role in ANSWERING else "prompt"
    if not content:
        return [Flaw.of(f"empty-{what}", subject=subject)]
    if content.isspace():
        return [Flaw.of(f"blank-{what}", subject=subject)]
    return []


def _asked(names: Attributes) -> str:
    columns = [f"`{column}`" for column in (names.prompt, names.query) if column]
    return columns[0] if len(columns) == 1 else f"the prompt ({', '.join(columns)})"


def _speaker(message: Message) -> str:
    return f"{'a' if message.role in ('user', 'function') else 'an'} {message.role} message"


def _and(columns: Sequence[str]) -> str:
    return f"{' and '.join(columns)} {'is' if len(columns) == 1 else 'are'}"
