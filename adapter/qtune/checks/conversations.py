"""Sample conversations, as a training writes them and as a model's own chat template does.

Source: transformers 5.5, utils/chat_template_utils.py, _compile_jinja_template.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, cached_property
from itertools import takewhile
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser

from qtune.checks.own_template import OwnTemplate
from qtune.data.lengths.chat import Chat, as_text
from qtune.data.lengths.tool_calls import EXACT_FORMATS
from qtune.data.rows.examples import ASSISTANT, SYSTEM, USER, Example, Message
from qtune.sandbox import Sandbox, TooMuch, bounded, fill

_QUESTION, _ANSWER = "How are you today?", "I am quite well."
_PROMPT = "You answer in one short line."
_TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look a word up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}
_BEFORE, _SHOWN = 20, 60
"""Characters of a text that are shown before the first difference, and in all."""
_LONGEST = 200
"""Characters of a system prompt or an error that a finding names."""


def first_difference(own: OwnTemplate, chat: Chat, said_system: str | None, tools: bool) -> str | None:
    """Where the two part first, in words, None where they are one.

    chat: the training's; said_system: the config's own `default_system`, with which the model will be asked;
    tools: whether to compare them, too. Raises ValueError where the model's own template fails for the
    plainest question, or goes beyond bounds.
    """
    found = _compared(own, replace(chat, mask_history=True, train_on_prompt=False), said_system, tools)
    if isinstance(found, ValueError):
        raise found
    return found


def served_system(own: OwnTemplate, chat: Chat) -> list[str]:
    """The system prompts that the model's own template may add where none is given, the likeliest first."""
    if "strftime_now" in own.text:
        return []  # another one each day
    with _as_error():
        pair = _Pair(own, replace(chat, mask_history=True), None)
        asked, _ = pair.served(_PLAIN)
        marked, _ = pair.trained(_WITH_SYSTEM)
    before, _, after = marked.partition(_PROMPT)
    added = asked.removeprefix(before).removesuffix(after)
    return [added, ""] if before + added + after == asked and len(added) < _LONGEST else [""]


@cache  # for a check of many presets
def _compared(own: OwnTemplate, chat: Chat, said_system: str | None, tools: bool) -> str | ValueError | None:
    kinds = [_PLAIN, _WITH_SYSTEM, _SECOND_TURN]
    if chat.template.reasons and chat.template.enable_thinking:
        kinds.append(_WITH_THOUGHT)
    if tools and chat.template.tool_format in EXACT_FORMATS:
        kinds += [_WITH_TOOLS, _TOOLS_ALONE]
    try:
        with _as_error():
            pair = _Pair(own, chat, said_system)
            return next(filter(None, map(pair.difference, kinds)), None)
    except ValueError as error:
        return error


@contextmanager
def _as_error() -> Iterator[None]:
    try:
        with bounded():
            yield
    except TooMuch as error:
        raise ValueError(str(error)) from None


@dataclass(frozen=True)
class _Conversation:
    """One to compare by. name: in words; turns: questions with their answers."""

    name: str
    turns: int = 1
    system: str = ""
    has_tools: bool = False
    has_thought: bool = False


_PLAIN = _Conversation("without a system prompt")
_WITH_SYSTEM = _Conversation("with a system prompt", system=_PROMPT)
_SECOND_TURN = _Conversation("from the second question on", turns=2)
_WITH_THOUGHT = _Conversation("before a thought", has_thought=True)
_WITH_TOOLS = _Conversation("with tools", system=_PROMPT, has_tools=True)
_TOOLS_ALONE = _Conversation("with tools and no system prompt", has_tools=True)


@dataclass(frozen=True)
class _Pair:
    """A model's own chat template and the training's."""

    own: OwnTemplate
    chat: Chat
    said_system: str | None

    def difference(self, conversation: _Conversation) -> str | None:
        """Where the two write it otherwise, in words."""
        try:
            asked, ending = self.served(conversation)
        except ValueError:
            if conversation == _PLAIN:
                raise
            return None  # such as a system prompt for a model that takes none
        prompt, answer = self.trained(conversation)
        whole = prompt + answer
        if not whole.startswith(asked) or len(asked) < len(prompt):
            return _part(conversation.name, whole, asked)
        end = answer.rpartition(_ANSWER)[2]
        return None if _alike(end.strip(), ending.strip()) else _part("after an answer", end, ending)

    def trained(self, conversation: _Conversation) -> tuple[str, str]:
        """The text before the last answer, and that answer with its end.

        Earlier answers stand without thoughts, as models' own templates leave them: chat has to mask history.
        """
        turn = Message(USER, _QUESTION), Message(ASSISTANT, _ANSWER)
        messages = [*turn * conversation.turns]
        if conversation.has_thought:
            messages[-1] = Message(ASSISTANT, self._thoughtful())
        tools = json.dumps([_TOOL]) if conversation.has_tools else ""
        example = Example(messages[:-1], messages[-1:], conversation.system, tools)
        shown = as_text(example, self.chat, self._tokens.get("bos_token", ""), self._tokens["eos_token"])
        prompt, answer = ("".join(text for text, counts in shown if counts is last) for last in (False, True))
        return prompt, answer

    def served(self, conversation: _Conversation) -> tuple[str, str]:
        """The text before the last answer, and what follows that answer; raises ValueError for none."""
        why = ValueError("leaves out what is asked")
        for is_text in (True, False):  # templates of models that see may want the parts of a message
            messages = [*self._messages(conversation, is_text)]
            try:
                asked = self._written(messages[:-1], conversation, add_generation_prompt=True)
                if _QUESTION in asked:
                    whole = self._written(messages, conversation, add_generation_prompt=False)
                    return asked, whole.rpartition(_ANSWER)[2] if _ANSWER in whole else ""
            except ValueError as error:
                why = error
        raise why

    def _messages(self, conversation: _Conversation, is_text: bool) -> Iterator[dict[str, Any]]:
        system = conversation.system or self.said_system
        answer = self._thoughtful() if conversation.has_thought else _ANSWER
        said = [(SYSTEM, system)] if system else []
        for role, text in [*said, *[(USER, _QUESTION), (ASSISTANT, answer)] * conversation.turns]:
            yield {"role": role, "content": text if is_text else [{"type": "text", "text": text}]}

    def _written(self, messages: list[dict[str, Any]], conversation: _Conversation, **more: Any) -> str:
        template = self.chat.template
        if template.reasons:
            more["enable_thinking"] = bool(template.enable_thinking)
        tools = [_TOOL] if conversation.has_tools else None
        values = {"messages": messages, "tools": tools, "documents": None, **self._tokens, **more}
        try:
            return fill(_compiled(self.own.with_tools if tools else self.own.text), values)
        except MemoryError:
            raise
        except Exception as error:  # a template may call anything with any value
            raise ValueError(f"fails: {' '.join(str(error).split())[:_LONGEST]}") from None

    @cached_property
    def _tokens(self) -> dict[str, str]:
        """The special tokens as the training leaves them."""
        own = dict(self.own.tokens)
        return {**own, "eos_token": self.chat.template.end_token(own.get("eos_token", ""))}

    def _thoughtful(self) -> str:
        opening, closing = self.chat.template.thought_words
        return f"{opening}They ask how I am.{closing}{_ANSWER}"


def _alike(trained: str, served: str) -> bool:
    """Whether an answer ends the same way; a template that writes no end leaves it to the tokenizer."""
    return not served or (bool(trained) and (trained.startswith(served) or served.startswith(trained)))


def _part(name: str, trained: str, served: str) -> str:
    same = takewhile(lambda pair: pair[0] == pair[1], zip(trained, served, strict=False))
    place = len([*same])
    return f"{name} training has {_shown(trained, place)}, serving {_shown(served, place)}"


def _shown(text: str, place: int) -> str:
    if not text:
        return "nothing"
    start = max(place - _BEFORE, 0)
    shown = json.dumps(text[start : start + _SHOWN], ensure_ascii=False)[1:-1]
    return f"`{'…' if start else ''}{shown}{'…' if start + _SHOWN < len(text) else ''}`"


class _Generation(Extension):
    """The tag around what a model says; it adds nothing to the text."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@cache
def _compiled(text: str) -> jinja2.Template:
    environment = Sandbox(extensions=[_Generation, loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _refuse, "strftime_now": datetime.now().strftime}
    return environment.from_string(text)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **more: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **more)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
