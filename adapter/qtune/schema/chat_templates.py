"""What each chat template of the supported LLaMA-Factory puts around a conversation.

Read from a snapshot of its own, because only what looks into the data needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from qtune.schema import snapshot


@dataclass(frozen=True, slots=True)
class Special:
    """A token that goes in by its id: one by its text, or the tokenizer's own `bos_token` or `eos_token`."""

    kind: Literal["token", "bos_token", "eos_token"]
    text: str = ""


BOS = Special("bos_token")
EOS = Special("eos_token")

Element = str | Special
"""Text, which is tokenized apart from its neighbours, or one token."""


@dataclass(frozen=True)
class ChatTemplate:
    """One of llamafactory/data/template.py's TEMPLATES; the names are those of its class Template.

    format_…: the slots of that formatter, where `{{content}}` stands for the message.
    function_format, tool_format: how calls and descriptions of tools are written (data/tool_utils.py).
    media: the class (`plugin`) of what puts a model's own tokens where images, videos or audios stand, and
    those tokens (data/mm_plugin.py); None where the model takes text alone.
    """

    kind: Literal["Template", "Llama2Template", "ReasoningTemplate", "Glm47ReasoningTemplate"]
    format_prefix: tuple[Element, ...]
    format_system: tuple[Element, ...]
    format_user: tuple[Element, ...]
    format_assistant: tuple[Element, ...]
    format_observation: tuple[Element, ...]
    format_function: tuple[Element, ...]
    function_format: str
    tool_format: str
    default_system: str
    stop_words: tuple[str, ...]
    thought_words: tuple[str, str]
    tool_call_words: tuple[str, str]
    efficient_eos: bool
    replace_eos: bool
    enable_thinking: bool | None
    preserve_thinking: bool
    media: Mapping[str, str | None] | None

    @property
    def reasons(self) -> bool:
        """Whether it adds thoughts to answers and removes them."""
        return self.kind in ("ReasoningTemplate", "Glm47ReasoningTemplate")


@cache
def chat_template(name: str) -> ChatTemplate:
    """The template of that name; KeyError where LLaMA-Factory has none."""
    fields: dict[str, Any] = {
        field: tuple(value) if isinstance(value, list) else value
        for field, value in snapshot("chat")["templates"][name].items()
    }
    fields |= {field: _elements(fields[field]) for field in fields if field.startswith("format_")}
    return ChatTemplate(kind=fields.pop("class"), **fields)


def tool_prompts() -> dict[str, str]:
    """The text around the descriptions of tools, with `{tool_text}` for them, by tool format."""
    prompts: dict[str, str] = snapshot("chat")["tool_prompts"]
    return prompts


def _elements(slots: tuple[Any, ...]) -> tuple[Element, ...]:
    return tuple(element for slot in slots if (element := _element(slot)) is not None)


def _element(slot: Any) -> Element | None:
    if isinstance(slot, str):
        return slot
    if "token" in slot:
        return Special("token", slot["token"])
    # a set that names no token of the tokenizer adds nothing (Template._convert_elements_to_ids)
    return {"bos_token": BOS, "eos_token": EOS}.get(slot["special"])
