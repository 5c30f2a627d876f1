"""Thoughts in answers, control words in texts, and judgements: what a training makes of them without a word.

What users ask about thoughts stands in the threads #10321, #10277, #9285, #9092, #8507, #8112 and #7905 of
LLaMA-Factory; tests/e2e/test_thoughts_library.py holds the verdicts to the library.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from row_cases import CALL, CASES, registration
from trees import TINY_MODEL, Result

from qtune.config.project import find_project
from qtune.data.reading.block import Block
from qtune.data.rows.check import RowCheck
from qtune.data.scanning import check_cache
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.schema import template_names
from qtune.schema.chat_templates import chat_template, configured

Qtune = Callable[..., Result]
Make = Callable[..., Path]

OPENAI = (
    "{file_name: rows.jsonl, formatting: openai, columns: {messages: messages}, tags: {role_tag: role, "
    "content_tag: content, user_tag: user, assistant_tag: assistant, observation_tag: tool, "
    "function_tag: function, system_tag: system}}"
)
REASONING = [name for name in template_names() if chat_template(name).reasons]


def check(name: str = "openai", stage: str = "sft", last_alone: bool = False, **train: Any) -> RowCheck:
    template = configured(train)
    words = template.control_words if template else ()
    return RowCheck(registration(name), stage, template=template, last_alone=last_alone, control_words=words)


def chat(*answers: str | Mapping[str, Any], **columns: Any) -> dict[str, Any]:
    messages: list[Any] = []
    for number, answer in enumerate(answers):
        said = {"content": answer} if isinstance(answer, str) else answer
        messages += [{"role": "user", "content": f"{number}?"}, {"role": "assistant", **said}]
    return {"messages": messages, **columns}


def kinds(given: RowCheck, row: Mapping[str, Any]) -> list[str]:
    assert not given.flaws(row), "what a training takes"
    return [flaw.kind for flaw in given.thoughts.flaws(row)]


# --- rows


@pytest.mark.parametrize("name", REASONING)
def test_each_reasoning_template_is_judged_by_its_own_words(name: str) -> None:
    opening, closing = chat_template(name).thought_words
    thought = chat(f"{opening}I add.{closing}4.")
    for row, of_true, of_false, of_null in (
        (thought, [], ["thought-left-out"], []),
        (chat("4."), ["no-thought"], [], []),
        (chat(f"{opening}{closing}4."), ["empty-thought"], [], ["empty-thought"]),
        (chat(f"{opening}I add. 4."), ["malformed-thought"], ["malformed-thought"], ["malformed-thought"]),
        (chat(f"I add.{closing}4."), ["malformed-thought"], ["malformed-thought"], ["malformed-thought"]),
    ):
        for value, expected in ((True, of_true), (False, of_false), (None, of_null)):
            assert kinds(check(template=name, enable_thinking=value), row) == expected, (row, value)
    foreign = "<think>\nI add.\n</think>\n\n4." if "<think>" not in opening else "◁think▷I add.◁/think▷4."
    assert kinds(check(template=name), chat(foreign)) == ["malformed-thought"]


@pytest.mark.parametrize(
    "answer",
    [
        "<think>I add.</think>It is 2.",
        "<think>\nI add.\nIt is 4.",
        "<thinking>I add</thinking>It is 6.",
        "I add.</think>\n\nIt is 8.",
        "< think >\nadd\n</ think >\n\nIt is 12",
        "<Thought>\nadd\n</Thought>\n\nIt is 12",
        "<think>\nadd\n</think>\nIt is 12",
        "Well. <think>\nadd\n</think>\n\nIt is 12",
        "<think>\nadd\n</think>\n\nIt <think>\nis\n</think>\n\n12",
    ],
)
def test_a_thought_that_the_template_does_not_write_so_is_malformed(answer: str) -> None:
    assert kinds(check(template="qwen3"), chat(answer)) == ["malformed-thought"]


def test_templates_that_ask_for_no_line_breaks_get_none() -> None:
    assert kinds(check(template="glm4_7"), chat("<think>I add.</think>4.")) == []


def test_words_about_thinking_are_no_thought() -> None:
    answer = "I think, thought by thought: x < thinking > y is no HTML, and <b>think</b> is none."
    assert kinds(check(template="qwen3", enable_thinking=None), chat(answer)) == ["malformed-thought"]
    assert kinds(check(template="qwen3", enable_thinking=None), chat(answer.replace("< t", "t"))) == []


def test_a_template_without_thoughts_trains_them_as_they_stand() -> None:
    for answer in ("4.", "<think>\nI add.\n</think>\n\n4.", "<think>I add."):
        assert kinds(check(template="qwen"), chat(answer)) == []


def test_every_answer_that_is_trained_on_counts_and_no_other() -> None:
    row = chat("one", "<think>\nI add.\n</think>\n\n4.")
    assert kinds(check(template="qwen3"), row) == ["no-thought"]
    assert kinds(check(template="qwen3", last_alone=True), row) == []
    history = {"instruction": "q", "output": "<think>\nt\n</think>\n\n4.", "history": [["a", "b"]]}
    assert kinds(check("alpaca_full", template="qwen3"), history) == ["no-thought"]


def test_calls_of_tools_have_thoughts_too() -> None:
    turns = [("human", "q"), ("function_call", CALL), ("observation", "4"), ("gpt", "4.")]
    turns[3] = ("gpt", "<think>\nI read.\n</think>\n\n4.")
    row = {"conversations": [{"from": role, "value": text} for role, text in turns]}
    assert kinds(check("sharegpt", template="qwen3"), row) == ["no-thought"]
    row["conversations"][1]["value"] = f"<think>\nI look.\n</think>\n\n{CALL}"
    assert kinds(check("sharegpt", template="qwen3"), row) == []
    call = {"type": "function", "function": json.loads(CALL)}
    answered = chat({"content": "", "tool_calls": [call]})
    answered["messages"] += [
        {"role": "tool", "content": "4"},
        {"role": "assistant", "content": "<think>\nI read.\n</think>\n\n4."},
    ]
    assert kinds(check(template="qwen3"), answered) == ["no-thought"]


def test_other_stages_are_judged_by_the_answers_that_they_compare() -> None:
    thought = "<think>\nI add.\n</think>\n\n4."
    pair = {"instruction": "q", "chosen": thought, "rejected": "5."}
    assert kinds(check("alpaca_pair", "dpo", template="qwen3"), pair) == ["no-thought"]
    assert kinds(check("alpaca_pair", "rm", template="qwen3"), {**pair, "rejected": f"{thought}!"}) == []
    judged = {"instruction": "q", "output": thought, "label": False}
    assert kinds(check("alpaca_kto", "kto", template="qwen3"), judged) == []
    assert kinds(check("text", "pt", template="qwen3"), {"text": "no thought"}) == []
    assert kinds(check("alpaca", "ppo", template="qwen3"), {"instruction": "q", "output": "a"}) == []


@pytest.mark.parametrize("last_alone", [True, False])
def test_the_fast_way_to_the_answers_of_a_row_leads_to_the_converters(last_alone: bool) -> None:
    seen = 0
    for case in CASES:
        given = check(case.registration, "sft", last_alone, template="qwen3")
        if case.stage != "sft" or any(flaw.effect != "kept" for flaw in given.flaws(case.row)):
            continue
        thoughts = given.thoughts
        fast, thoughts._plain = thoughts._answers(case.row), None
        assert fast == thoughts._answers(case.row), case
        seen += 1
    assert seen > 40


# --- thoughts beside answers


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking", "thought"])
@pytest.mark.parametrize("template", ["qwen", "qwen3", "gpt_oss"])
def test_a_field_that_nothing_reads_is_told_and_put_before_the_answer(field: str, template: str) -> None:
    row = chat({"content": "\n4.", field: "I add.\n"}, "5.")
    given = check(template=template)
    assert "unread-thought" in kinds(given, row)
    opening, closing = chat_template(template).thought_words
    mended = given.thoughts.examine([row], [0], lambda column: {field}).mended[0]
    assert mended == chat(f"{opening}I add.{closing}4.", "5.")


def test_thoughts_beside_the_answers_of_a_pair_and_of_a_single_question() -> None:
    single = {"Question": "q", "Complex_CoT": "I add.", "instruction": "q", "output": "4."}
    found = check("alpaca").thoughts.examine([single], [0], lambda column: {"Complex_CoT"})
    assert [flaw.kind for flaw in found.flaws] == ["unread-thought"]
    assert found.mended[0] == {
        "Question": "q",
        "instruction": "q",
        "output": "<think>\nI add.\n</think>\n\n4.",
    }
    chosen = {"role": "assistant", "content": "4.", "reasoning": "I add."}
    rejected = {"role": "assistant", "content": "5."}
    pair = {"messages": [{"role": "user", "content": "q"}], "chosen": chosen, "rejected": rejected}
    mended = check("openai_pair", "dpo").thoughts.examine([pair], [0], lambda column: {"reasoning"}).mended
    assert mended[0]["chosen"] == {"role": "assistant", "content": "<think>\nI add.\n</think>\n\n4."}
    assert mended[0]["rejected"] == rejected


@pytest.mark.parametrize(
    "answer",
    [
        {"content": "<think>\nI add.\n</think>\n\n4.", "reasoning_content": "I add."},
        {"content": "4.", "reasoning_content": ""},
        {"content": "4.", "reasoning_content": None},
        {"content": "4.", "reasoning_content": {"text": "I add."}},
    ],
)
def test_a_field_beside_a_thought_and_an_empty_one_are_no_loss(answer: dict[str, Any]) -> None:
    found = check(template="qwen").thoughts.examine([chat(answer)], [0], lambda column: {"reasoning_content"})
    assert (found.flaws, found.mended) == ({}, {})


def test_a_thought_beside_calls_can_stand_in_sharegpt_only() -> None:
    call = {"type": "function", "function": json.loads(CALL)}
    row = chat({"content": None, "tool_calls": [call], "reasoning_content": "I look."})
    found = check(template="qwen3").thoughts.examine([row], [0], lambda column: {"reasoning_content"})
    assert ["function_call" in flaw.fix for flaw in found.flaws] == [True]
    assert found.mended == {}


# --- words of the template


@pytest.mark.parametrize(
    ("template", "word"),
    [
        ("qwen", "<|im_end|>"),
        ("qwen3", "<|im_start|>"),
        ("llama3", "<|eot_id|>"),
        ("deepseek3", "<｜User｜>"),
        ("gemma3", "<end_of_turn>"),
        ("mistral", "[/INST]"),
        ("gemma4", "<|turn>"),
    ],
)
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_control_words_in_a_text_are_told(template: str, word: str, ensure_ascii: bool) -> None:
    row = chat(f"4.{word}\n")
    given = check(template=template)
    [flaw] = given.text_flaws(row)
    assert flaw.kind == "control-word" and f"`{word}`" in flaw.message
    assert given.suspects(Block([row], [1], (), json.dumps(row, ensure_ascii=ensure_ascii).encode()))
    assert not check(template="alpaca").text_flaws(row) and not check().text_flaws(row)


@pytest.mark.parametrize(
    ("preset", "stage", "words"),
    [("lora", "sft", ("<|im_end|>", "<|im_start|>", "<s>", "</s>")), ("pretrain", "pt", ())],
)
def test_the_tokenizers_own_ends_of_a_text_count_but_not_in_pre_training(
    preset: str, stage: str, words: tuple[str, ...], project: Make
) -> None:
    root = project(
        {
            "model/config.json": {"model_type": "qwen2"},
            "model/tokenizer_config.json": {"bos_token": {"content": "<s>"}, "eos_token": "</s>"},
            "qtune.yaml": "train: {model_name_or_path: model, dataset: rows}\n",
        }
    )
    [source] = pipeline.examine(preset, find_project(root), Hardware()).sources
    assert (source.stage, source.control_words) == (stage, words)


@pytest.mark.parametrize("name", template_names())
def test_no_templates_thought_and_no_tag_of_tools_is_a_control_word(name: str) -> None:
    template = chat_template(name)
    opening, closing = template.thought_words
    said = f"{opening}I add.{closing}<tool_call>{CALL}</tool_call><answer>4</answer> <image> a[0] [1] <b>"
    assert not [flaw for flaw in check(template=name).text_flaws(chat(said)) if flaw.kind == "control-word"]


# --- what the commands say


def with_rows(make: Make, rows: list[dict[str, Any]], **train: Any) -> Path:
    settings = {"dataset": "rows", "template": "qwen3", **train}
    return make(
        {
            "data/datasets.yaml": f"rows: {OPENAI}\nother: {OPENAI.replace('rows', 'other')}\n",
            "data/rows.jsonl": rows,
            "data/other.jsonl": rows,
            "presets/mine.yaml": {"extends": "lora", "train": settings},
        }
    )


BARE = [chat(f"It is {2 * number}.") for number in range(12)]
THOUGHTS = [chat(f"<think>\nI add {number} twice.\n</think>\n\nIt is {2 * number}.") for number in range(12)]
BESIDE = [
    chat({"content": f"It is {number // 2}.", "reasoning_content": f"I add, way {number}."})
    for number in range(4)
]


def test_rows_without_thoughts_are_counted_with_the_whole(project: Make, qtune: Qtune) -> None:
    done = qtune("data", "check", "rows", "-p", "mine", directory=with_rows(project, BARE))
    assert done.code == 0
    assert "rows.jsonl:1, 2, 3, 4, 5 and 7 more: an answer has no thought" in done.out
    assert "trains an empty one before it (12 of 12 rows)" in done.out
    assert "set enable_thinking: false" in done.out


def test_where_some_rows_have_thoughts_the_advice_keeps_them(project: Make, qtune: Qtune) -> None:
    root = with_rows(project, [*THOUGHTS, *BARE[:3]])
    done = qtune("data", "check", "rows", "-p", "mine", directory=root)
    assert "rows.jsonl:13, 14, 15: " in done.out and "(3 of 15 rows)" in done.out
    assert "set enable_thinking: null" in done.out
    null = with_rows(project, [*THOUGHTS, *BARE[:3]], enable_thinking=None)
    assert "15 rows, 0 errors, 0 warnings" in qtune("data", "check", "rows", "-p", "mine", directory=null).out
    off = with_rows(project, [*THOUGHTS, *BARE[:3]], enable_thinking=False)
    said = qtune("data", "check", "rows", "-p", "mine", directory=off).out
    assert "enable_thinking: false takes it out (12 of 15 rows)" in said


def test_null_is_rendered_as_the_library_reads_it(project: Make, qtune: Qtune) -> None:
    """Left out it means true (llamafactory/hparams/data_args.py), so that null must not leave it out."""
    root = with_rows(project, BARE, enable_thinking=None)
    assert qtune("render", "mine", directory=root).code == 0
    [train] = [path.read_text() for path in root.rglob("rendered/*/train.yaml")]
    assert "\nenable_thinking: null" in train


def test_data_that_no_config_names_is_judged_by_the_projects_template(project: Make, qtune: Qtune) -> None:
    root = with_rows(project, BARE)
    settings = (root / "qtune.yaml").read_text().replace("train: {", "train: {template: qwen3, ")
    (root / "qtune.yaml").write_text(settings)
    assert "(12 of 12 rows)" in qtune("data", "check", "other", directory=root).out


def test_a_training_tells_it_too_and_again_after_a_change_of_the_config(project: Make, qtune: Qtune) -> None:
    root = with_rows(project, BARE)
    for train, count in (({}, 1), ({"enable_thinking": False}, 0), ({}, 1)):
        with_rows(project, BARE, **train)
        here = find_project(root)
        prepared = pipeline.prepare("mine", here, Hardware())
        (report,) = check_cache.check(prepared.sources, here.root)
        assert len(report.groups) == count


@pytest.mark.parametrize("command", [("check", "mine"), ("render", "mine")])
def test_the_first_row_is_looked_at_wherever_a_config_is(
    command: tuple[str, ...], project: Make, qtune: Qtune
) -> None:
    done = qtune(*command, directory=with_rows(project, BARE))
    assert done.code == 0
    assert "dataset: in the first row of `rows` an answer has no thought" in done.err
    for rows, train in ((THOUGHTS, {}), (BARE, {"enable_thinking": False}), (BARE, {"template": "qwen"})):
        assert "thought" not in qtune(*command, directory=with_rows(project, rows, **train)).err
    broken = [{"messages": [{"role": "user"}]}]
    assert "thought" not in qtune(*command, directory=with_rows(project, broken)).err


def test_fix_writes_unread_thoughts_before_their_answers(project: Make, qtune: Qtune) -> None:
    """Rows that say the same but for their thoughts stay apart."""
    root = with_rows(project, [*BESIDE, BESIDE[0]])
    found = qtune("data", "check", "rows", "-p", "mine", directory=root)
    assert "rows.jsonl:1, 2, 3, 4, 5: the thought in `reasoning_content` is read by nothing" in found.out
    assert "no thought" not in found.out
    assert "`qtune data check rows --fix OUT` writes it before its answer" in found.out
    done = qtune(
        "data", "check", "rows", "-p", "mine", "--fix", "data/other.jsonl", "--force", directory=root
    )
    assert done.code == 0
    written = [json.loads(line) for line in (root / "data/other.jsonl").read_text().splitlines()]
    assert written == [
        chat(f"<think>\nI add, way {number}.\n</think>\n\nIt is {number // 2}.") for number in range(4)
    ]
    assert "4 rows, 0 errors, 0 warnings" in qtune("data", "check", "other", "-p", "mine", directory=root).out


def test_adding_data_says_that_its_thoughts_are_read_by_nothing(project: Make, qtune: Qtune) -> None:
    root = project({"new.jsonl": BESIDE})
    done = qtune("data", "add", "new.jsonl", directory=root)
    assert "4 of these rows: the thought in `reasoning_content` is read by nothing" in done.err


def test_a_thought_that_is_not_trained_is_not_cut_off(project: Make, qtune: Qtune) -> None:
    long = chat({"content": "4.", "reasoning_content": "I add. " * 200})
    root = with_rows(project, [long], cutoff_len=128)
    assert "cuts off" not in qtune("data", "check", "-p", "mine", directory=root).out


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_columns_of_thoughts_are_found_in_files_of_any_kind(ending: str, project: Make, qtune: Qtune) -> None:
    rows = [{"instruction": f"q{n}", "output": f"a{n}", "Complex_CoT": f"t{n}"} for n in range(3)]
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    text = json.dumps(rows) if ending == "json" else "\n".join(lines) + "\n"
    root = project(
        {"data/datasets.yaml": f"rows: {{file_name: rows.{ending}}}\n", f"data/rows.{ending}": text}
    )
    done = qtune("data", "check", "rows", "--fix", "out.jsonl", directory=root)
    assert "the thought in `Complex_CoT` is read by nothing" in done.out
    [first, *_] = [json.loads(line) for line in (root / "out.jsonl").read_text().splitlines()]
    assert first["output"] == "<think>\nt0\n</think>\n\na0"


def test_thoughts_that_come_late_in_the_data_are_found(project: Make, qtune: Qtune) -> None:
    root = with_rows(project, [*THOUGHTS, *BESIDE])
    assert (
        "rows.jsonl:13, 14, 15, 16: the thought in"
        in qtune("data", "check", "rows", "-p", "mine", directory=root).out
    )


# --- judgements


def judged(*labels: bool) -> list[dict[str, Any]]:
    return [{"instruction": f"q{n}", "output": f"a{n}", "label": label} for n, label in enumerate(labels)]


@pytest.mark.parametrize(
    ("rows", "other", "said"),
    [
        ((True, True), (True,), "every answer is judged good"),
        ((False, False), (False,), "every answer is judged bad"),
        ((True, False), (True,), ""),
        ((True, True), (False,), ""),
    ],
)
def test_judgements_of_one_kind_are_told_where_no_training_data_has_others(
    rows: tuple[bool, ...], other: tuple[bool, ...], said: str, project: Make, qtune: Qtune
) -> None:
    entry = "{file_name: NAME.jsonl, columns: {prompt: instruction, response: output, kto_tag: label}}"
    root = project(
        {
            "data/datasets.yaml": "".join(
                f"{name}: {entry.replace('NAME', name)}\n" for name in ("rows", "more")
            ),
            "data/rows.jsonl": judged(*rows),
            "data/more.jsonl": [{**row, "output": "x"} for row in judged(*other)],
            "qtune.yaml": f"train: {{model_name_or_path: {TINY_MODEL}, dataset: 'rows,more'}}\n",
        }
    )
    done = qtune("data", "check", "-p", "kto", directory=root)
    assert done.code == 0, done.out
    assert done.out.count("is judged") == (2 if said else 0)
    assert said in done.out


# --- no end


@pytest.mark.parametrize(
    ("files", "fires"),
    [
        ({"tokenizer_config.json": {}}, True),
        ({"tokenizer_config.json": {"chat_template": "{{ messages }}"}}, False),
        ({"tokenizer_config.json": {"chat_template": [{"name": "default", "template": "x"}]}}, True),
        ({"tokenizer_config.json": {}, "chat_template.jinja": "{{ messages }}"}, False),
        ({}, False),
    ],
)
def test_no_template_and_none_in_the_tokenizer_trains_no_end(
    files: dict[str, Any], fires: bool, project: Make, qtune: Qtune
) -> None:
    model = {f"model/{name}": content for name, content in files.items()}
    root = project(
        {
            "model/config.json": {"model_type": "llama"},
            **model,
            "presets/mine.yaml": "extends: lora\ntrain: {model_name_or_path: model, template: null}\n",
            "qtune.yaml": "presets: [presets]\ntrain: {dataset: rows}\n",
        }
    )
    done = qtune("check", "mine", directory=root)
    assert ("does not learn to end its answers" in done.err) is fires
    assert done.code == 0, done.err
