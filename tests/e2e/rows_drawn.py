"""Rows drawn at random: good ones of every registration and stage, with up to three things broken."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from typing import Any

from row_cases import CALL, ENTRIES, PICTURE, TOOLS, Case, registration

from qtune.data.attributes import Attributes, attributes

STAGES = ("pt", "sft", "rm", "dpo", "kto", "ppo")
_TEXTS = (
    "hi",
    "What is 2 + 2?",
    "4.",
    "",
    " \n",
    "<image>",
    "你好",
    CALL,
    TOOLS,
    "[]",
    "{}",
    "null",
    '""',
    "ab",
)
_VALUES = (
    None, 0, 5, 1.5, True, False, [], {}, [[]], [None], ["a"], ["a", "b"], [["q", "a"]], [["q", None]],
    [["q", "a"], ["r"]], [{"a": "b"}], [{"a": "b", "c": "d"}], {"a": 1}, [1, 2], [[1, 2]], ["ab", "cd"], [{}],
    {"type": "text", "text": "hi"}, [{"type": "text", "text": "hi"}], PICTURE, [PICTURE],
    [[PICTURE]], [PICTURE, None], *_TEXTS,
)  # fmt: skip
_CALLS = (
    None, [], "add", ["add"], [None], [{}], [{"function": None}], [{"function": {"name": "f"}}],
    [{"function": {"name": "f", "arguments": "{}"}}], [{"function": {"name": "f", "arguments": {"a": 1}}}], 5,
    [{"function": "f"}], {"function": {"name": "f", "arguments": {}}},
)  # fmt: skip


def drawn(count: int, seed: int) -> Iterator[Case]:
    random = Random(seed)
    known = {name: attributes(registration(name)) for name in ENTRIES}
    for _ in range(count):
        name = random.choice(list(ENTRIES))
        names = known[name]
        usual = "rm" if names.ranking else "kto" if names.kto_tag else "sft"
        stage = usual if random.random() < 0.7 else random.choice(STAGES)
        row = _good(random, names)
        for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
            _break(random, names, row)
        yield Case(name, stage, row, {})


def _good(random: Random, names: Attributes) -> dict[str, Any]:
    row: dict[str, Any] = {"id": random.randrange(9)}
    for column in names.columns:
        row[column] = random.choice(("hi", "What is 2 + 2?", "4.", "", "5."))
    if names.messages and names.conversation:
        row[names.messages] = _messages(random, names)
    if names.ranking:
        for column in (names.chosen, names.rejected):
            text = random.choice(("4.", "5.", "six"))
            answer = {names.role_tag: names.assistant_tag, names.content_tag: text}
            row[column or "rejected"] = answer if names.conversation else text
    if names.history:
        row[names.history] = random.choice(([], None, [["q", "a"]], [["q", "a"], ["r", "b"]]))
    if names.kto_tag:
        row[names.kto_tag] = random.random() < 0.5
    if names.system:
        row[names.system] = random.choice(("", None, "Be brief."))
    if names.tools:
        row[names.tools] = random.choice(("", None, "[]", TOOLS))
    for placeholder, column in names.media:
        files = (
            [] if random.random() < 0.5 else [PICTURE] if placeholder == "<image>" else [[PICTURE, PICTURE]]
        )
        row[column] = files
        if files and not names.conversation:
            row[names.prompt or ""] = f"{placeholder}{row[names.prompt or '']}"
        elif files:
            row[names.messages or ""][-2][names.content_tag] += placeholder
    return row


def _messages(random: Random, names: Attributes) -> list[dict[str, Any]]:
    messages = []
    if random.random() < 0.2:
        messages.append((names.system_tag, "Be brief."))
    for _ in range(random.choice((1, 1, 2, 3))):
        messages.append((names.user_tag, random.choice(("hi", "What?"))))
        if random.random() < 0.2:
            messages += [(names.function_tag, CALL), (names.observation_tag, "4")]
            if names.formatting == "openai" and random.random() < 0.5:
                messages.append((names.observation_tag, "5"))
        messages.append((names.assistant_tag, random.choice(("4.", "Bye."))))
    if names.ranking:
        messages.pop()
    said = [{names.role_tag: role, names.content_tag: text} for role, text in messages]
    if names.formatting == "openai":
        for message in said:
            if message[names.role_tag] == names.function_tag and random.random() < 0.7:
                message[names.role_tag] = names.assistant_tag
                message["tool_calls"] = copy.deepcopy(random.choice(_CALLS))
    return said


def _break(random: Random, names: Attributes, row: dict[str, Any]) -> None:
    """Changes one thing in place."""
    column = random.choice(names.columns)
    value = row.get(column)
    if isinstance(value, list) and value and isinstance(value[0], dict) and random.random() < 0.9:
        _break_messages(random, names, value)
    elif isinstance(value, dict) and value and random.random() < 0.8:
        _break_message(random, names, value)
    elif random.random() < 0.2:
        row.pop(column, None)
    else:
        row[column] = copy.deepcopy(random.choice(_TEXTS if random.random() < 0.3 else _VALUES))


def _break_messages(random: Random, names: Attributes, messages: list[Any]) -> None:
    at = random.randrange(len(messages))
    match random.randrange(8):
        case 0:
            del messages[at]
        case 1:
            messages.insert(at, copy.deepcopy(messages[at]))
        case 2:
            messages.reverse()
        case 3:
            messages[at] = None
        case 4:
            text = random.choice(("", None, "x"))
            messages.append({names.role_tag: random.choice(_roles(names)), names.content_tag: text})
        case 5:
            value = random.choice(_VALUES)
            for message in messages:
                if isinstance(message, dict):
                    message[names.content_tag] = value
        case _:
            if isinstance(messages[at], dict):
                _break_message(random, names, messages[at])


def _break_message(random: Random, names: Attributes, message: dict[str, Any]) -> None:
    match random.randrange(6):
        case 0:
            message.pop(random.choice((names.role_tag, names.content_tag)), None)
        case 1 | 2:
            message[names.role_tag] = random.choice(_roles(names))
        case 3:
            message[names.role_tag] = random.choice((*_roles(names), *_VALUES))
        case 4:
            message[names.content_tag] = random.choice(_TEXTS if random.random() < 0.7 else _VALUES)
        case 5:
            message["tool_calls"] = copy.deepcopy(random.choice(_CALLS))


def _roles(names: Attributes) -> list[str | None]:
    return [*names.role_tags, "developer", "user", "gpt", None]
