"""What each chat template of the supported LLaMA-Factory puts around a conversation.

Read from a snapshot of its own, because only what looks into the data needs it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from qtune.schema import argument, snapshot, template_names


@dataclass(frozen=True, slots=True)
class Special:
    """A token that goes in by its id: one by its text, or the tokenizer's own `bos_token` or `eos_token`."""

    kind: Literal["token", "bos_token", "eos_token"]
    text: str = ""


BOS = Special("bos_token")
EOS = Special("eos_token")

Element = str | Special
"""Text, which is tokenized apart from its neighbours, or one token."""

THOUGHT_WORDS = ("<think>\n", "\n</think>\n\n")
"""What a template that names no others puts around thoughts (register_template)."""

# `<|im_end|>`, `<｜User｜>`, `<|turn>`, `[|user|]`, `<end_of_turn>`, `<_user>`, `[/INST]`, `[gMASK]`; no tag
# that texts have of their own, such as `<tool_response>` and `</answer>`
_CONTROL_WORD = re.compile(
    r"<[|｜][^<>\s]+>|<[^<>|｜\s]+[|｜]>|\[\|\w+\|\]|<\w+_of_\w+>|<_\w+>|\[/?(?:[A-Z]{4,}[A-Z_]*|gMASK)\]"
)


@dataclass(frozen=True)
class MediaPlugin:
    """What puts a model's own tokens where images, videos or audios stand (data/mm_plugin.py).

    plugin: its class; the others are those tokens, as far as the model has them.
    """

    plugin: str
    image_token: str | None
    video_token: str | None
    audio_token: str | None
    vision_bos_token: str = ""
    vision_eos_token: str = ""
    audio_bos_token: str = ""
    audio_eos_token: str = ""

    def token(self, kind: str) -> str:
        """kind: image, video or audio."""
        return str(getattr(self, f"{kind}_token"))


@dataclass(frozen=True)
class ChatTemplate:
    """One of llamafactory/data/template.py's TEMPLATES; the names are those of its class Template.

    format_…: the slots of that formatter, where `{{content}}` stands for the message.
    function_format, tool_format: how calls and descriptions of tools are written (data/tool_utils.py).
    replace_jinja_template: whether the library writes it over the model's own, for servers to use.
    media: what becomes of images, videos and audios; None where the model takes text alone.
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
    replace_jinja_template: bool
    enable_thinking: bool | None
    preserve_thinking: bool
    media: MediaPlugin | None

    @property
    def reasons(self) -> bool:
        """Whether it adds thoughts to answers and removes them."""
        return self.kind in ("ReasoningTemplate", "Glm47ReasoningTemplate")

    def end_token(self, own: str) -> str:
        """The tokenizer's once the library has prepared it (fix_special_tokens); own: "" for none."""
        return self.stop_words[0] if self.replace_eos else own or "<|endoftext|>"

    @property
    def control_words(self) -> tuple[str, ...]:
        """What it writes around messages, and no message holds by itself, sorted."""
        written = [*self.stop_words]
        for field in _FORMATS:
            for element in getattr(self, field):
                written.append(element if isinstance(element, str) else element.text)
        return tuple(sorted({word for text in written for word in _CONTROL_WORD.findall(text)}))


_FORMATS = tuple(name for name in ChatTemplate.__dataclass_fields__ if name.startswith("format_"))


@cache
def chat_template(name: str) -> ChatTemplate:
    """The template of that name; KeyError where LLaMA-Factory has none."""
    fields: dict[str, Any] = {
        field: tuple(value) if isinstance(value, list) else value
        for field, value in snapshot("chat")["templates"][name].items()
    }
    fields |= {field: _elements(fields[field]) for field in fields if field.startswith("format_")}
    media = fields.pop("media")
    return ChatTemplate(kind=fields.pop("class"), media=media and MediaPlugin(**media), **fields)


def configured(train: Mapping[str, Any]) -> ChatTemplate | None:
    """The template that LLaMA-Factory arguments name, as they set it; None where they name none that it has.

    Source: get_template_and_fix_tokenizer.
    """
    name = train.get("template")
    if name not in template_names():
        return None
    template = chat_template(name)
    if (tool_format := train.get("tool_format")) is not None:
        answer = ("{{content}}",) if template.efficient_eos else ("{{content}}", EOS)
        template = replace(
            template, format_function=answer, function_format=tool_format, tool_format=tool_format
        )
    if (default_system := train.get("default_system")) is not None:
        template = replace(template, default_system=default_system)
    if template.reasons:
        thinking = {name: argument(train, name) for name in ("enable_thinking", "preserve_thinking")}
        template = replace(template, **thinking)
    return template


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
