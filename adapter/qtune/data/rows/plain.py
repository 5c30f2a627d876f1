"""Telling ordinary good rows from all others, fast: most rows of most files are ordinary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtune.data.attributes import Attributes
from qtune.data.rows.calls import call_flaws, tools_flaws

Recognizer = Callable[[Any], bool]
"""True for a row that surely has no flaw, False for one that needs a closer look."""

_UNLIKE_A_ROW = (AttributeError, IndexError, KeyError, TypeError)


def recognizer(names: Attributes, stage: str) -> Recognizer:
    """The recognizer of a registration's rows at a stage."""
    suits = bool(names.kto_tag) == (stage == "kto") and names.ranking == (stage in ("rm", "dpo"))
    tags = {tag for tag in names.role_tags if tag}
    if not suits or names.media or len(tags) < len(names.role_tags):
        return _unsure
    return _conversation(names) if names.conversation else _alpaca(names, stage)


def _unsure(row: Any) -> bool:
    return False


def _alpaca(names: Attributes, stage: str) -> Recognizer:
    prompt, query, history = names.prompt, names.query, names.history
    kto_tag, system, tools, ranking = names.kto_tag, names.system, names.tools, names.ranking
    chosen, rejected = names.chosen, names.rejected
    answers = (chosen, rejected) if ranking else () if stage in ("pt", "ppo") else (names.response,)
    needed = (prompt, *answers)
    if not all(needed):
        return _unsure

    def is_plain(row: Any) -> bool:
        try:
            for column in needed:
                text = row[column]
                if type(text) is not str or not text or text.isspace():
                    return False
            return (
                (type(other := row.get(query)) is str or other is None)
                and (not kto_tag or type(row[kto_tag]) is bool)
                and (not ranking or row[chosen] != row[rejected])
                and (not system or type(row.get(system) or "") is str)
                and (not tools or not tools_flaws(row.get(tools)))
                and (not history or not (turns := row.get(history)) or _are_pairs(turns))
            )
        except _UNLIKE_A_ROW:
            return False

    return is_plain


def _are_pairs(history: Any) -> bool:
    return type(history) is list and all(
        type(pair) is list and len(pair) == 2 and all(map(_is_said, pair)) for pair in history
    )


def _is_said(text: Any) -> bool:
    return type(text) is str and bool(text) and not text.isspace()


def _conversation(names: Attributes) -> Recognizer:
    column, role_tag, content_tag = names.messages, names.role_tag, names.content_tag
    kto_tag, system, tools, system_tag = names.kto_tag, names.system, names.tools, names.system_tag
    pair = (names.chosen, names.rejected) if names.ranking else ()
    take_turns = _openai_turns(names) if names.formatting == "openai" else _sharegpt_turns(names)

    def is_plain(row: Any) -> bool:
        try:
            messages = row[column]
            return (
                type(messages) is list
                and take_turns(messages)
                and (not kto_tag or type(row[kto_tag]) is bool)
                and (not pair or differ(*[row[answer] for answer in pair]))
                and (
                    not system
                    or not (text := row.get(system))
                    or (type(text) is str and messages[0][role_tag] != system_tag)
                )
                and (not tools or not tools_flaws(row.get(tools)))
            )
        except _UNLIKE_A_ROW:
            return False

    def differ(chosen: Any, rejected: Any) -> bool:
        return (
            chosen[role_tag] == rejected[role_tag] == names.assistant_tag
            and _is_said(chosen[content_tag])
            and _is_said(rejected[content_tag])
            and chosen[content_tag] != rejected[content_tag]
        )

    return is_plain


def _sharegpt_turns(names: Attributes) -> Callable[[list[Any]], bool]:
    """Whether the messages are good ones, in order."""
    role_tag, content_tag = names.role_tag, names.content_tag
    function_tag, system_tag = names.function_tag, names.system_tag
    asking, answering = (names.user_tag, names.observation_tag), (names.assistant_tag, function_tag)
    at_the_end = answering if names.ranking else asking

    def take_turns(messages: list[Any]) -> bool:
        expected, following = asking, answering
        for message in messages:
            role = message[role_tag]
            text = message[content_tag]
            if type(text) is not str or not text or text.isspace():
                return False
            if role in expected:
                if role == function_tag and call_flaws(text):
                    return False
                expected, following = following, expected
            elif role != system_tag or message is not messages[0]:
                return False
        return expected is at_the_end and messages[-1][role_tag] != system_tag

    return take_turns


def _openai_turns(names: Attributes) -> Callable[[list[Any]], bool]:
    """Whether the messages are good ones, in order, tool results in a row counting as one."""
    role_tag, content_tag = names.role_tag, names.content_tag
    user, assistant, results = names.user_tag, names.assistant_tag, names.observation_tag
    system_tag, ends_answered = names.system_tag, not names.ranking

    def take_turns(messages: list[Any]) -> bool:
        previous = system_tag
        for message in messages:
            role = message[role_tag]
            text = message.get(content_tag)
            if calls := message.get("tool_calls"):
                if role != assistant or text or not _are_calls(calls):
                    return False
            elif type(text) is not str or not text or text.isspace():
                return False
            if role == assistant:
                if previous not in (user, results):
                    return False
            elif role == results:
                if previous != assistant and previous != results:
                    return False
            elif role == user:
                if previous != assistant and previous != system_tag:
                    return False
            elif role != system_tag or message is not messages[0]:
                return False
            previous = role
        return previous == (assistant if ends_answered else user)

    return take_turns


def _are_calls(calls: Any) -> bool:
    return type(calls) is list and all(
        _is_said(call["function"]["name"]) and type(call["function"]["arguments"]) is dict for call in calls
    )
