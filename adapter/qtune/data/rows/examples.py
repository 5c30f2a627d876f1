"""A row as LLaMA-Factory's converters see it (llamafactory/data/converter.py), without the library."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qtune.data.attributes import Attributes, attributes
from qtune.data.registrations import Registration

USER, ASSISTANT, OBSERVATION, FUNCTION, SYSTEM = "user", "assistant", "observation", "function", "system"
"""llamafactory/data/data_utils.py, Role"""

ASKING, ANSWERING = (USER, OBSERVATION), (ASSISTANT, FUNCTION)
"""The roles that take turns: the first message asks, the second answers, and so on."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `role` is one of LLaMA-Factory's own, whatever the row's tags are."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Example:
    """What a row comes to: the converter's `_prompt`, `_response` and so on.

    prompt: all messages but the last, empty where the library drops the row; response: one answer, two for
    ranking (the chosen one first) and for KTO (the row's own and an empty one, the good one first), or none.
    system and tools are "" and the media empty where the row has none; media stand as the row names them.
    """

    prompt: Sequence[Message]
    response: Sequence[Message]
    system: str = ""
    tools: str = ""
    images: Sequence[Any] = ()
    videos: Sequence[Any] = ()
    audios: Sequence[Any] = ()

    def said(self, ranked: bool) -> Iterator[tuple[str, str]]:
        """(role, text) in the order in which the model sees them. ranked: whether one answer is chosen."""
        for role, text in (("system", self.system), ("tools", self.tools)):
            if text:
                yield role, text
        for message in self.prompt:
            yield message.role if self.response else "text", message.content
        judged = ("chosen", "rejected") if ranked else ("good", "bad")
        for message, word in zip(self.response, judged, strict=False):
            if len(self.response) == 1:
                yield message.role, message.content
            elif message.content or ranked:
                yield f"{message.role} ({word})", message.content
        for kind, media in (("images", self.images), ("videos", self.videos), ("audios", self.audios)):
            if media:
                yield kind, ", ".join(map(str, media))


Converter = Callable[[Mapping[str, Any]], Example]


def converter(registration: Registration) -> Converter:
    """The converter for a registration's rows.

    It may be given any row that has no flaw with effect "crash" (qtune.data.rows.check). A column that the
    row lacks counts as null, which Arrow makes of it where other rows have it.
    """
    return converter_for(attributes(registration))


def converter_for(names: Attributes) -> Converter:
    """`converter`, by the names of columns and tags alone."""
    return {"alpaca": _alpaca, "sharegpt": _sharegpt, "openai": _openai}[names.formatting](names)


def _alpaca(names: Attributes) -> Converter:
    """AlpacaDatasetConverter"""

    def convert(row: Mapping[str, Any]) -> Example:
        prompt = []
        history = row.get(names.history) if names.history else None
        for question, reply in history if isinstance(history, list) else ():
            prompt += [Message(USER, question), Message(ASSISTANT, reply)]
        asked = [row.get(column) for column in (names.prompt, names.query) if column]
        prompt.append(Message(USER, "\n".join(text for text in asked if text)))

        answer: Any = row.get(names.response) if names.response else None
        response = _judged(names, row, [Message(ASSISTANT, answer)])
        if response is None and (pair := _pair(names, row, str)):
            response = [Message(ASSISTANT, text) for text in pair]
        if response is None:
            response = [Message(ASSISTANT, answer)] if isinstance(answer, str) else []
        return _example(names, row, prompt, response)

    return convert


def _sharegpt(names: Attributes) -> Converter:
    """SharegptDatasetConverter"""
    roles = roles_by_tag(names)
    tags = ((names.user_tag, names.observation_tag), (names.assistant_tag, names.function_tag))

    def convert(row: Mapping[str, Any]) -> Example:
        system, messages = _opening(names, row)
        aligned = []
        for turn, message in enumerate(messages):
            tag = message.get(names.role_tag)
            if tag not in tags[turn % 2]:
                return _example(names, row, [], [], system)
            aligned.append(Message(roles[tag], message.get(names.content_tag)))
        return _conversation(names, roles, row, aligned, system)

    return convert


def _openai(names: Attributes) -> Converter:
    """OpenAIDatasetConverter"""
    roles = roles_by_tag(names)

    def convert(row: Mapping[str, Any]) -> Example:
        system, messages = _opening(names, row)
        tools = row.get(names.tools) if names.tools else ""
        if isinstance(tools, dict | list):
            tools = json.dumps(tools, ensure_ascii=False)
        if isinstance(system, list):
            system = [*system]  # the library appends to the row's own
        thinking = "detailed thinking off"
        if not system:
            system = system if tools else thinking
        elif tools:
            system += "\n"
        elif "detailed thinking on" not in system and thinking not in system:
            system += f"\n{thinking}"

        aligned: list[Message] = []
        results: list[str] = []
        for message in messages:
            tag, content = message.get(names.role_tag), message.get(names.content_tag)
            if tag in (names.assistant_tag, names.function_tag) and (calls := message.get("tool_calls")):
                tag = names.function_tag
                content = json.dumps([_function(call) for call in calls], ensure_ascii=False)
            if tag == names.observation_tag:
                results.append(content)
                continue
            if results:
                aligned.append(Message(OBSERVATION, "\n</tool_response>\n<tool_response>\n".join(results)))
                results = []
            aligned.append(Message(roles[tag], content))
        if any(message.role not in (ASKING, ANSWERING)[turn % 2] for turn, message in enumerate(aligned)):
            return _example(names, row, [], [], system, tools)
        return _conversation(names, roles, row, aligned, system, tools)

    return convert


def _function(call: Mapping[str, Any]) -> Any:
    """What a tool call calls, with null for what it lacks, as Arrow makes of it where other calls have it."""
    function = call.get("function")
    if isinstance(function, dict):
        return function | {key: None for key in ("name", "arguments") if key not in function}
    return function


def roles_by_tag(names: Attributes) -> dict[str | None, str]:
    """Role by tag; of two roles with one tag the later wins, as in the library."""
    return {
        names.user_tag: USER,
        names.assistant_tag: ASSISTANT,
        names.observation_tag: OBSERVATION,
        names.function_tag: FUNCTION,
        names.system_tag: SYSTEM,
    }


def _opening(names: Attributes, row: Mapping[str, Any]) -> tuple[Any, Any]:
    """The system prompt and the messages after it."""
    messages: Any = row.get(names.messages) if names.messages else None
    if names.system_tag and messages and messages[0].get(names.role_tag) == names.system_tag:
        return messages[0].get(names.content_tag), messages[1:]
    return row.get(names.system) if names.system else "", messages


def _conversation(
    names: Attributes,
    roles: Mapping[str | None, str],
    row: Mapping[str, Any],
    aligned: Sequence[Message],
    system: Any,
    tools: Any = None,
) -> Example:
    """The example of messages whose roles take turns."""
    if len(aligned) % 2 != names.ranking:
        return _example(names, row, [], [], system, tools)
    response = _judged(names, row, aligned[-1:])
    if response is None and (pair := _pair(names, row, dict)):
        answers = [Message(roles[turn.get(names.role_tag)], turn.get(names.content_tag)) for turn in pair]
        return _example(names, row, aligned, answers, system, tools)
    return _example(names, row, aligned[:-1], aligned[-1:] if response is None else response, system, tools)


def _pair(names: Attributes, row: Mapping[str, Any], kind: type) -> list[Any] | None:
    """The chosen and the rejected answer, None where they do not both have the type."""
    if not names.ranking:
        return None
    pair = [row.get(column) for column in (names.chosen, names.rejected) if column]
    return pair if len(pair) == 2 and all(isinstance(answer, kind) for answer in pair) else None


def _judged(names: Attributes, row: Mapping[str, Any], response: Sequence[Message]) -> list[Message] | None:
    """KTO's pair of `response` and an empty answer, the good one first; None for a row with no label."""
    label = row.get(names.kto_tag) if names.kto_tag else None
    if not isinstance(label, bool):
        return None
    empty = Message(ASSISTANT, "")
    return [*response, empty] if label else [empty, *response]


def _example(
    names: Attributes,
    row: Mapping[str, Any],
    prompt: Sequence[Message],
    response: Sequence[Message],
    system: Any = None,
    tools: Any = None,
) -> Example:
    if names.formatting == "alpaca" and names.system:
        system = row.get(names.system)
    if names.formatting != "openai" and names.tools:
        tools = row.get(names.tools)
    media = [
        listed(row.get(column) if column else None) for column in (names.images, names.videos, names.audios)
    ]
    return Example(prompt, response, system or "", tools or "", *media)


def listed(media: Any) -> list[Any]:
    """DatasetConverter._find_medias, but for looking into the media directory."""
    if media is None:
        return []
    return media if isinstance(media, list) else [media]
