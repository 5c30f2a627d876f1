"""What the model sees of a conversation, without the library."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qtune.data.lengths.chat import as_text, chat_for
from qtune.data.rows.examples import Example, Message
from qtune.errors import QtuneError
from qtune.schema import template_names
from qtune.schema.chat_templates import chat_template

THOUGHT = "<think>\nA greeting.\n</think>\n\nHello"
TOOL = json.dumps([{"name": "weather", "parameters": {"type": "object", "properties": {}}}])


def example(*texts: str, system: str = "", tools: str = "") -> Example:
    messages = [Message(("user", "assistant")[turn % 2], text) for turn, text in enumerate(texts)]
    return Example(messages[:-1], messages[-1:], system, tools)


def shown(given: Example, **train: Any) -> list[tuple[str, bool]]:
    return as_text(given, chat_for(train), "<bos>", "<eos>")


def test_every_template_of_the_schema_has_its_slots():
    assert all("{{content}}" in str(chat_template(name).format_user) for name in template_names())


def test_only_the_answers_are_trained_on():
    assert shown(example("Hi", "Hello", "Bye", "See you"), template="qwen") == [
        (
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. "
            "You are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
            False,
        ),
        ("Hello<|im_end|>\n", True),
        ("<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n", False),
        ("See you<|im_end|>\n", True),
    ]


def test_prompts_are_trained_on_where_asked():
    assert all(trained for _, trained in shown(example("a", "b"), template="qwen", train_on_prompt=True))


def test_only_the_last_answer_is_trained_on_with_mask_history():
    found = shown(example("a", "b", "c", "d"), template="qwen", mask_history=True)
    assert [text for text, trained in found if trained] == ["d<|im_end|>\n"]


def test_a_rows_system_prompt_wins_over_the_configs_and_that_over_the_templates():
    own = shown(example("a", "b", system="S"), template="qwen", default_system="D")
    configured = shown(example("a", "b"), template="qwen", default_system="D")
    assert own[0][0].startswith("<|im_start|>system\nS<")
    assert configured[0][0].startswith("<|im_start|>system\nD<")


def test_llama2_puts_the_system_prompt_into_the_first_question():
    found = shown(example("a", "b", "c", "d", system="S"), template="llama2")
    assert found[0] == ("<bos>[INST] <<SYS>>\nS\n<</SYS>>\n\na [/INST]", False)
    assert found[2] == ("<bos>[INST] c [/INST]", False)


def test_a_template_whose_answers_have_no_end_of_their_own_ends_with_eos():
    assert shown(example("a", "b"), template="glm4")[-1] == ("<eos>", True)


def test_an_answer_without_a_thought_gets_an_empty_one():
    thinking = shown(example("a", "b"), template="qwen3", enable_thinking=True)
    silent = shown(example("a", "b"), template="qwen3", enable_thinking=False)
    assert thinking[1] == ("<think>\n\n</think>\n\nb<|im_end|>\n", True)
    assert silent[0][0].endswith("<think>\n\n</think>\n\n")
    assert silent[1] == ("b<|im_end|>\n", True)


def test_thoughts_are_removed_where_thinking_is_off():
    found = shown(example("a", THOUGHT), template="qwen3", enable_thinking=False)
    assert found[-1] == ("Hello<|im_end|>\n", True)


def test_earlier_thoughts_are_removed_where_history_is_masked_and_kept_where_preserved():
    conversation = example("a", THOUGHT, "b", THOUGHT)
    masked = shown(conversation, template="qwen3", mask_history=True)
    preserved = shown(conversation, template="qwen3", mask_history=True, preserve_thinking=True)
    assert [text for text, _ in masked][1::2] == ["Hello<|im_end|>\n", f"{THOUGHT}<|im_end|>\n"]
    assert [text for text, _ in preserved][1::2] == [f"{THOUGHT}<|im_end|>\n"] * 2


def test_the_last_answer_alone_is_the_target_in_one_turn():
    given = example("a", "b", "c", "d")
    turn = chat_for({"template": "qwen"}).turn([*given.prompt, *given.response])
    assert turn.target == ["d<|im_end|>\n"]
    assert "b<|im_end|>\n" in turn.source


def test_qwen_describes_tools_exactly_and_others_are_said_to_be_estimates():
    given = example("a", "b", tools=TOOL)
    found = shown(given, template="qwen")
    assert '<tools>\n{"type": "function", "function": {"name": "weather"' in found[0][0]
    assert chat_for({"template": "qwen"}).is_exact(given)
    assert not chat_for({"template": "gemma4"}).is_exact(given)
    assert chat_for({"template": "gemma4", "tool_format": "qwen"}).is_exact(given)


def test_a_call_is_written_between_its_tags_after_its_thought():
    call = '{"name": "weather", "arguments": {"city": "上海"}}'
    given = Example([Message("user", "a")], [Message("function", f"<think>\nx\n</think>\n\n{call}")])
    found = shown(given, template="qwen3")
    assert found[1] == (f"<think>\nx\n</think>\n\n<tool_call>\n{call}\n</tool_call><|im_end|>\n", True)


def test_a_row_with_images_is_not_counted_exactly():
    given = Example([Message("user", "<image>a")], [Message("assistant", "b")], images=["a.png"])
    assert not chat_for({"template": "qwen2_vl"}).is_exact(given)


@pytest.mark.parametrize("train", [{}, {"template": "auto"}])
def test_a_config_without_a_template_is_told_to_set_one(train: dict[str, Any]):
    with pytest.raises(QtuneError, match="no chat template is set") as raised:
        chat_for(train)
    assert "template=" in str(raised.value)


def test_a_misspelt_template_is_told_its_right_name():
    with pytest.raises(QtuneError) as raised:
        chat_for({"template": "qwen33"})
    assert "`qwen3`" in str(raised.value)


def test_pretraining_needs_no_template():
    assert chat_for({"stage": "pt"}).template == chat_template("empty")
