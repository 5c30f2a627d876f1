"""The verdict on each row, and what rows are told apart by."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pictures import cut_picture, picture
from row_cases import CALL, CASES, CUT, ENTRIES, PICTURE, Case, registration

from qtune.data.attributes import Attributes, attributes
from qtune.data.reading.block import Block
from qtune.data.reading.column_values import Values
from qtune.data.registrations import Registration
from qtune.data.rows.check import RowCheck
from qtune.data.rows.examples import Example, Message, converter
from qtune.data.rows.plain import recognizer


@pytest.fixture
def media(tmp_path: Path) -> Path:
    picture(tmp_path / PICTURE)
    cut_picture(tmp_path / CUT)
    return tmp_path


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.registration}-{case.stage}")
def test_each_row_gets_its_verdict(case: Case, media: Path) -> None:
    found = RowCheck(registration(case.registration), case.stage, media).flaws(case.row)
    assert {flaw.kind: flaw.effect for flaw in found} == case.flaws
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.registration}-{case.stage}")
def test_the_fast_look_passes_no_row_that_the_close_look_does_not(case: Case) -> None:
    is_plain = recognizer(attributes(registration(case.registration)), case.stage)
    assert not (is_plain(case.row) and case.flaws)


@pytest.mark.parametrize("name", ["alpaca", "alpaca_full", "sharegpt", "sharegpt_full", "openai", "text"])
def test_the_fast_look_knows_most_good_rows(name: str) -> None:
    good = [case for case in CASES if case.registration == name and not case.flaws]
    known = [recognizer(attributes(registration(name)), case.stage)(case.row) for case in good]
    assert sum(known) > len(known) / 2


def test_every_message_is_the_same_for_all_rows_that_fail_alike(media: Path) -> None:
    """Nothing of a row is quoted but a short role, so that rows can be grouped by it."""
    for case in CASES:
        for flaw in RowCheck(registration(case.registration), case.stage, media).flaws(case.row):
            assert len(flaw.message) < 120 and "None" not in flaw.message, flaw
            assert flaw.fix and "None" not in flaw.fix, flaw


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("human:hi|human:hi|gpt:a", "two `human` messages in a row"),
        ("human:hi|observation:4|gpt:a", "a `observation` message follows a `human` message"),
        ("gpt:a", "the conversation begins with a `gpt` message"),
        ("human:hi|system:a|gpt:b", "a `system` message stands after the first message"),
        ("human:hi|gpt:a|human:bye", "the conversation ends with a `human` message, without an answer"),
        (
            "user:hi|gpt:a",
            "role `user` is unknown; the tags know `human`, `gpt`, `observation`, `function_call`, `system`",
        ),
    ],
)
def test_a_wrong_order_is_told_plainly(first: str, second: str) -> None:
    turns = [dict(zip(("from", "value"), turn.split(":"), strict=True)) for turn in first.split("|")]
    [flaw] = RowCheck(registration("sharegpt"), "sft").flaws({"conversations": turns})
    assert flaw.message == second


def test_media_are_looked_for_in_their_directory_and_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"instruction": "<image>?", "output": "red", "images": [PICTURE]}
    check = RowCheck(registration("alpaca_images"), "sft", tmp_path / "media")
    assert [flaw.kind for flaw in check.flaws(row)] == ["media-missing"]
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / PICTURE)
    assert check.flaws(row) == ()
    (tmp_path / "media").mkdir()
    (tmp_path / PICTURE).rename(tmp_path / "media" / PICTURE)
    assert check.flaws(row) == ()
    absolute = {**row, "images": [str(tmp_path / "media" / PICTURE)]}
    assert RowCheck(registration("alpaca_images"), "sft").flaws(absolute) == ()


def content(name: str | Registration, row: Any) -> int:
    of = registration(name) if isinstance(name, str) else name
    [number] = RowCheck(of, "sft").contents(Values([row]))
    return number


@pytest.mark.parametrize(
    ("name", "row", "same"),
    [
        (
            "alpaca",
            {"instruction": "q", "input": "", "output": "a"},
            {"output": "a", "instruction": "q", "id": 1},
        ),
        (
            "alpaca_full",
            {"instruction": "q", "output": "a"},
            {"instruction": "q", "output": "a", "history": []},
        ),
        (
            "sharegpt",
            {"conversations": [{"from": "human", "value": "q", "id": 3}]},
            {"conversations": [{"value": "q", "from": "human"}], "source": "x"},
        ),
        ("sharegpt", {"conversations": [None]}, {"conversations": [None], "id": 7}),
    ],
)
def test_unused_columns_and_the_order_of_keys_do_not_count(name: str, row: Any, same: Any) -> None:
    assert content(name, row) == content(name, same)


def test_content_does_not_depend_on_the_columns_names() -> None:
    plain = {"columns": {"prompt": "q", "response": "a"}}
    renamed = replace(registration("alpaca"), entry={"file_name": "x.parquet", **plain})
    assert content("alpaca", {"instruction": "1", "output": "2"}) == content(renamed, {"q": "1", "a": "2"})


@pytest.mark.parametrize(
    ("name", "row", "other"),
    [
        ("alpaca", {"instruction": "q", "output": "a"}, {"instruction": "q", "output": "b"}),
        ("alpaca", {"instruction": "q", "input": "r"}, {"instruction": "q", "output": "r"}),
        ("alpaca_kto", {"instruction": "q", "label": True}, {"instruction": "q", "label": False}),
        ("alpaca_images", {"instruction": "q", "images": ["a"]}, {"instruction": "q", "images": ["b"]}),
        (
            "sharegpt",
            {"conversations": [{"from": "human", "value": "q"}]},
            {"conversations": [{"from": "gpt", "value": "q"}]},
        ),
        (
            "openai",
            {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]},
            {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "2"}]}]},
        ),
        ("sharegpt", {"conversations": ["q"]}, {"conversations": ["r"]}),
        ("sharegpt", {"conversations": {"a": 1}}, {"conversations": {"a": 2}}),
    ],
)
def test_what_is_trained_on_counts(name: str, row: Any, other: Any) -> None:
    assert content(name, row) != content(name, other)


def test_any_row_at_all_has_a_positive_content_that_fits_64_bits() -> None:
    numbers = [content(case.registration, case.row) for case in CASES]
    numbers += [content("alpaca", row) for row in (None, 5, "text", [], [{}], {})]
    assert all(0 < number < 1 << 63 for number in numbers)


# --- blocks, looked at column by column

STAGES = ("pt", "sft", "rm", "dpo", "kto", "ppo")
ONE_BY_ONE: dict[str, Any] = {"no other row has this": 1}
"""Beside it rows have not all the same keys, and are looked at one by one."""


def drawn_block(names: Attributes, chance: random.Random) -> list[Any]:
    """Rows with the same keys, mostly good ones, and mostly such that some are equal."""
    keys = [column for column in names.columns if chance.random() < 0.9]
    if chance.random() < 0.3:
        keys.append("unused")
    values = {key: drawn_values(names if key == names.messages else None, chance) for key in keys}
    return [
        {key: chance.choice(values[key]) for key in chance.sample(keys, len(keys))}
        for _ in range(chance.randrange(1, 5))
    ]


def drawn_values(names: Attributes | None, chance: random.Random) -> list[Any]:
    """What a column is drawn from; names: of a column of conversations."""
    odd = [["hi", "", " ", None], [True, False], [None], [None, []], [5, 0, "hi"], [["a", "b"], []], [{}]]
    if names is None:
        return chance.choice([["hi", "there"]] * 4 + [["", "hi"]] * 2 + odd)
    if chance.random() < 0.1:
        return chance.choice(odd)
    contents = chance.choice([["hi", "there"]] * 6 + odd)
    order = [names.user_tag, names.assistant_tag] * 3
    conversations = []
    for _ in range(2):
        roles = [names.system_tag] * chance.randrange(2) + order[: chance.choice([0, 1, 2, 2, 2, 3, 4, 4, 6])]
        if chance.random() < 0.2:
            roles = chance.choices([*names.role_tags, "else", None, 5, []], k=3)
        more = {"tool_calls": chance.choice([None, [], [{"id": "1"}]])} if chance.random() < 0.2 else {}
        conversations.append(
            [{names.role_tag: role, names.content_tag: chance.choice(contents), **more} for role in roles]
        )
    return conversations


@pytest.mark.parametrize("name", ENTRIES)
def test_a_block_is_judged_as_its_rows_are_one_by_one(name: str) -> None:
    names, chance = attributes(registration(name)), random.Random(name)
    checks = {stage: RowCheck(registration(name), stage) for stage in STAGES}
    blocks = [[case.row] for case in CASES if case.registration == name]
    blocks += [drawn_block(names, chance) for _ in range(600)]
    for block in blocks:
        rows = Values(block)
        for stage, check in checks.items():
            known = [row for row in block if check._is_plain(row)]
            assert not any(map(check._look_closer, known)), (stage, block)
        assert check.contents(rows) == check.contents(Values([*block, ONE_BY_ONE]))[:-1], block


@pytest.mark.parametrize("name", ["alpaca", "alpaca_kto", "sharegpt", "sharegpt_kto", "openai", "text"])
def test_ordinary_rows_are_known_at_once(name: str) -> None:
    names = attributes(registration(name))
    turns = [
        {names.role_tag: role, names.content_tag: f"{role}!"}
        for role in (names.user_tag, names.assistant_tag)
    ]
    row: dict[str, Any] = dict.fromkeys(names.columns, "hi")
    if names.messages:
        row[names.messages] = turns
    if names.kto_tag:
        row[names.kto_tag] = True
    stage = "kto" if names.kto_tag else "pt" if name == "text" else "sft"
    assert recognizer(names, stage)(row) and not RowCheck(registration(name), stage).flaws(row)


TEXTS = [
    ("a form feed: \\frac", "the text: \frac{1}{2}", {"control-character"}),
    ("a backspace", "\beta", {"control-character"}),
    ("a null character", "a\x00b", {"control-character"}),
    ("delete", "a\x7fb", {"control-character"}),
    ("a lost character", "a\ufffdb", {"replacement-character"}),
    ("a placeholder", "<image>What?", {"placeholder-alone"}),
    ("white space", "a\tb\r\nc", set()),
    ("LaTeX, written rightly", "\\frac{1}{2} \\beta \\u00", set()),
    ("Chinese", "你好，世界。", set()),
]


@pytest.mark.parametrize(("text", "kinds"), [case[1:] for case in TEXTS], ids=[case[0] for case in TEXTS])
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_odd_characters_are_found_and_suspected(text: str, kinds: set[str], ensure_ascii: bool) -> None:
    row = {"instruction": "q", "output": text}
    check = RowCheck(registration("alpaca"), "sft")
    assert {flaw.kind for flaw in check.text_flaws(row)} == kinds
    written = json.dumps(row, ensure_ascii=ensure_ascii)
    for line in (written, written.replace("<", "\\u003c").replace("ufffd", "uFFFD")):
        assert check.suspects(Block([row], [1], (), line.encode())) or not kinds


def test_clean_text_is_not_suspected_and_text_that_is_unknown_is() -> None:
    check = RowCheck(registration("alpaca"), "sft")
    assert not check.suspects(Block([], [], (), r'{"output": "你好\n<b> \\frac \\beta \u4f60"}'.encode()))
    assert check.suspects(Block([{"output": "from a columnar file"}], [1]))


def test_odd_characters_in_unused_columns_do_not_count() -> None:
    check = RowCheck(registration("sharegpt"), "sft")
    assert check.text_flaws({"id": "\x00", "conversations": [{"from": "human", "value": "hi"}]}) == []
    nested = {"conversations": [{"from": "human", "value": "hi\x00"}]}
    assert [flaw.kind for flaw in check.text_flaws(nested)] == ["control-character"]


def test_placeholders_with_a_column_are_counted_instead() -> None:
    row = {"instruction": "<image>?", "output": "a", "images": ["x"]}
    assert RowCheck(registration("alpaca_images"), "sft").text_flaws(row) == []


@pytest.mark.parametrize(
    ("name", "row", "example"),
    [
        (
            "alpaca_full",
            {"instruction": "a", "input": "b", "output": "c", "history": [["q", "r"]], "system": "s"},
            Example(
                [Message("user", "q"), Message("assistant", "r"), Message("user", "a\nb")],
                [Message("assistant", "c")],
                "s",
            ),
        ),
        (
            "alpaca_kto",
            {"instruction": "a", "output": "c", "label": False},
            Example([Message("user", "a")], [Message("assistant", ""), Message("assistant", "c")]),
        ),
        ("alpaca", {"instruction": "a"}, Example([Message("user", "a")], [])),
        (
            "sharegpt_pair",
            {
                "conversations": [{"from": "human", "value": "a"}],
                "chosen": {"from": "gpt", "value": "b"},
                "rejected": {"from": "gpt", "value": "c"},
            },
            Example([Message("user", "a")], [Message("assistant", "b"), Message("assistant", "c")]),
        ),
        ("sharegpt", {"conversations": [{"from": "human", "value": "a"}]}, Example([], [])),
        (
            "openai",
            {
                "messages": [
                    {"role": "system", "content": "s"},
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "tool_calls": [{"function": json.loads(CALL)}]},
                    {"role": "tool", "content": "1"},
                    {"role": "tool", "content": "2"},
                    {"role": "assistant", "content": "c"},
                ]
            },
            Example(
                [
                    Message("user", "a"),
                    Message("function", f"[{CALL}]"),
                    Message("observation", "1\n</tool_response>\n<tool_response>\n2"),
                ],
                [Message("assistant", "c")],
                "s\ndetailed thinking off",
            ),
        ),
        (
            "alpaca_images",
            {"instruction": "<image>", "output": "b", "images": "x.png"},
            Example([Message("user", "<image>")], [Message("assistant", "b")], images=["x.png"]),
        ),
    ],
)
def test_rows_convert_as_the_librarys_converters_do(name: str, row: Any, example: Example) -> None:
    made = converter(registration(name))(row)
    assert (list(made.prompt), list(made.response)) == (example.prompt, example.response)
    assert (made.system, made.tools) == (example.system, example.tools)
    assert list(made.images) == list(example.images)
