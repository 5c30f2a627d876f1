"""Rows, good and bad, with what LLaMA-Factory does with them: for the row checks and for the library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qtune.data.registrations import Registration
from qtune.files import Document

_ALPACA = {"prompt": "instruction", "query": "input", "response": "output"}
_PAIR = {"chosen": "chosen", "rejected": "rejected"}
_OPENAI_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function",
    "system_tag": "system",
}


def _alpaca(ranking: bool = False, **columns: str) -> dict[str, Any]:
    return {"columns": {**_ALPACA, **columns}, "ranking": ranking}


def _chats(formatting: str = "sharegpt", ranking: bool = False, **columns: str) -> dict[str, Any]:
    tags = {"tags": _OPENAI_TAGS} if formatting == "openai" else {}
    messages = "messages" if formatting == "openai" else "conversations"
    return {
        "formatting": formatting,
        "ranking": ranking,
        "columns": {"messages": messages, **columns},
        **tags,
    }


ENTRIES: Mapping[str, Mapping[str, Any]] = {
    "alpaca": _alpaca(),
    "alpaca_full": _alpaca(history="history", system="system", tools="tools"),
    "alpaca_pair": {"columns": {"prompt": "instruction", "query": "input", **_PAIR}, "ranking": True},
    "alpaca_half_pair": {"columns": {"prompt": "instruction", "chosen": "chosen"}, "ranking": True},
    "alpaca_kto": _alpaca(kto_tag="label"),
    "alpaca_images": _alpaca(images="images"),
    "alpaca_images_kto": _alpaca(images="images", kto_tag="label"),
    "alpaca_videos": _alpaca(videos="videos"),
    "text": {"columns": {"prompt": "text"}},
    "sharegpt": _chats(),
    "sharegpt_full": _chats(system="system", tools="tools"),
    "sharegpt_pair": _chats(ranking=True, **_PAIR),
    "sharegpt_kto": _chats(kto_tag="label"),
    "sharegpt_images": _chats(images="images"),
    "openai": _chats("openai"),
    "openai_full": _chats("openai", system="system", tools="tools"),
    "openai_pair": _chats("openai", ranking=True, **_PAIR),
    "openai_kto": _chats("openai", kto_tag="label"),
    # registrations that hardly suit anything
    "bare": {},
    "bare_chats": {"formatting": "sharegpt"},
    "label_alone": {"columns": {"prompt": "instruction", "kto_tag": "label"}},
    "pair_with_label": {**_chats(ranking=True, kto_tag="label", **_PAIR)},
    "alpaca_pair_with_label": _alpaca(ranking=True, kto_tag="label", **_PAIR),
    "chosen_alone": _chats(ranking=True, chosen="chosen"),
    "few_tags": {**_chats(), "tags": {"system_tag": None, "function_tag": None}},
    "few_openai_tags": {
        **_chats("openai"),
        "tags": {**_OPENAI_TAGS, "observation_tag": None, "function_tag": None},
    },
    "one_asking_tag": {**_chats(), "tags": {"observation_tag": "human"}},
    "one_openai_asking_tag": {**_chats("openai"), "tags": {**_OPENAI_TAGS, "observation_tag": "user"}},
    "one_tag": {**_chats("openai"), "tags": {**_OPENAI_TAGS, "assistant_tag": "user"}},
}


def registration(name: str) -> Registration:
    """A registration that names all its columns, of a file that is never read."""
    entry = {"file_name": f"{name}.parquet", **ENTRIES[name]}
    return Registration(name, entry, Document({}, {}, Path("nowhere/datasets.yaml"), "datasets.yaml", ""))


class Case(NamedTuple):
    registration: str
    stage: str
    row: Any
    flaws: Mapping[str, str]
    """Effect by kind; nothing for a good row."""


Q, A = "What is 2 + 2?", "4."


def _row(**columns: Any) -> dict[str, Any]:
    return {"instruction": Q, "input": "", "output": A, **columns}


def _pair(**columns: Any) -> dict[str, Any]:
    return {"instruction": Q, "input": "", "chosen": A, "rejected": "5.", **columns}


def _said(*messages: str, **columns: Any) -> dict[str, Any]:
    """`human:text`, and so on, in sharegpt's words."""
    turns = [message.split(":", 1) for message in messages]
    return {"conversations": [{"from": role, "value": text} for role, text in turns], **columns}


def _chat(*messages: str | dict[str, Any], **columns: Any) -> dict[str, Any]:
    """`user:text`, and so on, in OpenAI's words."""
    turns = [
        dict(zip(("role", "content"), message.split(":", 1), strict=True))
        if isinstance(message, str)
        else message
        for message in messages
    ]
    return {"messages": turns, **columns}


def _answer(text: Any = A, role: Any = "gpt") -> dict[str, Any]:
    return {"from": role, "value": text}


def _calling(arguments: Any = None, **message: Any) -> dict[str, Any]:
    call = {"name": "add", "arguments": arguments or {"a": 2}}
    return {"role": "assistant", "tool_calls": [{"type": "function", "function": call}], **message}


CALL = json.dumps({"name": "add", "arguments": {"a": 2, "b": 2}})
TOOLS = json.dumps(
    [{"name": "add", "description": "adds", "parameters": {"type": "object", "properties": {}}}]
)
GOOD: Mapping[str, str] = {}
PICTURE, CUT, ABSENT = "red.png", "cut.png", "absent.png"
"""In the media directory, half of one there, and not there."""


def _cases() -> list[Case]:
    rows: list[tuple[str, str, Any, Mapping[str, str]]] = [
        # one column for each part
        ("alpaca", "sft", _row(), GOOD),
        ("alpaca", "sft", _row(input="more"), GOOD),
        ("alpaca", "sft", {"instruction": Q, "output": A, "id": 7}, GOOD),
        ("alpaca", "sft", _row(instruction="", input=Q), GOOD),
        ("alpaca", "sft", _row(instruction=None, input=Q), GOOD),
        ("alpaca", "sft", _row(instruction=""), {"empty-prompt": "kept"}),
        ("alpaca", "sft", {"output": A}, {"empty-prompt": "kept"}),
        ("alpaca", "sft", _row(instruction=" \n"), {"blank-prompt": "kept"}),
        ("alpaca", "sft", _row(instruction=5), {"prompt-not-text": "crash"}),
        ("alpaca", "sft", _row(instruction=0), {"empty-prompt": "kept"}),
        ("alpaca", "sft", _row(instruction=["a"]), {"prompt-not-text": "crash"}),
        ("alpaca", "sft", _row(input={"a": 1}), {"prompt-not-text": "crash"}),
        ("alpaca", "sft", _row(output=""), {"empty-answer": "kept"}),
        ("alpaca", "sft", _row(output="\t \n"), {"blank-answer": "kept"}),
        ("alpaca", "sft", _row(output=None), {"missing-answer": "dropped"}),
        ("alpaca", "sft", {"instruction": Q, "input": ""}, {"missing-answer": "dropped"}),
        ("alpaca", "sft", _row(output=4), {"answer-not-text": "dropped"}),
        ("alpaca", "sft", _row(output=["4."]), {"answer-not-text": "dropped"}),
        ("alpaca", "sft", _row(instruction="", output=""), {"empty-prompt": "kept", "empty-answer": "kept"}),
        ("alpaca", "sft", ["not", "an", "object"], {"not-an-object": "refused"}),
        ("alpaca", "sft", "text", {"not-an-object": "refused"}),
        ("alpaca_pair", "sft", _pair(), {"wrong-stage": "dropped"}),
        ("alpaca_kto", "sft", _row(label=True), {"wrong-stage": "dropped"}),
        ("alpaca_kto", "sft", _row(label=None), GOOD),
        # history, system, tools
        ("alpaca_full", "sft", _row(history=[], system="", tools=""), GOOD),
        ("alpaca_full", "sft", _row(history=None, system=None, tools=None), GOOD),
        ("alpaca_full", "sft", _row(history=[["q", "a"], ["r", "b"]], system="Be brief.", tools=TOOLS), GOOD),
        ("alpaca_full", "sft", _row(history=[["q"]]), {"history-shape": "crash"}),
        ("alpaca_full", "sft", _row(history=[["q", "a"], None]), {"history-shape": "crash"}),
        ("alpaca_full", "sft", _row(history=[["q", "a", "r"]]), {"history-shape": "crash"}),
        ("alpaca_full", "sft", _row(history=["a longer text"]), {"history-shape": "crash"}),
        ("alpaca_full", "sft", _row(history=["qa"]), {"history-misread": "kept"}),
        ("alpaca_full", "sft", _row(history=[{"question": "q", "answer": "a"}]), {"history-misread": "kept"}),
        ("alpaca_full", "sft", _row(history=[{"question": "q"}]), {"history-shape": "crash"}),
        ("alpaca_full", "sft", _row(history=[["q", None]]), {"content-missing": "crash"}),
        ("alpaca_full", "sft", _row(history=[[1, 2]]), {"history-not-text": "crash"}),
        ("alpaca_full", "sft", _row(history="q\na"), {"history-ignored": "kept"}),
        ("alpaca_full", "sft", _row(history=[["q", ""]]), {"empty-answer": "kept"}),
        ("alpaca_full", "sft", _row(history=[["", "a"]]), {"empty-prompt": "kept"}),
        ("alpaca_full", "pt", _row(history=[["q", None]]), GOOD),
        ("alpaca_full", "pt", _row(history=[[None, "a"]]), {"content-missing": "crash"}),
        ("alpaca_full", "sft", _row(system=5), {"system-not-text": "crash"}),
        ("alpaca_full", "sft", _row(system=["Be", "brief."]), {"system-not-text": "crash"}),
        ("alpaca_full", "pt", _row(system=5), GOOD),
        ("alpaca_full", "sft", _row(tools="[]"), GOOD),
        ("alpaca_full", "sft", _row(tools="add(a, b)"), {"tools-not-json": "crash"}),
        ("alpaca_full", "sft", _row(tools=" "), {"tools-not-json": "crash"}),
        ("alpaca_full", "sft", _row(tools="null"), {"tools-shape": "crash"}),
        ("alpaca_full", "sft", _row(tools='{"name": "add"}'), {"tools-shape": "crash"}),
        ("alpaca_full", "sft", _row(tools='["add"]'), {"tools-shape": "crash"}),
        ("alpaca_full", "sft", _row(tools='[{"name": "add"}]'), {"tool-incomplete": "kept"}),
        ("alpaca_full", "sft", _row(tools=[{"name": "add"}]), {"tools-not-text": "crash"}),
        ("alpaca_full", "sft", _row(tools=[]), GOOD),
        ("alpaca_full", "sft", _row(output=None, tools="no JSON"), {"missing-answer": "dropped"}),
        # pairs
        ("alpaca_pair", "rm", _pair(), GOOD),
        ("alpaca_pair", "dpo", _pair(), GOOD),
        ("alpaca_pair", "dpo", _pair(chosen=None), {"missing-answer": "dropped"}),
        ("alpaca_pair", "dpo", _pair(rejected=None), {"missing-answer": "dropped"}),
        ("alpaca_pair", "dpo", {"instruction": Q}, {"missing-answer": "dropped"}),
        ("alpaca_pair", "dpo", _pair(chosen={"from": "gpt", "value": A}), {"answer-not-text": "dropped"}),
        ("alpaca_pair", "dpo", _pair(rejected=[A]), {"answer-not-text": "dropped"}),
        ("alpaca_pair", "dpo", _pair(rejected=A), {"same-answers": "kept"}),
        ("alpaca_pair", "dpo", _pair(rejected=""), {"empty-answer": "kept"}),
        ("alpaca_pair", "dpo", _pair(chosen=" "), {"blank-answer": "kept"}),
        ("alpaca_half_pair", "dpo", _pair(), {"no-column": "crash"}),
        ("alpaca", "rm", _row(), {"wrong-stage": "dropped"}),
        # labels
        ("alpaca_kto", "kto", _row(label=True), GOOD),
        ("alpaca_kto", "kto", _row(label=False), GOOD),
        ("alpaca_kto", "kto", _row(label=None), {"missing-label": "dropped"}),
        ("alpaca_kto", "kto", _row(label="true"), {"label-not-boolean": "dropped"}),
        ("alpaca_kto", "kto", _row(label=1), {"label-not-boolean": "dropped"}),
        ("alpaca_kto", "kto", _row(label=None, output=None), {"missing-label": "crash"}),
        ("alpaca_kto", "kto", _row(label=None, output=""), {"missing-label": "crash"}),
        (
            "alpaca_kto",
            "kto",
            _row(label=True, output=""),
            {"empty-answer": "kept", "empty-good-answer": "kept"},
        ),
        (
            "alpaca_kto",
            "kto",
            _row(label=True, output=None),
            {"empty-answer": "kept", "empty-good-answer": "kept"},
        ),
        ("alpaca_kto", "kto", _row(label=False, output=""), {"empty-answer": "kept"}),
        ("alpaca_kto", "kto", _row(label=False, output=None), {"content-missing": "crash"}),
        ("alpaca_kto", "kto", _row(label=False, output=4), {"content-not-text": "crash"}),
        ("alpaca", "kto", _row(), {"wrong-stage": "dropped"}),
        # text, and prompts alone
        ("text", "pt", {"text": "Once upon a time."}, GOOD),
        ("text", "pt", {"text": ""}, {"empty-prompt": "kept"}),
        ("text", "pt", {"text": None}, {"empty-prompt": "kept"}),
        ("text", "pt", {"text": "\n"}, {"blank-prompt": "kept"}),
        ("text", "pt", {"text": 5}, {"prompt-not-text": "crash"}),
        ("text", "pt", {"text": ["Once"]}, {"prompt-not-text": "crash"}),
        ("text", "sft", {"text": "Once upon a time."}, {"missing-answer": "dropped"}),
        ("alpaca", "ppo", _row(), GOOD),
        ("alpaca", "ppo", _row(output=None), GOOD),
        ("alpaca", "ppo", _row(output=""), GOOD),
        ("alpaca", "ppo", _row(instruction=""), {"empty-prompt": "kept"}),
        # lists of messages
        ("sharegpt", "sft", _said("human:hi", "gpt:hello"), GOOD),
        ("sharegpt", "sft", _said("system:Be brief.", "human:hi", "gpt:hello", "human:bye", "gpt:bye"), GOOD),
        ("sharegpt", "sft", _said("system:", "human:hi", "gpt:hello"), GOOD),
        ("sharegpt", "sft", _said("human:hi", f"function_call:{CALL}", "observation:4", "gpt:hello"), GOOD),
        ("sharegpt", "sft", _said("observation:4", "gpt:hello"), GOOD),
        ("sharegpt", "sft", _said("human:hi", "gpt:"), {"empty-answer": "kept"}),
        ("sharegpt", "sft", _said("human:hi", "gpt: "), {"blank-answer": "kept"}),
        ("sharegpt", "sft", _said("human:", "gpt:hello"), {"empty-prompt": "kept"}),
        ("sharegpt", "sft", _said("human:hi", "gpt:", "human:bye", "gpt:bye"), {"empty-answer": "kept"}),
        ("sharegpt", "sft", _said("human:hi"), {"unanswered": "dropped"}),
        ("sharegpt", "sft", _said("human:hi", "gpt:hello", "human:bye"), {"unanswered": "dropped"}),
        ("sharegpt", "sft", _said("gpt:hello", "human:hi"), {"no-question": "dropped"}),
        ("sharegpt", "sft", _said("gpt:hello"), {"no-question": "dropped"}),
        ("sharegpt", "sft", _said("human:hi", "human:there", "gpt:hello"), {"role-order": "dropped"}),
        ("sharegpt", "sft", _said("human:hi", "gpt:hello", "gpt:again"), {"role-order": "dropped"}),
        ("sharegpt", "sft", _said("human:hi", "observation:4", "gpt:4"), {"role-order": "dropped"}),
        ("sharegpt", "sft", _said("human:hi", "system:Be brief.", "gpt:4"), {"system-not-first": "dropped"}),
        (
            "sharegpt",
            "sft",
            _said("system:a", "system:b", "human:hi", "gpt:4"),
            {"system-not-first": "dropped"},
        ),
        ("sharegpt", "sft", _said("system:a"), {"no-messages": "dropped"}),
        ("sharegpt", "sft", _said("user:hi", "gpt:hello"), {"unknown-role": "dropped"}),
        ("sharegpt", "sft", _said("human:hi", f"{'gpt' * 20}:hello"), {"unknown-role": "dropped"}),
        ("sharegpt", "sft", {"conversations": [{"value": "hi"}, _answer()]}, {"no-role": "dropped"}),
        ("sharegpt", "sft", {"conversations": [_answer("hi", None), _answer()]}, {"no-role": "dropped"}),
        (
            "sharegpt",
            "sft",
            {"conversations": [_answer("hi", 5), _answer(A, 6)]},
            {"unknown-role": "dropped"},
        ),
        ("sharegpt", "sft", {"conversations": [_answer("hi", ["human"])]}, {"unknown-role": "dropped"}),
        ("sharegpt", "sft", {"conversations": [{"from": "human"}, _answer()]}, {"content-missing": "crash"}),
        (
            "sharegpt",
            "sft",
            {"conversations": [_answer("hi", "human"), _answer(None)]},
            {"content-missing": "crash"},
        ),
        (
            "sharegpt",
            "sft",
            {"conversations": [_answer(1, "human"), _answer(2)]},
            {"content-not-text": "crash"},
        ),
        ("sharegpt", "sft", {"conversations": []}, {"no-messages": "dropped"}),
        ("sharegpt", "sft", {"conversations": None}, {"no-messages": "crash"}),
        ("sharegpt", "sft", {}, {"no-messages": "crash"}),
        ("sharegpt", "sft", {"conversations": ""}, {"no-messages": "dropped"}),
        ("sharegpt", "sft", {"conversations": "hi"}, {"no-messages": "crash"}),
        ("sharegpt", "sft", {"conversations": {"from": "human", "value": "hi"}}, {"no-messages": "crash"}),
        ("sharegpt", "sft", {"conversations": 5}, {"no-messages": "crash"}),
        ("sharegpt", "sft", {"conversations": ["hi", "hello"]}, {"message-not-object": "crash"}),
        ("sharegpt", "sft", {"conversations": [None, _answer()]}, {"message-not-object": "crash"}),
        ("sharegpt", "sft", {"conversations": [_answer(), None]}, {"no-question": "dropped"}),
        ("sharegpt", "pt", _said("human:hi", "gpt:hello"), GOOD),
        ("sharegpt", "pt", _said("human:hi", "human:hi"), {"role-order": "crash"}),
        ("sharegpt", "pt", {"conversations": []}, {"no-messages": "crash"}),
        ("sharegpt", "pt", _said("human:", "gpt:hello"), {"empty-prompt": "kept"}),
        ("sharegpt", "ppo", _said("human:hi", "gpt:"), GOOD),
        ("sharegpt", "ppo", _said("human:hi"), {"unanswered": "dropped"}),
        # calls and tools
        ("sharegpt", "sft", _said("human:hi", f"function_call:[{CALL}, {CALL}]"), GOOD),
        ("sharegpt", "sft", _said("human:hi", f"function_call:<tool_call>{CALL}</tool_call>"), GOOD),
        ("sharegpt", "sft", _said("human:hi", f"function_call:<think>\nhm\n</think>\n\n{CALL}"), GOOD),
        ("sharegpt", "sft", _said("human:hi", "function_call:add(2)"), {"call-not-json": "crash"}),
        (
            "sharegpt",
            "sft",
            _said("human:hi", f"function_call:Let me see. {CALL}"),
            {"call-not-json": "crash"},
        ),
        ("sharegpt", "sft", _said("human:hi", "function_call:"), {"call-not-json": "crash"}),
        ("sharegpt", "sft", _said("human:hi", 'function_call:{"name": "add"}'), {"call-shape": "crash"}),
        ("sharegpt", "sft", _said("human:hi", 'function_call:{"arguments": {}}'), {"call-shape": "crash"}),
        ("sharegpt", "sft", _said("human:hi", 'function_call:["add"]'), {"call-shape": "crash"}),
        ("sharegpt", "sft", _said("human:hi", "function_call:null"), {"call-shape": "crash"}),
        ("sharegpt", "sft", _said("human:hi", "function_call:[]"), {"call-empty": "kept"}),
        (
            "sharegpt",
            "sft",
            _said("human:hi", 'function_call:{"name": "add", "arguments": "{}"}'),
            {"arguments-as-text": "kept"},
        ),
        (
            "sharegpt",
            "sft",
            _said("human:hi", 'function_call:{"name": null, "arguments": [2]}'),
            {"call-name": "kept", "call-arguments": "kept"},
        ),
        ("sharegpt", "sft", _said("human:hi", 'function_call:{"name": "f", "arguments": {"x": NaN}}'), GOOD),
        ("sharegpt", "pt", _said("human:hi", "function_call:add(2)"), GOOD),
        ("sharegpt_full", "sft", _said("human:hi", "gpt:4", tools=TOOLS, system="Be brief."), GOOD),
        (
            "sharegpt_full",
            "sft",
            _said("human:hi", "gpt:4", tools=[{"name": "add"}]),
            {"tools-not-text": "crash"},
        ),
        (
            "sharegpt_full",
            "sft",
            _said("human:hi", "gpt:4", tools={"name": "add"}),
            {"tools-not-text": "crash"},
        ),
        ("sharegpt_full", "sft", _said("human:hi", "gpt:4", tools="add"), {"tools-not-json": "crash"}),
        ("sharegpt_full", "sft", _said("human:hi", tools="add"), {"unanswered": "dropped"}),
        ("sharegpt_full", "sft", _said("human:hi", "gpt:4", system={"a": 1}), {"system-not-text": "crash"}),
        ("sharegpt_full", "sft", _said("system:a", "human:hi", "gpt:4", system="b"), {"two-systems": "kept"}),
        # pairs and labels of messages
        ("sharegpt_pair", "dpo", _said("human:hi", chosen=_answer(), rejected=_answer("5.")), GOOD),
        (
            "sharegpt_pair",
            "dpo",
            _said("system:a", "human:hi", "gpt:b", "human:c", chosen=_answer(), rejected=_answer("5.")),
            GOOD,
        ),
        (
            "sharegpt_pair",
            "dpo",
            _said("human:hi", "gpt:4", chosen=_answer(), rejected=_answer("5.")),
            {"answered": "dropped"},
        ),
        ("sharegpt_pair", "dpo", _said("human:hi", chosen=_answer()), {"missing-answer": "dropped"}),
        ("sharegpt_pair", "dpo", _said("human:hi", rejected=_answer()), {"missing-answer": "dropped"}),
        ("sharegpt_pair", "dpo", _said("human:hi", chosen=A, rejected="5."), {"answer-not-text": "dropped"}),
        (
            "sharegpt_pair",
            "dpo",
            _said("human:hi", chosen=_answer(), rejected=_answer()),
            {"same-answers": "kept"},
        ),
        (
            "sharegpt_pair",
            "dpo",
            _said("human:hi", chosen=_answer(A, "human"), rejected=_answer("5.")),
            {"answer-role": "kept"},
        ),
        (
            "sharegpt_pair",
            "dpo",
            _said("human:hi", chosen=_answer(A, "system"), rejected=_answer("5.")),
            {"system-not-first": "crash"},
        ),
        (
            "sharegpt_pair",
            "dpo",
            _said("human:hi", chosen=_answer(A, "assistant"), rejected=_answer("5.")),
            {"unknown-role": "crash"},
        ),
        (
            "sharegpt_pair",
            "dpo",
            _said("human:hi", chosen={"value": A}, rejected=_answer("5.")),
            {"no-role": "crash"},
        ),
        (
            "sharegpt_pair",
            "dpo",
            _said("human:hi", chosen=_answer(None), rejected=_answer("5.")),
            {"content-missing": "crash"},
        ),
        (
            "sharegpt_pair",
            "dpo",
            _said("human:hi", chosen=_answer(CALL, "function_call"), rejected=_answer("5.")),
            GOOD,
        ),
        (
            "sharegpt_pair",
            "dpo",
            _said("human:hi", chosen=_answer("4", "function_call"), rejected=_answer("5.")),
            {"call-shape": "crash"},
        ),
        ("sharegpt_pair", "dpo", _said(chosen=_answer(), rejected=_answer("5.")), {"no-messages": "dropped"}),
        ("sharegpt_kto", "kto", _said("human:hi", "gpt:4", label=True), GOOD),
        ("sharegpt_kto", "kto", _said("human:hi", "gpt:4", label=False), GOOD),
        ("sharegpt_kto", "kto", _said("human:hi", "gpt:4", label="good"), {"label-not-boolean": "dropped"}),
        ("sharegpt_kto", "kto", _said("human:hi", label=True), {"unanswered": "crash"}),
        ("sharegpt_kto", "kto", _said(label=True), {"no-messages": "crash"}),
        ("sharegpt_kto", "kto", _said("human:hi", "gpt:"), {"missing-label": "crash"}),
        # OpenAI's messages
        ("openai", "sft", _chat("user:hi", "assistant:hello"), GOOD),
        ("openai", "sft", _chat("system:Be brief.", "user:hi", "assistant:hello"), GOOD),
        ("openai", "sft", _chat("user:hi", _calling(), "tool:4", "assistant:4"), GOOD),
        ("openai", "sft", _chat("user:hi", _calling(), "tool:4", "tool:5", "assistant:4"), GOOD),
        ("openai", "sft", _chat("user:hi", _calling('{"a": 2}')), {"arguments-as-text": "kept"}),
        ("openai", "sft", _chat("user:hi", _calling(content="Let me see.")), {"text-beside-calls": "kept"}),
        ("openai", "sft", _chat("user:hi", _calling(), "tool:4"), {"result-at-end": "kept"}),
        ("openai", "sft", _chat("user:hi", "assistant:a", "user:b", "tool:4"), {"unanswered": "dropped"}),
        ("openai", "sft", _chat("user:hi", _calling(tool_calls=[{"id": "1"}])), {"call-shape": "crash"}),
        ("openai", "sft", _chat("user:hi", _calling(tool_calls=["add"])), {"call-shape": "crash"}),
        ("openai", "sft", _chat("user:hi", _calling(tool_calls="add")), {"call-shape": "crash"}),
        ("openai", "sft", _chat("user:hi", _calling(tool_calls=[])), {"content-missing": "crash"}),
        (
            "openai",
            "sft",
            _chat("user:hi", _calling(), {"role": "tool"}, "assistant:4"),
            {"content-not-text": "crash"},
        ),
        ("openai", "sft", _chat("user:hi", _calling(), {"role": "tool"}), {"result-at-end": "kept"}),
        ("openai", "sft", _chat("user:hi", "developer:b", "assistant:c"), {"unknown-role": "crash"}),
        ("openai", "sft", _chat("user:hi", "system:b", "assistant:c"), {"system-not-first": "dropped"}),
        ("openai", "sft", _chat("user:hi", "user:there", "assistant:c"), {"role-order": "dropped"}),
        ("openai", "sft", _chat("assistant:hello"), {"no-question": "dropped"}),
        ("openai", "sft", _chat("user:hi"), {"unanswered": "dropped"}),
        ("openai", "sft", _chat(), {"no-messages": "dropped"}),
        ("openai", "sft", _chat({"content": "hi"}, "assistant:c"), {"no-role": "crash"}),
        (
            "openai",
            "sft",
            _chat("user:hi", {"role": "assistant", "content": None}),
            {"content-missing": "crash"},
        ),
        (
            "openai",
            "sft",
            _chat(
                *[
                    {"role": role, "content": [{"type": "text", "text": "hi"}]}
                    for role in ("user", "assistant")
                ]
            ),
            {"content-parts": "crash"},
        ),
        ("openai", "sft", {"messages": None}, {"no-messages": "crash"}),
        ("openai", "sft", {"messages": [None]}, {"message-not-object": "crash"}),
        ("openai", "pt", _chat("user:hi", "user:there"), {"role-order": "crash"}),
        (
            "openai_full",
            "sft",
            _chat("user:hi", "assistant:c", tools=[{"name": "a", "parameters": {"x": 1}}]),
            GOOD,
        ),
        ("openai_full", "sft", _chat("user:hi", "assistant:c", tools=TOOLS, system="s"), GOOD),
        ("openai_full", "sft", _chat("user:hi", "assistant:c", tools=[]), GOOD),
        (
            "openai_full",
            "sft",
            _chat("user:hi", "assistant:c", tools={"name": "a"}),
            {"tools-shape": "crash"},
        ),
        ("openai_full", "sft", _chat("user:hi", "assistant:c", tools=5), {"tools-not-text": "crash"}),
        ("openai_full", "sft", _chat("user:hi", "assistant:c", system=5), {"system-not-text": "crash"}),
        ("openai_full", "sft", _chat("user:hi", system=5), {"system-not-text": "crash"}),
        ("openai_full", "sft", _chat("user:hi", "assistant:c", system=["a"]), {"system-not-text": "crash"}),
        ("openai_full", "sft", _chat("user:hi", system=["a"]), {"unanswered": "dropped"}),
        (
            "openai_pair",
            "dpo",
            _chat(
                "user:hi",
                chosen={"role": "assistant", "content": A},
                rejected={"role": "assistant", "content": "5"},
            ),
            GOOD,
        ),
        ("openai_pair", "dpo", _chat("user:hi", chosen=A, rejected="5."), {"answer-not-text": "dropped"}),
        ("openai_kto", "kto", _chat("user:hi", "assistant:c", label=True), GOOD),
        ("openai_kto", "kto", _chat("user:hi", _calling(), label=False), GOOD),
        ("openai_kto", "sft", _chat("user:hi", "assistant:c", label=False), {"wrong-stage": "dropped"}),
        # media
        ("alpaca_images", "sft", _row(images=[]), GOOD),
        ("alpaca_images", "sft", _row(images=None), GOOD),
        ("alpaca_images", "sft", _row(instruction="<image>What?", images=[PICTURE]), GOOD),
        ("alpaca_images", "sft", _row(instruction="<image>What?", images=PICTURE), GOOD),
        ("alpaca_images", "sft", _row(instruction="What?", images=[PICTURE]), {"media-count": "crash"}),
        (
            "alpaca_images",
            "sft",
            _row(instruction="<image><image>?", images=[PICTURE]),
            {"media-count": "crash"},
        ),
        ("alpaca_images", "sft", _row(instruction="<image>?", images=None), {"media-count": "crash"}),
        ("alpaca_images", "sft", _row(instruction="<video>?", images=None), {"media-count": "crash"}),
        ("alpaca_images", "sft", _row(instruction="<image>?", images=[ABSENT]), {"media-missing": "crash"}),
        ("alpaca_images", "sft", _row(instruction="<image>?", images=[""]), {"media-missing": "crash"}),
        ("alpaca_images", "sft", _row(instruction="<image>?", images=[5]), {"media-not-path": "crash"}),
        ("alpaca_images", "sft", _row(instruction="<image>?", images=[None]), {"media-not-path": "crash"}),
        (
            "alpaca_images",
            "sft",
            _row(instruction="<image><image>?", images=[PICTURE, None]),
            {"media-not-path": "crash"},
        ),
        ("alpaca_images", "sft", _row(instruction="<image>?", images=[CUT]), {"media-damaged": "crash"}),
        ("alpaca_images", "sft", _row(images=[ABSENT], output=None), {"missing-answer": "dropped"}),
        ("alpaca_images", "pt", _row(instruction="<image>?", images=[ABSENT]), GOOD),
        ("alpaca_images", "pt", _row(images=[PICTURE, None]), {"media-not-path": "crash"}),
        ("alpaca_images_kto", "kto", _row(instruction="<image>?", images=[PICTURE], label=True), GOOD),
        (
            "alpaca_images_kto",
            "kto",
            _row(instruction="?", output="<image>", images=[PICTURE], label=True),
            {"media-in-answer": "crash"},
        ),
        ("alpaca_videos", "sft", _row(instruction="<video>?", videos=[[PICTURE, PICTURE]]), GOOD),
        (
            "alpaca_videos",
            "sft",
            _row(instruction="<video>?", videos=[[PICTURE, ABSENT]]),
            {"media-missing": "crash"},
        ),
        (
            "alpaca_videos",
            "sft",
            _row(instruction="<video>?", videos=[[PICTURE, CUT]]),
            {"media-damaged": "crash"},
        ),
        ("alpaca_videos", "sft", _row(instruction="<video>?", videos=[ABSENT]), {"media-missing": "crash"}),
        (
            "alpaca_videos",
            "sft",
            _row(instruction="<video>?", videos=[[PICTURE], None]),
            {"media-not-path": "crash"},
        ),
        ("sharegpt_images", "sft", _said("human:<image>?", "gpt:red", images=[PICTURE]), GOOD),
        ("sharegpt_images", "sft", _said("human:What?", "gpt:<image>", images=[PICTURE]), GOOD),
        (
            "sharegpt_images",
            "sft",
            _said("human:What?", "gpt:red", images=[PICTURE]),
            {"media-count": "crash"},
        ),
    ]
    return [Case(*row) for row in rows]


CASES = _cases()
