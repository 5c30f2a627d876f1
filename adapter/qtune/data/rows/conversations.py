"""Rows with a list of messages: what the converters of `sharegpt` and `openai` stop at or leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from qtune.data.attributes import Attributes
from qtune.data.flaws import Flaw
from qtune.data.rows.alpaca import no_column
from qtune.data.rows.examples import ANSWERING, ASKING, OBSERVATION, roles_by_tag

_LONGEST_ROLE = 30


class ConversationRows:
    """Flaws of one registration's rows that hold at every stage."""

    def __init__(self, names: Attributes) -> None:
        self._names = names
        self._roles = roles_by_tag(names)
        self._tags = ((names.user_tag, names.observation_tag), (names.assistant_tag, names.function_tag))
        self._known = [tag for tag in dict.fromkeys(self._roles) if tag]
        self._is_openai = names.formatting == "openai"

    def unconvertible(self, row: Mapping[str, Any]) -> list[Flaw]:
        """What the converter stops at."""
        names = self._names
        messages = row.get(names.messages) if names.messages else None
        if not isinstance(messages, list) and messages not in ("", {}):
            return [self._no_messages("messages-missing" if messages is None else "messages-no-list")]
        if any(not isinstance(message, dict) for message in self._looked_at(messages)):
            return [self._no_messages("message-not-object")]
        flaws = self._openai_messages(row, messages) if self._is_openai else []
        return flaws or self._pair(row)

    def out_of_order(self, row: Mapping[str, Any]) -> Flaw | None:
        """Why the converter leaves the messages out; None where it does not."""
        turns = self._turns(row[self._names.messages or ""])
        for turn, tag in enumerate(turns):
            if not self._in_turn(turn, tag):
                return self._disorder(turns, turn)
        if not turns:
            return self._no_messages("no-messages")
        if not self._names.ranking and len(turns) % 2:
            return Flaw.of("unanswered", tag=turns[-1])
        if self._names.ranking and len(turns) % 2 == 0:
            return Flaw.of("answered")
        return None

    def notes(self, row: Mapping[str, Any]) -> list[Flaw]:
        """What is trained on otherwise than it looks."""
        names, flaws = self._names, []
        messages = row[names.messages or ""]
        if names.system and row.get(names.system) and len(self._after_system(messages)) < len(messages):
            flaws.append(Flaw.of("two-systems", column=names.system))
        if not self._is_openai:
            return flaws
        if messages and messages[-1].get(names.role_tag) == names.observation_tag:
            flaws.append(Flaw.of("result-at-end", tag=names.observation_tag))
        if any(self._calls(message) and message.get(names.content_tag) for message in messages):
            flaws.append(Flaw.of("text-beside-calls"))
        return flaws

    def _no_messages(self, id: str) -> Flaw:
        """A flaw that is mended by writing messages as they should be."""
        names = self._names
        example = f'{{"{names.role_tag}": "{names.user_tag}", "{names.content_tag}": "…"}}'
        return Flaw.of(id, messages=names.messages, example=example)

    def _looked_at(self, messages: Any) -> Sequence[Any]:
        """The messages up to where the converter of `sharegpt` turns away, all of them for `openai`."""
        if self._is_openai or not messages:
            return list(messages)
        start = len(messages) - len(self._after_system(messages))
        for turn, message in enumerate(messages[start:]):
            if isinstance(message, dict) and not self._in_turn(turn, message.get(self._names.role_tag)):
                return list(messages[: start + turn])
        return list(messages)

    def _after_system(self, messages: Sequence[Any]) -> Sequence[Any]:
        names = self._names
        if not messages or not names.system_tag or not isinstance(messages[0], dict):
            return messages
        return messages[1:] if messages[0].get(names.role_tag) == names.system_tag else messages

    def _calls(self, message: Mapping[str, Any]) -> Any:
        names = self._names
        speaks = message.get(names.role_tag) in (names.assistant_tag, names.function_tag)
        return speaks and message.get("tool_calls")

    def _turns(self, messages: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The tag of each message that the converter makes of those after the system message."""
        names = self._names
        after = [message for message in self._after_system(messages) if isinstance(message, dict)]
        if not self._is_openai:
            return [message.get(names.role_tag) for message in after]
        tags = [
            names.function_tag if self._calls(message) else message.get(names.role_tag) for message in after
        ]
        results = names.observation_tag  # those in a row become one, and those at the end none
        return [
            tag for tag, following in pairwise([*tags, results]) if (tag, following) != (results, results)
        ]

    def _in_turn(self, turn: int, tag: Any) -> bool:
        if self._is_openai:
            role = OBSERVATION if tag == self._names.observation_tag else self._roles[tag]
            return role in (ASKING, ANSWERING)[turn % 2]
        return tag in self._tags[turn % 2]

    def _disorder(self, turns: Sequence[Any], turn: int) -> Flaw:
        """What is wrong with the message whose turn it is not."""
        tag = turns[turn]
        if tag not in self._known:
            return replace(self._unknown_role(tag), effect="dropped")
        if tag == self._names.system_tag:
            return Flaw.of("late-system", tag=tag)
        if turn == 0:
            return Flaw.of("no-question", tag=tag, user=self._names.user_tag, system=self._names.system_tag)
        before = turns[turn - 1]
        if tag == before:
            return Flaw.of("role-twice", tag=tag)
        return Flaw.of("role-order", tag=tag, before=before)

    def _unknown_role(self, tag: Any) -> Flaw:
        """For a role that no tag knows, where the converter stops at it."""
        role_tag = self._names.role_tag
        known = ", ".join(f"`{known}`" for known in self._known)
        if tag is None:
            return Flaw.of("no-role", role_tag=role_tag, known=known)
        shown = f"role `{tag}`" if isinstance(tag, str) and len(tag) <= _LONGEST_ROLE else f"a `{role_tag}`"
        return Flaw.of("unknown-role", shown=shown, known=known)

    def _openai_messages(self, row: Mapping[str, Any], messages: Sequence[Any]) -> list[Flaw]:
        names = self._names
        after = self._after_system(messages)
        system: Any = row.get(names.system) if names.system else None
        if len(after) < len(messages):
            system = messages[0].get(names.content_tag)
        if system and not isinstance(system, str) and not _is_list_of_text(system):
            return [Flaw.of("system-not-text")]
        results: list[Any] = []
        for message in after:
            tag, calls = message.get(names.role_tag), self._calls(message)
            if calls and not (isinstance(calls, list) and all(isinstance(call, dict) for call in calls)):
                return [Flaw.of("calls-no-list")]
            tag = names.function_tag if calls else tag
            if tag == names.observation_tag:
                results.append("" if calls else message.get(names.content_tag))
                continue
            if not all(isinstance(result, str) for result in results):
                return [Flaw.of("content-not-text", subject=f"a `{names.observation_tag}` message")]
            results = []
            if isinstance(tag, list | dict) or tag not in self._roles:
                return [self._unknown_role(tag)]
        return []

    def _pair(self, row: Mapping[str, Any]) -> list[Flaw]:
        """What the converter stops at in a pair of answers."""
        names = self._names
        labelled = names.kto_tag and isinstance(row.get(names.kto_tag), bool)
        if not names.ranking or labelled or self.out_of_order(row):
            return []
        chosen = row.get(names.chosen) if names.chosen else None
        if not names.chosen or (not names.rejected and isinstance(chosen, dict)):
            return [no_column("rejected" if names.chosen else "chosen")]
        rejected = row.get(names.rejected) if names.rejected else None
        if isinstance(chosen, dict) and isinstance(rejected, dict):
            for answer in (chosen, rejected):
                tag = answer.get(names.role_tag)
                if isinstance(tag, list | dict) or tag not in self._roles:
                    return [self._unknown_role(tag)]
        return []


def _is_list_of_text(value: Any) -> bool:
    """Which Python lets the converter append text to; it stops later, if the row is used at all."""
    return isinstance(value, list) and all(isinstance(part, str | None) for part in value)
