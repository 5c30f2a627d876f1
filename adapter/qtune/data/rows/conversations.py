"""Rows with a list of messages: what the converters of `sharegpt` and `openai` stop at or leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
            what = "is missing or null" if messages is None else "is not a list"
            return [Flaw("no-messages", "crash", f"`{names.messages}` {what}", self._write_messages())]
        if any(not isinstance(message, dict) for message in self._looked_at(messages)):
            message = f"a message in `{names.messages}` is not an object"
            return [Flaw("message-not-object", "crash", message, self._write_messages())]
        flaws = self._openai_messages(row, messages) if self._is_openai else []
        return flaws or self._pair(row)

    def out_of_order(self, row: Mapping[str, Any]) -> Flaw | None:
        """Why the converter leaves the messages out; None where it does not."""
        turns = self._turns(row[self._names.messages or ""])
        for turn, tag in enumerate(turns):
            if not self._in_turn(turn, tag):
                return self._disorder(turns, turn)
        if not turns:
            return Flaw("no-messages", "dropped", "there are no messages", self._write_messages())
        if not self._names.ranking and len(turns) % 2:
            message = f"the conversation ends with a `{turns[-1]}` message, without an answer"
            return Flaw("unanswered", "dropped", message, "add the answer or take the last message out")
        if self._names.ranking and len(turns) % 2 == 0:
            message = "the messages end with an answer, and with `ranking` they end with the question"
            fix = "take the last message out: the answers stand in `chosen` and `rejected`"
            return Flaw("answered", "dropped", message, fix)
        return None

    def notes(self, row: Mapping[str, Any]) -> list[Flaw]:
        """What is trained on otherwise than it looks."""
        names, flaws = self._names, []
        messages = row[names.messages or ""]
        if names.system and row.get(names.system) and len(self._after_system(messages)) < len(messages):
            message = f"`{names.system}` is left out, because the first message is a system message"
            flaws.append(Flaw("two-systems", "kept", message, "keep one of them"))
        if not self._is_openai:
            return flaws
        if messages and messages[-1].get(names.role_tag) == names.observation_tag:
            message = f"a `{names.observation_tag}` message at the end is left out"
            flaws.append(Flaw("result-at-end", "kept", message, "add the answer that follows it"))
        if any(self._calls(message) and message.get(names.content_tag) for message in messages):
            message = "the text of a message that also has `tool_calls` is left out"
            flaws.append(Flaw("text-beside-calls", "kept", message, "put the text into a message of its own"))
        return flaws

    def _write_messages(self) -> str:
        names = self._names
        example = f'{{"{names.role_tag}": "{names.user_tag}", "{names.content_tag}": "…"}}'
        return f"write `{names.messages}` as a list of {example}"

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
            return self._unknown_role(tag, "dropped")
        if tag == self._names.system_tag:
            message = f"a `{tag}` message stands after the first message"
            return Flaw("system-not-first", "dropped", message, "keep one, as the first message")
        if turn == 0:
            message = f"the conversation begins with a `{tag}` message"
            fix = f"begin with a `{self._names.user_tag}` message, after the `{self._names.system_tag}` one"
            return Flaw("no-question", "dropped", message, fix)
        before = turns[turn - 1]
        fix = "questions and answers take turns: join the two or add what is missing"
        if tag == before:
            return Flaw("role-order", "dropped", f"two `{tag}` messages in a row", fix)
        return Flaw("role-order", "dropped", f"a `{tag}` message follows a `{before}` message", fix)

    def _unknown_role(self, tag: Any, effect: Any) -> Flaw:
        role_tag = self._names.role_tag
        known = ", ".join(f"`{known}`" for known in self._known)
        if tag is None:
            return Flaw("no-role", effect, f"a message has no `{role_tag}`", f"the tags know {known}")
        shown = f"role `{tag}`" if isinstance(tag, str) and len(tag) <= _LONGEST_ROLE else f"a `{role_tag}`"
        fix = "name it in `tags`, or write one of those"
        return Flaw("unknown-role", effect, f"{shown} is unknown; the tags know {known}", fix)

    def _openai_messages(self, row: Mapping[str, Any], messages: Sequence[Any]) -> list[Flaw]:
        names = self._names
        after = self._after_system(messages)
        system: Any = row.get(names.system) if names.system else None
        if len(after) < len(messages):
            system = messages[0].get(names.content_tag)
        if system and not isinstance(system, str) and not _is_list_of_text(system):
            return [Flaw("system-not-text", "crash", "the system prompt is not text", "write it as text")]
        results: list[Any] = []
        for message in after:
            tag, calls = message.get(names.role_tag), self._calls(message)
            if calls and not (isinstance(calls, list) and all(isinstance(call, dict) for call in calls)):
                fix = 'write [{"type": "function", "function": {"name": "…", "arguments": {…}}}]'
                return [Flaw("call-shape", "crash", "`tool_calls` is not a list of objects", fix)]
            tag = names.function_tag if calls else tag
            if tag == names.observation_tag:
                results.append("" if calls else message.get(names.content_tag))
                continue
            if not all(isinstance(result, str) for result in results):
                subject = f"a `{names.observation_tag}` message"
                return [Flaw("content-not-text", "crash", f"{subject} is not text", "write it as text")]
            results = []
            if isinstance(tag, list | dict) or tag not in self._roles:
                return [self._unknown_role(tag, "crash")]
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
                    return [self._unknown_role(tag, "crash")]
        return []


def _is_list_of_text(value: Any) -> bool:
    """Which Python lets the converter append text to; it stops later, if the row is used at all."""
    return isinstance(value, list) and all(isinstance(part, str | None) for part in value)
