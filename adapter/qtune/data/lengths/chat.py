"""Conversations as a chat template writes them: the pieces that LLaMA-Factory tokenizes one by one.

Source: llamafactory/data/template.py, whose templates come from a snapshot, so that no torch is needed.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from qtune.config.names import did_you_mean
from qtune.data.lengths.tool_calls import EXACT_FORMATS, call, describe
from qtune.data.rows.examples import Example, Message
from qtune.errors import QtuneError
from qtune.schema import template_names
from qtune.schema.chat_templates import ChatTemplate, Element, configured


@dataclass(frozen=True, slots=True)
class Turn:
    """A prompt and its answer, in pieces."""

    source: list[Element]
    target: list[Element]


@dataclass(frozen=True)
class Chat:
    """A chat template as one config uses it.

    mask_history: whether only the last answer is trained on; train_on_prompt: whether prompts are, too.
    """

    template: ChatTemplate
    mask_history: bool = False
    train_on_prompt: bool = False

    def turns(self, messages: Sequence[Message], system: str = "", tools: str = "") -> list[Turn]:
        """Every prompt with its answer, as supervised fine-tuning sees them (encode_multiturn).

        Raises ValueError, KeyError or TypeError where the library would crash.
        """
        template = self.template
        if not template.reasons:
            return _paired(self._encoded(messages, system, tools))
        discarding = self.mask_history and not template.preserve_thinking
        if template.enable_thinking is False:
            messages = self._without_thought(messages, range(1, len(messages), 2))
        if discarding:
            messages = self._without_thought(messages, range(1, len(messages) - 2, 2))
        turns = _paired(self._encoded(messages, system, tools))
        for index in range(len(turns) - 1 if discarding else 0, len(turns)):
            self._add_empty_thought(turns[index], messages[2 * index + 1].content)
        return turns

    def turn(self, messages: Sequence[Message], system: str = "", tools: str = "") -> Turn:
        """All but the last message as one prompt, and the answer (encode_oneturn); raises as `turns` does."""
        template = self.template
        if template.reasons and not template.preserve_thinking:
            messages = self._without_thought(messages, range(1, len(messages) - 2, 2))
        if template.reasons and template.enable_thinking is False:
            messages = self._without_thought(messages, (len(messages) - 1,))
        *prompt, answer = self._encoded(messages, system, tools)
        turn = Turn([element for elements in prompt for element in elements], answer)
        if template.reasons:
            self._add_empty_thought(turn, messages[-1].content)
        return turn

    def is_exact(self, example: Example, *, counted: bool = False) -> bool:
        """Whether the pieces are the library's own; else they are of about the same length.

        counted: whether they hold the tokens of the example's media.
        """
        template = self.template
        formats = {template.tool_format} if example.tools else set()
        if any(message.role == "function" for message in (*example.prompt, *example.response)):
            formats.add(template.function_format)
        uncounted = not counted and (example.images or example.videos or example.audios)
        return formats <= set(EXACT_FORMATS) and not uncounted

    def _encoded(self, messages: Sequence[Message], system: str, described: str) -> list[list[Element]]:
        """Each message's pieces (Template._encode, Llama2Template._encode)."""
        template = self.template
        fused = template.kind == "Llama2Template"
        system = system or template.default_system
        encoded: list[list[Element]] = []
        for index, message in enumerate(messages):
            elements: list[Element] = []
            content = message.content
            if index == 0:
                elements += template.format_prefix
                if system or described:
                    text = system + (describe(described, template.tool_format) if described else "")
                    written = _filled(template.format_system, text)
                    if not fused:
                        elements += written
                    elif message.role == "user":
                        content = str(written[0]) + content
            if message.role == "function":
                elements += _filled(template.format_function, call(content, template))
            elif message.role == "user" and not fused:
                elements += _filled(template.format_user, content, str(index // 2))
            else:
                elements += _filled(getattr(template, f"format_{message.role}"), content)
            encoded.append(elements)
        return encoded

    def _without_thought(self, messages: Sequence[Message], those: Container[int]) -> list[Message]:
        opening, closing = map(re.escape, self.template.thought_words)
        thought = re.compile(f"{opening}(.*?){closing}", re.DOTALL)
        return [
            replace(message, content=thought.sub("", message.content).lstrip("\n"))
            if index in those
            else message
            for index, message in enumerate(messages)
        ]

    def _add_empty_thought(self, turn: Turn, answer: str) -> None:
        """To an answer without a thought: an empty one, trained on only where thinking is enabled."""
        opening, closing = self.template.thought_words
        if opening.strip() in answer or closing.strip() in answer:
            return
        empty = closing if self.template.kind == "Glm47ReasoningTemplate" else opening + closing
        if self.template.enable_thinking:
            turn.target.insert(0, empty)
        else:
            turn.source.append(empty)


def chat_for(train: Mapping[str, Any]) -> Chat:
    """The template that a config trains with (get_template_and_fix_tokenizer).

    train: LLaMA-Factory arguments. Raises QtuneError where no template is set: the library then reads it
    out of the model's own Jinja template, which cannot be told without it.
    """
    name = train.get("template")
    if name is None and train.get("stage") == "pt":
        name = "empty"  # pre-training knows no roles
    if name is None or name == "auto":
        raise QtuneError(
            "no chat template is set, and the model's name does not tell which",
            where="template",
            fix="name the model's own, e.g. -s template=qwen",
        )
    template = configured({**train, "template": name})
    if template is None:
        fix = did_you_mean(name, template_names()) or "LLaMA-Factory's README lists them by model"
        raise QtuneError(f"LLaMA-Factory has no template `{name}`", where="template", fix=fix)
    return Chat(template, bool(train.get("mask_history")), bool(train.get("train_on_prompt")))


def as_text(example: Example, chat: Chat, bos: str, eos: str) -> list[tuple[str, bool]]:
    """What the model sees of one row in supervised fine-tuning: (text, whether it is trained on) in order.

    bos, eos: the tokenizer's own, empty where it has none. Raises as `Chat.turns` does.
    Source: llamafactory/data/processor/supervised.py; nothing is cut off.
    """
    turns = chat.turns([*example.prompt, *example.response], example.system, example.tools)
    own = {"bos_token": bos, "eos_token": eos}
    shown: list[tuple[str, bool]] = []
    for index, turn in enumerate(turns, 1):
        trained = not chat.mask_history or index == len(turns)
        for elements, counts in ((turn.source, chat.train_on_prompt), (turn.target, trained)):
            parts = (e if isinstance(e, str) else own.get(e.kind, e.text) for e in elements)
            shown.append(("".join(parts), counts))
    if chat.template.efficient_eos:
        shown.append((eos, True))
    return [(text, counts) for text, counts in shown if text]


def _filled(slots: tuple[Element, ...], content: str, index: str | None = None) -> list[Element]:
    """A formatter's slots with the message in its place (formatter.py, StringFormatter)."""
    if not isinstance(content, str):
        raise TypeError(f"a message's text is {type(content).__name__}")
    filled: list[Element] = []
    for slot in slots:
        if isinstance(slot, str):
            slot = slot.replace("{{content}}", content, 1)
            if index is not None:
                slot = slot.replace("{{idx}}", index, 1)
        filled.append(slot)
    return filled


def _paired(encoded: Sequence[list[Element]]) -> list[Turn]:
    return [Turn(source, target) for source, target in zip(encoded[::2], encoded[1::2], strict=True)]
