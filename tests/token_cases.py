"""Conversations and settings on which token counts are compared with LLaMA-Factory's own."""

from __future__ import annotations

import json
from typing import Any

Message = dict[str, str]

_LONG = "A longer answer walks through each step, checks it, and only then says what follows. " * 12
_TOOLS = json.dumps(
    [
        {
            "name": "weather",
            "description": "今天的天气 of a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "its name"}},
                "required": ["city"],
            },
        }
    ],
    ensure_ascii=False,
)
_CALL = json.dumps({"name": "weather", "arguments": {"city": "上海", "days": 2}}, ensure_ascii=False)
_THOUGHT = "<think>\nThe user greets me.\n</think>\n\nHello!"


def said(*texts: str) -> list[Message]:
    """Messages that take turns, the user first."""
    return [{"role": ("user", "assistant")[turn % 2], "content": text} for turn, text in enumerate(texts)]


def _sample(messages: list[Message], system: str = "", tools: str = "") -> dict[str, Any]:
    return {"prompt": messages[:-1], "response": messages[-1:], "system": system, "tools": tools}


CONVERSATIONS: dict[str, dict[str, Any]] = {
    "one turn": _sample(said("What is 17 + 26?", "43.")),
    "Chinese with a system prompt": _sample(said("中国最长的河流是哪一条？", "长江。"), "你是一个助手。"),
    "three turns": _sample(said("Hi", "Hello!", "And now?", "Now we wait.", "好的", "再见。"), "Be brief."),
    "a thought in every turn": _sample(said("Hi", _THOUGHT, "again", _THOUGHT)),
    "a thought in the first turn": _sample(said("Hi", _THOUGHT, "again", "Hello again")),
    "a thought in the last turn": _sample(said("Hi", "Hello", "again", _THOUGHT)),
    "a thought on one line": _sample(said("Hi", "<think>short</think>Hello", "2", "<think></think>two")),
    "an empty answer": _sample(said("Say nothing.", "")),
    "an empty question": _sample(said("", "There was no question.")),
    "a template's own words": _sample(
        said("a <|im_end|>\n{{content}} {{idx}} b", "</s> <|user|> {{content}}")
    ),
    "blanks": _sample(said("  two  blanks \n\n", "\n indented\n\ttab ", "\n", " "), " \n"),
    "a long answer": _sample(said("Explain.", _LONG)),
    "a long question": _sample(said(_LONG, "Yes.")),
    "both long, twice": _sample(said(_LONG, _LONG, f"又问：{_LONG}", _LONG), _LONG),
    "emoji and formulas": _sample(said("🙂👩‍👩‍👧 ∑x²≤∞?", "Ⅳ ½ ﬁ Å Å 한국어")),
}

WITH_TOOLS: dict[str, dict[str, Any]] = {
    "tools that are not called": _sample(said("Hi", "Hello"), "Be brief.", _TOOLS),
    "a call and its result": _sample(
        [
            {"role": "user", "content": "上海天气？"},
            {"role": "function", "content": _CALL},
            {"role": "observation", "content": '{"sky": "晴"}'},
            {"role": "assistant", "content": "晴天。"},
        ],
        "",
        _TOOLS,
    ),
    "two calls after a thought": _sample(
        [
            {"role": "user", "content": "上海天气？"},
            {"role": "function", "content": f"<think>\nI look.\n</think>\n\n[{_CALL}, {_CALL}]"},
        ],
        "",
        _TOOLS,
    ),
}

LEFT_OUT = {"prompt": [], "response": [], "system": "", "tools": ""}

_SFT: list[dict[str, Any]] = [
    {"cutoff_len": 100_000},
    {"cutoff_len": 64},
    {"cutoff_len": 17},
    {"cutoff_len": 2},
    {"cutoff_len": 400, "mask_history": True},
    {"cutoff_len": 33, "mask_history": True},
    {"cutoff_len": 400, "train_on_prompt": True},
    {"cutoff_len": 400, "enable_thinking": False},
    {"cutoff_len": 400, "enable_thinking": None},
    {"cutoff_len": 400, "mask_history": True, "preserve_thinking": True},
    {"cutoff_len": 400, "default_system": "You are somebody else."},
]
_ONE_TURN: list[dict[str, Any]] = [
    {"cutoff_len": 100_000},
    {"cutoff_len": 40},
    {"cutoff_len": 400, "enable_thinking": False},
    {"cutoff_len": 400, "preserve_thinking": True, "enable_thinking": None},
]
SETTINGS: list[dict[str, Any]] = [
    *({"stage": "sft", **setting} for setting in _SFT),
    *({"stage": stage, **setting} for stage in ("dpo", "kto", "ppo") for setting in _ONE_TURN),
    {"stage": "pt", "cutoff_len": 100_000, "packing": False},
    {"stage": "pt", "cutoff_len": 20, "packing": False},
]
PACKED: list[dict[str, Any]] = [
    {"stage": "sft", "cutoff_len": 512, "packing": True},
    {"stage": "sft", "cutoff_len": 96, "neat_packing": True},
    {"stage": "pt", "cutoff_len": 64},
    {"stage": "pt", "cutoff_len": 64, "packing": True},
]


def samples_for(stage: str) -> list[dict[str, Any]]:
    """Every conversation as a row of that stage, the first of them one that the library leaves out."""
    given = list(CONVERSATIONS.values())
    if stage == "sft":
        return [LEFT_OUT, *given, *WITH_TOOLS.values()]
    if stage == "ppo":
        return given
    if stage == "pt":
        return [{**sample, "prompt": sample["prompt"][:1], "response": []} for sample in given]
    other = [{"role": "assistant", "content": f"<think>\nNo.\n</think>\n\n{index}"} for index in range(99)]
    if stage == "dpo":
        return [
            {**sample, "response": [*sample["response"], other[index]]} for index, sample in enumerate(given)
        ]
    empty = {"role": "assistant", "content": ""}
    return [
        {**sample, "response": [*sample["response"], empty] if index % 2 else [empty, *sample["response"]]}
        for index, sample in enumerate(given)
    ]
