"""Looking at data, proposing its registration, and writing that without touching anything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import data_shapes as shapes
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import Result, write_tree

from qtune.config.project import find_project
from qtune.data.adding.detect import Proposal, propose
from qtune.data.adding.register import add_entries, as_registration, file_name, with_entries
from qtune.data.registrations import complete_entry, read_registrations
from qtune.data.rows.examples import converter
from qtune.errors import QtuneError
from qtune.files import parse_yaml

Qtune = Callable[..., Result]
OPENAI_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}


@pytest.fixture
def root(project: Callable[..., Path]) -> Path:
    return project()


def proposal(*rows: dict[str, Any]) -> Proposal:
    return propose(rows, "rows.jsonl")


def refused(*rows: dict[str, Any]) -> QtuneError:
    with pytest.raises(QtuneError) as raised:
        proposal(*rows)
    assert raised.value.where == "rows.jsonl" and raised.value.fix
    return raised.value


def talk(*said: str, role: str = "role", content: str = "content") -> list[dict[str, str]]:
    """`talk("user: hi", "assistant: hello")` as messages."""
    return [dict(zip((role, content), line.split(": ", 1), strict=True)) for line in said]


def added(qtune: Qtune, root: Path, *arguments: str) -> Result:
    result = qtune("data", "add", *arguments, directory=root)
    assert result.code == 0, result
    return result


def entries(root: Path) -> dict[str, Any]:
    return parse_yaml((root / "data/datasets.yaml").read_text(encoding="utf-8"), "datasets.yaml")[0]


# ── LLaMA-Factory's own shapes ─────────────────────────────────────────────────────────────────────────

KINDS = {
    "alpaca": (shapes.alpaca, "alpaca", "sft", {}),
    "alpaca_with_history": (
        shapes.alpaca_with_history,
        "alpaca",
        "sft",
        {
            "columns": {
                "prompt": "instruction",
                "query": "input",
                "history": "history",
                "response": "output",
                "system": "system",
            }
        },
    ),
    "sharegpt": (shapes.sharegpt, "sharegpt", "sft", {}),
    "tool_calls": (
        shapes.tool_calls,
        "sharegpt",
        "sft",
        {"columns": {"messages": "conversations", "tools": "tools"}},
    ),
    "openai": (shapes.openai, "sharegpt", "sft", {"columns": {"messages": "messages"}, "tags": OPENAI_TAGS}),
    "openai_tool_calls": (
        shapes.openai_tool_calls,
        "openai",
        "sft",
        {
            "columns": {"messages": "messages", "tools": "tools"},
            "tags": OPENAI_TAGS | {"observation_tag": "tool"},
        },
    ),
    "dpo": (
        shapes.dpo,
        "sharegpt",
        "dpo",
        {"columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}},
    ),
    "dpo_text": (
        shapes.dpo_text,
        "alpaca",
        "dpo",
        {
            "columns": {
                "prompt": "instruction",
                "query": "input",
                "chosen": "chosen",
                "rejected": "rejected",
            }
        },
    ),
    "kto": (
        shapes.kto,
        "sharegpt",
        "kto",
        {"columns": {"messages": "messages", "kto_tag": "label"}, "tags": OPENAI_TAGS},
    ),
    "kto_text": (
        shapes.kto_text,
        "alpaca",
        "kto",
        {
            "columns": {
                "prompt": "instruction",
                "query": "input",
                "response": "output",
                "kto_tag": "kto_tag",
            }
        },
    ),
    "images": (
        shapes.images,
        "sharegpt",
        "sft",
        {"columns": {"messages": "messages", "images": "images"}, "tags": OPENAI_TAGS},
    ),
    "videos": (
        shapes.videos,
        "sharegpt",
        "sft",
        {"columns": {"messages": "messages", "videos": "videos"}, "tags": OPENAI_TAGS},
    ),
    "audios": (
        shapes.audios,
        "sharegpt",
        "sft",
        {"columns": {"messages": "messages", "audios": "audios"}, "tags": OPENAI_TAGS},
    ),
    "plain_text": (shapes.plain_text, "alpaca", "pt", {"columns": {"prompt": "text"}}),
}


TABLES = ("alpaca", "dpo_text", "kto_text", "plain_text")


@pytest.mark.parametrize("name", KINDS)
def test_every_shape_of_the_librarys_demo_data_is_recognised(name: str) -> None:
    rows, formatting, stage, blocks = KINDS[name]
    found = proposal(*rows())
    assert (found.formatting, found.stage) == (formatting, stage)
    usual = {} if formatting == "alpaca" else {"formatting": formatting}
    assert found.entry == usual | ({"ranking": True} if stage == "dpo" else {}) | blocks


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        (name, suffix)
        for name in KINDS
        for suffix in (".json", ".jsonl", ".csv", ".parquet", ".arrow", "")
        if suffix != ".csv" or name in TABLES
    ],
)
def test_every_shape_is_registered_from_every_kind_of_file(
    qtune: Qtune, root: Path, name: str, suffix: str
) -> None:
    rows = KINDS[name][0]()
    shapes.write_data(root / f"data/{name}{suffix}", rows)
    added(qtune, root, f"data/{name}{suffix}")
    registration = read_registrations(find_project(root))[name]
    assert registration.entry == {"file_name": f"{name}{suffix}", **KINDS[name][3], **registration.entry}
    # what the library is given reads exactly the columns that were recognised
    written = complete_entry(registration, root / "rendered/x")
    assert written.get("columns", {}).keys() == proposal(*rows).columns.keys() or "columns" not in written
    sample = converter(registration)(rows[0])
    assert sample.prompt and (sample.response or KINDS[name][2] == "pt")


def test_lines_of_text_are_for_pre_training(qtune: Qtune, root: Path) -> None:
    shapes.write_data(root / "wiki.txt", shapes.text_lines())
    result = added(qtune, root, "wiki.txt")
    assert result.out.startswith("alpaca, plain text: text; 6 rows\n")
    assert entries(root)["wiki"] == {"file_name": "../wiki.txt", "columns": {"prompt": "text"}}
    assert "qtune train pretrain -d wiki" in result.err


# ── other people's shapes ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"question": "1+1?", "answer": "2"}, {"prompt": "question", "response": "answer"}),
        ({"problem": "p", "solution": "s", "answer": "a"}, {"prompt": "problem", "response": "solution"}),
        ({"input": "hi", "output": "你好"}, {"prompt": "input", "response": "output"}),
        ({"text": "hi", "target": "你好"}, {"prompt": "text", "response": "target"}),
        ({"Question": "q", "Answer": "a"}, {"prompt": "Question", "response": "Answer"}),
        ({"问题": "q", "回答": "a"}, {"prompt": "问题", "response": "回答"}),
        ({"prompt": "q", "completion": "a"}, {"prompt": "prompt", "response": "completion"}),
        ({"query": "q", "response": "a"}, {"prompt": "query", "response": "response"}),
        (
            {"question": "q", "context": "c", "answer": "a"},
            {"prompt": "question", "query": "context", "response": "answer"},
        ),
        (
            {"system_prompt": "s", "question": "q", "response": "a"},
            {"prompt": "question", "response": "response", "system": "system_prompt"},
        ),
        # stanford_alpaca has the whole prompt in `text` beside its parts
        (
            {"instruction": "q", "input": "", "output": "a", "text": "q a"},
            {"prompt": "instruction", "query": "input", "response": "output"},
        ),
        (
            {"instruction": "q", "input": None, "output": "a"},
            {"prompt": "instruction", "query": "input", "response": "output"},
        ),
        ({"body": "long text", "id": 3}, {"prompt": "body"}),
        ({"text": "long text", "label": 1, "url": "u"}, {"prompt": "text"}),
        (
            {"prompt": "q", "completion": "a", "label": True},
            {"prompt": "prompt", "response": "completion", "kto_tag": "label"},
        ),
        (
            {"instruction": "<image>q", "output": "a", "image": "a.png"},
            {"prompt": "instruction", "response": "output", "images": "image"},
        ),
    ],
)
def test_questions_and_answers_are_known_by_usual_names(row: dict[str, Any], columns: dict[str, str]) -> None:
    assert proposal(row).columns == columns


@pytest.mark.parametrize(
    ("row", "tags"),
    [
        ({"messages": talk("user: a", "model: b")}, {"user_tag": "user", "assistant_tag": "model"}),
        ({"dialog": talk("Human: a", "Assistant: b")}, {"user_tag": "Human", "assistant_tag": "Assistant"}),
        (
            {"messages": talk("developer: s", "user: a", "assistant: b")},
            {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "developer"},
        ),
        # whose names say nothing, by whose turn it is
        ({"messages": talk("甲: a", "乙: b", "甲: c", "乙: d")}, {"user_tag": "甲", "assistant_tag": "乙"}),
        # a column and keys of other names
        (
            {"history_of_talk": talk("user: a", "bot: b", role="speaker", content="text")},
            {"role_tag": "speaker", "content_tag": "text", "user_tag": "user", "assistant_tag": "bot"},
        ),
        # `function` answers in OpenAI's older messages, and asks elsewhere
        (
            {"messages": talk("user: a", "assistant: b", "function: c", "assistant: d")},
            {"observation_tag": "function"},
        ),
        (
            {"messages": talk("user: a", "function: b", "tool: c", "assistant: d")},
            {"function_tag": "function"},
        ),
    ],
)
def test_roles_are_known_by_name_or_by_turn(row: dict[str, Any], tags: dict[str, str]) -> None:
    found = proposal(row)
    assert found.formatting == "sharegpt"
    assert {name: found.tags.get(name) for name in tags} == tags


def test_a_media_column_of_llava_and_what_is_not_used_are_named() -> None:
    row = {
        "id": 1,
        "image": "a.jpg",
        "conversations": talk("human: <image>a", "gpt: b", role="from", content="value"),
    }
    found = proposal(row)
    assert found.columns == {"messages": "conversations", "images": "image"} and found.unused == ("id",)


def test_a_column_that_no_row_fills_does_not_make_answers_ranked_or_judged() -> None:
    row = {"messages": talk("user: a", "assistant: b"), "chosen": None, "rejected": None, "label": None}
    assert proposal(row).stage == "sft"


def test_one_odd_row_does_not_change_what_the_others_are() -> None:
    rows = [{"instruction": "a", "output": "b"}] * 5 + [{"instruction": None, "output": 5}]
    assert proposal(*rows).columns == {"prompt": "instruction", "response": "output"}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (
            {"messages": talk("user: a", "assistant: b", "tool: c", "tool: d", "assistant: e")},
            "two results at once",
        ),
        ({"messages": talk("user: a", "assistant: b"), "tools": [{"name": "f"}]}, "tools as a list"),
    ],
)
def test_only_what_sharegpt_cannot_read_is_openai_and_says_what_that_adds(
    row: dict[str, Any], why: str
) -> None:
    found = proposal(row)
    assert found.formatting == "openai", why
    assert any("detailed thinking off" in note for note in found.notes)


def test_answers_that_cannot_be_ranked_leave_the_conversation() -> None:
    lists = {"chosen": talk("user: a", "assistant: b"), "rejected": talk("user: a", "assistant: c")}
    found = proposal({"prompt": "a", "messages": talk("user: a", "assistant: b"), **lists})
    assert found.stage == "sft" and "chosen" not in found.columns
    assert found.notes[0].startswith("not read: `chosen` is a list of objects")


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (
            {"a": "x", "b": "y"},
            "cannot tell what is asked and what is answered: rows have `a` (text), `b` (text)",
        ),
        ({"question": "q", "answer": 4}, "`answer` is a number"),
        ({"question": "q", "answers": {"text": ["a"]}, "title": "t"}, "cannot tell what is asked"),
        (
            {"prompt": "q", "chosen": talk("assistant: b"), "rejected": talk("assistant: c")},
            "`rejected` is a list of objects; LLaMA-Factory takes each as text",
        ),
        ({"chosen": "a b", "rejected": "a c"}, "cannot tell what is asked"),
        (
            {"prompt": talk("user: a"), "completion": talk("assistant: b")},
            "`completion` is a list of objects",
        ),
        (
            {"conversation": [{"input": "q", "output": "a"}]},
            "one object that has the rows in its `conversation`",
        ),
        ({"version": 1, "data": [{"instruction": "a"}]}, "one object that has the rows in its `data`"),
        (
            {"messages": talk("user: a", "user: b")},
            "cannot tell which role is the assistant's; there are `user`",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]},
            "`content` is a list of parts",
        ),
    ],
)
def test_what_cannot_be_read_or_told_is_refused_in_one_line(row: dict[str, Any], what: str) -> None:
    assert what in refused(row).what


NAMES = (
    "instruction",
    "input",
    "output",
    "messages",
    "conversations",
    "chosen",
    "rejected",
    "label",
    "tools",
    "text",
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=2)),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "tool_calls"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
MESSAGE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "tool", "x"]),
        "content": st.one_of(st.text(max_size=2), VALUES),
    }
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(NAMES), st.lists(MESSAGE, max_size=3) | MESSAGE | VALUES), min_size=1
    )
)
def test_whatever_the_rows_hold_they_are_recognised_or_refused(rows: list[dict[str, Any]]) -> None:
    try:
        found = propose(rows, "rows.jsonl")
    except QtuneError as error:
        assert error.where == "rows.jsonl" and error.fix and "\n" not in error.what
    else:
        assert found.columns and str(found).startswith(found.formatting) and found.entry is not None


def test_the_example_of_a_refusal_has_the_datas_own_keys() -> None:
    assert "--columns prompt=c,response=d`" in str(refused({"c": "x", "d": "y"}))


# ── files ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("tree", "source", "said"),
    [
        ({"x.jsonl": ""}, "x.jsonl", "x.jsonl"),
        ({"x.json": "[]"}, "x.json", "x.json"),
        ({"x.jsonl": "{a\n"}, "x.jsonl", "x.jsonl:1: is not JSON"),
        ({"x.tsv": "a\tb\n"}, "x.tsv", "x.tsv: "),
        ({"x.jsonl.gz": "\x1f"}, "x.jsonl.gz", "x.jsonl.gz: "),
        ({"x.xlsx": "PK"}, "x.xlsx", "x.xlsx: "),
        ({"d/a.jsonl": [{"text": "a"}], "d/b.txt": "b\n", "d/c.jsonl": [{"text": "a"}]}, "d", "d/b.txt: "),
        ({"d/.keep": ""}, "d", "d/.keep: "),
        (
            {"x.json": '{\n "data": [\n  {"instruction": "a"}\n ]\n}'},
            "x.json",
            "x.json: is one object that has the",
        ),
        ({}, "nowhere.jsonl", "nowhere.jsonl: there is no such file"),
        ({}, "data/nowhere", "data/nowhere: there is no such file"),
        ({"数据.jsonl": [{"text": "a"}]}, "数据.jsonl", "give one with -n"),
    ],
)
def test_data_that_cannot_be_added_is_one_line_and_nothing_is_written(
    qtune: Qtune, root: Path, tree: dict[str, Any], source: str, said: str
) -> None:
    write_tree(root, tree)
    before = (root / "data/datasets.yaml").read_bytes()
    result = qtune("data", "add", source, directory=root)
    assert result.code == 2 and said in result.err and result.err.count("error: ") == 1, result
    assert (root / "data/datasets.yaml").read_bytes() == before


def test_a_default_column_deeper_in_the_data_is_not_read_as_one(qtune: Qtune, root: Path) -> None:
    # the library would look for `input` in every row, and end in a KeyError
    write_tree(root, {"x.jsonl": [{"prompt": "q", "completion": "a", "meta": {"input": 1}}]})
    added(qtune, root, "x.jsonl")
    registration = read_registrations(find_project(root))["x"]
    assert registration.columns() == {"prompt": "prompt", "response": "completion"}


def test_only_the_first_rows_of_a_long_file_are_read(qtune: Qtune, root: Path) -> None:
    write_tree(root, {"x.jsonl": [{"question": "q", "answer": "a"}] * 3000})
    result = added(qtune, root, "x.jsonl")
    assert result.out.startswith("alpaca: question -> answer; the first 1,000 rows were looked at\n")


def test_paths_move_with_the_project_where_they_lie_in_it(root: Path, tmp_path: Path) -> None:
    project = find_project(root)
    assert file_name(root / "data/x.jsonl", project) == "x.jsonl"
    assert file_name(root / "x.jsonl", project) == "../x.jsonl"
    assert file_name(tmp_path / "far/x.jsonl", project) == str(tmp_path / "far/x.jsonl")
    # a link is named as the link: what it leads to may differ from machine to machine
    (root / "data/big").symlink_to(tmp_path)
    assert file_name(root / "data/big/x.jsonl", project) == "big/x.jsonl"
    # a repository moves as a whole
    (tmp_path / ".git").mkdir()
    assert file_name(tmp_path / "near/x.jsonl", project) == "../../near/x.jsonl"


# ── writing ────────────────────────────────────────────────────────────────────────────────────────────

REGISTERED = """\
# ours
# two lines

first:   # the first
    file_name: "a.jsonl"     # odd spaces

# about the second
second: {file_name: b.jsonl,
         columns: {prompt: q}}   # flow
# after the second


third:
  file_name: c.jsonl
  columns:
    prompt: q  # asked
    # an answer
    response: a
  # the end of third
# the end
"""
NEW = {"file_name": "n.jsonl", "columns": {"prompt": "p"}}
NEW_LINES = "{}:\n  file_name: n.jsonl\n  columns:\n    prompt: p\n"


def test_a_new_entry_is_appended_and_nothing_else_changes() -> None:
    assert with_entries(REGISTERED, {"new": NEW}, "x") == f"{REGISTERED}\n{NEW_LINES.format('new')}"


@pytest.mark.parametrize(
    ("name", "old"),
    [
        ("first", 'first:   # the first\n    file_name: "a.jsonl"     # odd spaces\n'),
        ("second", "second: {file_name: b.jsonl,\n         columns: {prompt: q}}   # flow\n"),
        (
            "third",
            "third:\n  file_name: c.jsonl\n  columns:\n    prompt: q  # asked\n"
            "    # an answer\n    response: a\n",
        ),
    ],
)
def test_a_replaced_entry_keeps_its_place_and_the_comments_around_it(name: str, old: str) -> None:
    assert with_entries(REGISTERED, {name: NEW}, "x") == REGISTERED.replace(old, NEW_LINES.format(name))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", NEW_LINES.format("new")),
        ("# only a comment", f"# only a comment\n\n{NEW_LINES.format('new')}"),
        ("a: {file_name: a}\n\n", f"a: {{file_name: a}}\n\n{NEW_LINES.format('new')}"),
        (
            "a: {file_name: a}\r\n",
            f"a: {{file_name: a}}\r\n\r\n{NEW_LINES.format('new')}".replace("\n", "\r\n").replace(
                "\r\r", "\r"
            ),
        ),
        ("\ufeffa: {file_name: a}\n", f"\ufeffa: {{file_name: a}}\n\n{NEW_LINES.format('new')}"),
    ],
)
def test_ends_of_files_and_lines_stay_what_they_are(text: str, expected: str) -> None:
    assert with_entries(text, {"new": NEW}, "x") == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{mine: {file_name: a}}\n", "new"),
        ("{mine: {file_name: a}}\n", "mine"),
        ("mine: {file_name: a}\n...\n", "new"),
        ("  mine: {file_name: a}\n", "new"),
        ("mine: &a {file_name: a}\nother: *a\n", "mine"),
    ],
)
def test_what_cannot_be_edited_as_text_is_refused_with_what_to_paste(text: str, name: str) -> None:
    with pytest.raises(QtuneError) as raised:
        with_entries(text, {name: NEW}, "data/datasets.yaml")
    assert raised.value.where == "data/datasets.yaml" and NEW_LINES.format(name) in str(raised.value.fix)


def test_a_taken_name_is_refused_with_its_place_and_replaced_by_force(qtune: Qtune, root: Path) -> None:
    write_tree(root, {"rows.jsonl": [{"question": "q", "answer": "a"}]})
    result = qtune("data", "add", "rows.jsonl", directory=root)
    assert result.code == 2 and "data/datasets.yaml:1: `rows` is registered already" in result.err
    added(qtune, root, "rows.jsonl", "--force")
    assert entries(root)["rows"]["file_name"] == "../rows.jsonl"


def test_the_file_is_made_with_a_word_about_it(tmp_path: Path) -> None:
    project = find_project(write_tree(tmp_path / "new", {"qtune.yaml": ""}))
    path = add_entries(project, {"x": NEW})
    assert path.read_text().startswith("# The datasets that runs may name.")
    assert read_registrations(find_project(tmp_path / "new"))["x"].entry == NEW


def test_a_dry_run_shows_everything_and_writes_nothing(qtune: Qtune, root: Path) -> None:
    write_tree(root, {"x.jsonl": shapes.openai()})
    before = (root / "data/datasets.yaml").read_bytes()
    result = added(qtune, root, "x.jsonl", "--dry-run")
    assert "x:\n  file_name: ../x.jsonl\n" in result.out
    assert "Double 1.<|im_end|>\n  <|im_start|>assistant\n  [[2<|im_end|>" in result.out
    assert (root / "data/datasets.yaml").read_bytes() == before


def test_what_is_wrong_with_the_rows_is_a_short_warning_and_they_are_registered(
    qtune: Qtune, root: Path
) -> None:
    rows = [{"question": "q"}, {"question": "q", "answer": ""}, *[{"question": "Why?", "answer": "So."}] * 5]
    write_tree(root, {"x.jsonl": rows})
    result = added(qtune, root, "x.jsonl")
    assert "1 of these rows: `answer` is missing or null (left out of the training)\n" in result.err
    assert "1 of these rows: `answer` is empty (trained on as it is)\n" in result.err
    assert "next: `qtune data check x`" in result.err
    assert "  Why?<|im_end|>\n  <|im_start|>assistant\n  [[So.<|im_end|>" in result.out


def test_without_a_model_the_first_sample_is_shown_by_roles(qtune: Qtune, root: Path) -> None:
    write_tree(root, {"qtune.yaml": "", "x.jsonl": [{"question": "Why?", "answer": "So."}]})
    assert "the first sample:\n  user: Why?\n  assistant: So.\n" in added(qtune, root, "x.jsonl").out


def test_json_has_the_entry_and_the_first_row(qtune: Qtune, root: Path) -> None:
    write_tree(root, {"x.jsonl": shapes.dpo()})
    told = json.loads(added(qtune, root, "x.jsonl", "--json", "--num-samples", "4").out)
    assert told["entry"] == entries(root)["x"] and told["entry"]["num_samples"] == 4
    assert (told["stage"], told["rows"]) == ("dpo", 6)
    assert told["sample"] == [
        {"role": "user", "content": "Double 1."},
        {"role": "assistant (chosen)", "content": "2"},
        {"role": "assistant (rejected)", "content": "1"},
    ]


# ── hubs ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty local cache of Hugging Face's hub, and no network."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("USE_MODELSCOPE_HUB", raising=False)
    return tmp_path / "cache"


def cached(cache: Path, name: str, tree: dict[str, Any]) -> None:
    repository = cache / f"datasets--{name.replace('/', '--')}"
    write_tree(repository / "snapshots/abc", tree)


def test_a_downloaded_data_set_of_a_hub_is_looked_at(qtune: Qtune, root: Path, cache: Path) -> None:
    tree = {"README.md": "", "dataset_infos.json": {}, "math/test.jsonl": [{"text": "x"}]}
    cached(
        cache,
        "us/talks",
        {**tree, "math/train-0.jsonl": shapes.openai(), "law/train-0.jsonl": [{"text": "x"}]},
    )
    result = added(qtune, root, "us/talks", "--subset", "math")
    assert result.out.startswith(
        "sharegpt: messages [role: user, assistant, system; text: content]; 6 rows\n"
    )
    assert entries(root)["talks"] == {
        "hf_hub_url": "us/talks",
        "subset": "math",
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": OPENAI_TAGS,
    }


def test_a_data_set_that_nobody_saw_is_registered_and_says_so(qtune: Qtune, root: Path, cache: Path) -> None:
    options = ("--split", "validation", "--folder", "v2", "--num-samples", "100", "-n", "mine")
    result = added(qtune, root, "us/talks", *options)
    assert entries(root)["mine"] == {
        "hf_hub_url": "us/talks",
        "split": "validation",
        "folder": "v2",
        "num_samples": 100,
    }
    assert "columns unknown: it is not in the local cache, and HF_HUB_OFFLINE is set" in result.err


@pytest.fixture
def hub(cache: Path) -> Iterator[str]:
    """The address of a hub that has one data set, us/talks, and speaks the little that is asked of it."""
    files = {"README.md": b"", "data/train.jsonl": b'{"question": "q", "answer": "a"}\n'}
    siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
    info = json.dumps({"id": "us/talks", "sha": "a" * 40, "siblings": siblings}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            name = path.removeprefix(f"/datasets/us/talks/resolve/{'a' * 40}/")
            content = info if path == "/api/datasets/us/talks" else files.get(name)
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("X-Repo-Commit", "a" * 40)
            self.send_header("ETag", f'"{name.replace("/", "-")}"')
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def online(root: Path, endpoint: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: huggingface_hub reads its variables once."""
    variables = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"}
    argv = [sys.executable, "-m", "qtune", "data", "add", *arguments]
    return subprocess.run(argv, cwd=root, env=variables, capture_output=True, text=True)


def test_a_file_of_a_data_set_is_downloaded_where_the_training_finds_it(
    qtune: Qtune, root: Path, cache: Path, hub: str
) -> None:
    done = online(root, hub, "us/talks")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("alpaca: question -> answer; 1 row\n")
    assert entries(root)["talks"] == {
        "hf_hub_url": "us/talks",
        "columns": {"prompt": "question", "response": "answer"},
    }
    # it is in the cache now, so that no network is needed
    added(qtune, root, "us/talks", "-n", "again")
    assert entries(root)["again"] == entries(root)["talks"]


def test_a_data_set_that_the_hub_does_not_have_is_refused(root: Path, hub: str) -> None:
    done = online(root, hub, "us/typo")
    assert done.returncode == 2 and "us/typo: the hub has no such data set" in done.stderr, done.stderr


def test_a_hub_that_cannot_be_reached_keeps_nothing_from_being_registered(root: Path, cache: Path) -> None:
    done = online(root, "http://127.0.0.1:9", "us/talks")
    assert done.returncode == 0 and entries(root)["talks"] == {"hf_hub_url": "us/talks"}
    assert "columns unknown: http://127.0.0.1:9 cannot be reached" in done.stderr


@pytest.mark.parametrize("given", ["option", "variable"])
def test_modelscope_has_a_key_of_its_own(
    qtune: Qtune, root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    if given == "variable":
        monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    added(qtune, root, "us/talks", *(("--hub", "modelscope") if given == "option" else ()))
    assert entries(root)["talks"] == {"ms_hub_url": "us/talks"}


def test_options_of_hubs_are_refused_for_files(qtune: Qtune, root: Path) -> None:
    result = qtune("data", "add", "data/rows.jsonl", "-n", "x", "--subset", "a", directory=root)
    assert result.code == 2 and "--subset is for a hub's data set" in result.err


# ── dataset_info.json ──────────────────────────────────────────────────────────────────────────────────

INFO = {
    "here": {"file_name": "here.json", "columns": {"prompt": "q", "answer": "a"}, "file_sha1": "0"},
    "gone": {"file_name": "gone.json", "formatting": "sharegpt", "tags": {"role_tag": "role"}},
    "far": {"hf_hub_url": "us/far", "ms_hub_url": "them/far", "ranking": True, "num_samples": 7},
    "script": {"script_url": "make_it", "subset": "x"},
}


@pytest.mark.parametrize("source", ["LF/data/dataset_info.json", "LF/data"])
def test_the_librarys_registry_is_taken_over_whole(qtune: Qtune, root: Path, source: str) -> None:
    write_tree(root / "LF/data", {"dataset_info.json": INFO, "here.json": shapes.alpaca()})
    result = added(qtune, root, source)
    assert result.out == "4 datasets registered in data/datasets.yaml\n"
    assert "1 of them have no file here: gone" in result.err
    assert "no such keys: here.columns.answer, here.file_sha1" in result.err
    assert entries(root) == {
        "rows": {"file_name": "rows.jsonl"},
        "here": {"file_name": "../LF/data/here.json", "columns": {"prompt": "q"}},
        "gone": {**INFO["gone"], "file_name": "../LF/data/gone.json"},
        "far": INFO["far"],
        "script": INFO["script"],
    }


def test_a_registry_with_taken_names_is_refused_for_all_of_them(qtune: Qtune, root: Path) -> None:
    write_tree(root, {"LF/dataset_info.json": {**INFO, "rows": {"file_name": "x.json"}}})
    added(qtune, root, "LF/dataset_info.json", "--force")
    before = (root / "data/datasets.yaml").read_bytes()
    result = qtune("data", "add", "LF/dataset_info.json", directory=root)
    assert result.code == 2 and "`here`, `gone`, `far`, `script`, `rows` are registered already" in result.err
    assert (root / "data/datasets.yaml").read_bytes() == before


@pytest.mark.parametrize("content", ["[1]", "{}", '{"features": {"a": 1}}', '{"a": 1}'])
def test_a_file_of_that_name_that_is_no_registry_is_refused(qtune: Qtune, root: Path, content: str) -> None:
    write_tree(root, {"x/dataset_info.json": content})
    result = qtune("data", "add", "x/dataset_info.json", directory=root)
    assert result.code == 2 and result.err.count("error: ") == 1 and "x/dataset_info.json" in result.err


def test_an_entry_that_is_not_written_reads_like_one_that_is(root: Path) -> None:
    project = find_project(root)
    proposed = as_registration("rows", {"file_name": "rows.jsonl"}, project)
    assert proposed.path == read_registrations(project)["rows"].path
