"""What is said of thoughts, control words and ends of answers, against what the library trains."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from row_cases import registration
from scratch import run_script
from trees import REPOSITORY, TINY_MODEL

from qtune.config.model import text_ends
from qtune.data.rows.check import RowCheck
from qtune.schema import template_names
from qtune.schema.chat_templates import chat_template, configured

REASONING = [name for name in template_names() if chat_template(name).reasons]
THINKS = (True, False, None)
WORDS = ("qwen", "qwen3", "llama3", "gemma3", "deepseek3", "phi4", "granite3")
OWN = text_ends({"model_name_or_path": str(TINY_MODEL)}, REPOSITORY)
ENDS = ["empty", "default", "qwen", "qwen3", "llama3", "glm4", "fewshot", "solar", "vicuna", "chatml", None]


def chat(*answers: str, **field: str) -> dict[str, Any]:
    turns = [
        {"role": role, "content": text}
        for text in answers
        for role, text in (("user", "2 + 2?"), ("assistant", text))
    ]
    turns[-1] |= field
    return {"messages": turns}


def thoughts(name: str) -> dict[str, dict[str, Any]]:
    """Rows by what is to be told of them."""
    opening, closing = chat_template(name).thought_words
    return {
        "whole": chat(f"{opening}I add.{closing}Four."),
        "empty": chat(f"{opening}{closing}Four."),
        "none": chat("Four."),
        "one of two": chat(f"{opening}I add.{closing}Four.", "Four again."),
        "opening alone": chat(f"{opening}I add. Four."),
        "closing alone": chat(f"I add.{closing}Four."),
        "unread": chat("Four.", reasoning_content="I add."),
    }


def cases() -> list[dict[str, Any]]:
    asked = [
        {"template": name, "arguments": {"enable_thinking": thinks}, "row": row}
        for name in (*REASONING, "qwen")
        for thinks in THINKS
        for row in (*thoughts(name).values(), mended(name))
    ]
    asked += [
        {"template": name, "arguments": {}, "row": chat(f"4{word}4")}
        for name in WORDS
        for word in chat_template(name).control_words
    ]
    asked += [{"template": "qwen", "arguments": {}, "row": chat(f"4{word}4")} for word in OWN]
    return asked + [{"template": name, "arguments": {}, "row": chat("Four.")} for name in ENDS]


def check(name: str, **train: Any) -> RowCheck:
    template = configured({"template": name, **train})
    assert template is not None
    words = template.control_words
    return RowCheck(registration("openai"), "sft", template=template, control_words=words)


def mended(name: str) -> dict[str, Any]:
    """The row with its thought where `data check --fix` puts it."""
    row = thoughts(name)["unread"]
    found = check(name).thoughts.examine([row], [0], lambda column: {"reasoning_content"})
    return found.mended[0]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the library makes of each case, by the case as JSON."""
    directory = tmp_path_factory.mktemp("encoded")
    given, answers = directory / "cases.json", directory / "answers.json"
    given.write_text(json.dumps(cases()), encoding="utf-8")
    run_script("encode_rows.py", str(given), str(answers))
    found = json.loads(answers.read_text(encoding="utf-8"))
    return {json.dumps(case): answer for case, answer in zip(cases(), found, strict=True)}


def trained(
    library: dict[str, Any], name: str | None, row: dict[str, Any], **arguments: Any
) -> dict[str, Any]:
    return library[json.dumps({"template": name, "arguments": arguments, "row": row})]


@pytest.mark.parametrize("thinks", THINKS)
@pytest.mark.parametrize("name", [*REASONING, "qwen"])
def test_thoughts_are_added_and_left_out_as_said(
    library: dict[str, Any], name: str, thinks: bool | None
) -> None:
    opening, closing = (re.escape(word.strip()) for word in chat_template(name).thought_words)
    empty = re.compile(rf"(?:{opening}|^|\|>)\s*{closing}")
    for what, row in thoughts(name).items():
        kinds = {flaw.kind for flaw in check(name, enable_thinking=thinks).thoughts.flaws(row)}
        found = trained(library, name, row, enable_thinking=thinks)
        if what == "unread":
            assert kinds == {"unread-thought"} and "I add." not in found["prompt"] + found["trained"]
            continue
        lost = "thought-left-out" in kinds
        assert ("I add." in found["trained"]) == (what not in ("none", "empty") and not lost), what
        if name == "qwen":
            assert kinds == set()
            continue
        assert bool(empty.search(found["trained"])) == bool(kinds & {"no-thought", "empty-thought"}), what
        assert ("malformed-thought" in kinds) == what.endswith("alone")


@pytest.mark.parametrize("name", [*REASONING, "qwen"])
def test_a_thought_that_fix_moved_is_trained(library: dict[str, Any], name: str) -> None:
    row = mended(name)
    text = trained(library, name, row, enable_thinking=True)["trained"]
    assert "I add." in text and text.index("I add.") < text.index("Four.")
    assert check(name).thoughts.flaws(row) == []


@pytest.mark.parametrize("name", WORDS)
def test_control_words_in_a_text_are_read_as_the_templates_own(library: dict[str, Any], name: str) -> None:
    """With a tokenizer that knows Qwen's, and to which the library adds the template's stop words."""
    known = {"<|im_start|>", "<|im_end|>", *chat_template(name).stop_words}
    for word in chat_template(name).control_words:
        row = chat(f"4{word}4")
        assert [flaw.kind for flaw in check(name).text_flaws(row)] == ["control-word"]
        if word in known:
            tokens = trained(library, name, row)["tokens"]
            assert word in tokens[:-2], (word, tokens)


def test_the_tokenizers_own_ends_in_a_text_are_read_as_such(library: dict[str, Any]) -> None:
    assert "<|endoftext|>" in OWN
    for word in OWN:
        assert word in trained(library, "qwen", chat(f"4{word}4"))["tokens"][:-2]


@pytest.mark.parametrize("name", ENDS)
def test_answers_end_where_the_template_ends_them(library: dict[str, Any], name: str | None) -> None:
    last = trained(library, name, chat("Four."))["tokens"][-1]
    assert (last == ".") == (name in (None, "empty")), last
