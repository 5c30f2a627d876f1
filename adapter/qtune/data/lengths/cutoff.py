"""Rows whose answer cutoff_len cuts short, or whose pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from qtune.data.flaws import Flaw
from qtune.data.lengths.chat import Chat, chat_for
from qtune.data.lengths.processors import cutoff_of, packs, processor_for, readable
from qtune.data.lengths.tokens import Tokenizer, load_tokenizer
from qtune.data.lengths.vision import media_tokens
from qtune.data.registrations import Registration
from qtune.data.rows.examples import converter
from qtune.schema.chat_templates import Element, tool_prompts

KIND = "cutoff"


def cut_answers(
    train: Mapping[str, Any], registration: Registration, root: Path
) -> Callable[[Sequence[Any], Sequence[int]], Iterable[tuple[int, Flaw]]]:
    """A check of rows: (rows, their lines) to the (line, flaw) of each that loses tokens to train on.

    train: LLaMA-Factory arguments; root: of the project. Raises QtuneError where the config sets no chat
    template, and as `load_tokenizer` and `media_tokens` do.
    """
    chat = chat_for(train)
    tokenizer = load_tokenizer(train, chat.template, root)
    media = media_tokens(train, chat.template, tokenizer, registration, root)
    processor = processor_for(train, chat, tokenizer, media)
    cutoff_len = cutoff_of(train)
    convert = converter(registration)
    may_be_long = _may_exceed(cutoff_len, chat, tokenizer, bool(registration.columns().get("tools")))
    if media is not None:
        may_be_long = bool  # any row: its JSON does not hold its pictures
    certain, probable, stops = (
        Flaw.of(id, cutoff_len=cutoff_len, name=registration.name)
        for id in (KIND, "cutoff-probable", "cutoff-media")
    )

    def check(rows: Sequence[Any], lines: Sequence[int]) -> Iterator[tuple[int, Flaw]]:
        examples = [readable(row, convert) if may_be_long(row) else None for row in rows]
        for index, lengths in enumerate(processor.measure(examples)):
            if lengths is None:
                if media is not None:  # a good row but for what the files hold
                    yield lines[index], Flaw.of("media-stops")
                continue
            fitted = processor.fit(lengths.pairs, cutoff_len)
            if fitted.kept != lengths.pairs and processor.loses_media(index, examples, fitted):
                yield lines[index], stops
            elif fitted.lost:
                yield lines[index], certain if lengths.exact else probable

    if train.get("stage") == "pt" and packs(train):  # texts follow one another: nothing is cut off
        return lambda rows, lines: ()
    return check


def _may_exceed(cutoff_len: int, chat: Chat, tokenizer: Tokenizer, with_tools: bool) -> Callable[[Any], bool]:
    """Whether a row could have more tokens, told without counting them, which is some ten times as slow.

    A token is at least a byte, and a row's JSON holds all its texts. A template adds its slots to each of
    them, and once its prefix, its system prompt, and its tool prompt where the data has tools.
    """
    template = chat.template
    answers = (template.format_assistant, template.format_function, template.thought_words)
    questions = (template.format_user, template.format_observation)
    around = max(_tokens(slots, tokenizer) for slots in (*answers, *questions))
    prompt = tool_prompts().get(template.tool_format, "") if with_tools else ""
    first = (*template.format_prefix, *template.format_system, template.default_system, prompt)
    once = _tokens(first, tokenizer)

    def may_exceed(row: Any) -> bool:
        try:
            text = orjson.dumps(row)
        except TypeError:  # a type of Arrow that JSON lacks
            return True
        return len(text) + once + around * (text.count(b'"') // 2) > cutoff_len

    return may_exceed


def _tokens(elements: Iterable[Element], tokenizer: Tokenizer) -> int:
    given = list(elements)
    texts = [element for element in given if isinstance(element, str)]
    return sum(tokenizer.lengths(texts)) + len(given) - len(texts)
