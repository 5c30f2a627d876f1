"""Columns and tags that a user names for `data add`, and the line that asks for them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trees import Result, files_below, write_tree

from qtune.config.project import find_project
from qtune.data.registrations import read_registrations

Qtune = Callable[..., Result]
TICKETS = [
    {"id": f"t-{number}", "customer_question": f"how do I do {number}?", "agent_reply": f"like {number} this"}
    for number in range(3)
]
CALLS = [
    {
        "call": [
            {"who": "Kundin", "said": f"how do I do {number}?", "at": "9:00"},
            {"who": "Lena", "said": f"like {number} this", "at": "9:01"},
        ]
    }
    for number in range(3)
]


@pytest.fixture
def root(project: Callable[..., Path]) -> Path:
    return project()


def entry(root: Path, name: str) -> dict[str, Any]:
    read_registrations.cache_clear()
    return dict(read_registrations(find_project(root))[name].entry)


def typed(result: Result) -> list[str]:
    """The arguments of the command that a refusal says."""
    found = re.search(r"fix: .*`qtune (.*)`\n", result.err)
    assert result.code == 2 and found, result
    return shlex.split(found[1])


def test_names_that_are_not_recognised_can_be_said(root: Path, qtune: Qtune) -> None:
    """A first hour: a table of tickets with names of its own."""
    write_tree(root, {"tickets.jsonl": TICKETS})
    refused = qtune("data", "add", "tickets.jsonl", directory=root)
    assert "cannot tell what is asked and what is answered" in refused.err
    command = typed(refused)
    named = "prompt=customer_question,response=agent_reply"
    assert command == ["data", "add", "tickets.jsonl", "--columns", named]
    done = qtune(*command, directory=root)
    assert done.code == 0 and done.out.startswith("alpaca: customer_question -> agent_reply; 3 rows\n")
    assert entry(root, "tickets")["columns"] == {"prompt": "customer_question", "response": "agent_reply"}
    assert qtune("data", "check", "tickets", directory=root).code == 0
    assert qtune("check", "lora", "-d", "tickets", directory=root).code == 0


@pytest.mark.parametrize("options", [("a=x,b=y",), ("a=x", "b=y")])
def test_columns_may_stand_together_or_apart(root: Path, qtune: Qtune, options: tuple[str, ...]) -> None:
    write_tree(root, {"x.jsonl": TICKETS})
    names = {"a=x": "prompt=customer_question", "b=y": "response=agent_reply"}
    given = [",".join(names[part] for part in option.split(",")) for option in options]
    command = [word for option in given for word in ("--columns", option)]
    assert qtune("data", "add", "x.jsonl", *command, directory=root).code == 0
    assert entry(root, "x")["columns"] == {"prompt": "customer_question", "response": "agent_reply"}


@pytest.mark.parametrize(
    ("row", "columns", "written"),
    [
        # what is named wins over the usual names
        (
            {"question": "q", "answer": "a", "better": "b"},
            "response=better",
            {"prompt": "question", "response": "better"},
        ),
        ({"question, really": "q", "a=b": "a"}, "prompt=question, really,response=a=b", None),
        (
            {"q1": "q", "good": "a", "bad": "b"},
            "prompt=q1,chosen=good,rejected=bad",
            {"prompt": "q1", "chosen": "good", "rejected": "bad"},
        ),
        (
            {"q1": "q", "a1": "a", "liked": True},
            "prompt=q1,response=a1,kto_tag=liked",
            {"prompt": "q1", "response": "a1", "kto_tag": "liked"},
        ),
        (
            {"q1": "q", "a1": "a", "about": "s", "photo": "x.png"},
            "prompt=q1,response=a1,system=about,images=photo",
            {"prompt": "q1", "response": "a1", "system": "about", "images": "photo"},
        ),
    ],
)
def test_each_of_the_librarys_columns_can_be_named(
    root: Path, qtune: Qtune, row: dict[str, Any], columns: str, written: dict[str, str] | None
) -> None:
    write_tree(root, {"x.jsonl": [row, row]})
    done = qtune("data", "add", "x.jsonl", "--columns", columns, directory=root)
    assert done.code == 0, done.err
    found = entry(root, "x")
    assert found["columns"] == (written or {"prompt": "question, really", "response": "a=b"})
    assert bool(found.get("ranking")) == ("chosen" in columns)


def test_messages_can_be_named_to_their_keys_and_roles(root: Path, qtune: Qtune) -> None:
    write_tree(root, {"calls.jsonl": CALLS})
    command = typed(qtune("data", "add", "calls.jsonl", directory=root))
    assert command[3:] == ["--columns", "messages=call", "--tags", "role_tag=who,content_tag=said"]
    assert qtune(*command, directory=root).code == 0
    tags = {"role_tag": "who", "content_tag": "said", "user_tag": "Kundin", "assistant_tag": "Lena"}
    assert entry(root, "calls")["columns"] == {"messages": "call"}
    assert tags.items() <= entry(root, "calls")["tags"].items()
    swapped = "role_tag=who,content_tag=said,user_tag=Lena,assistant_tag=Kundin"
    options = ("--columns", "messages=call", "--tags", swapped, "--force")
    assert qtune("data", "add", "calls.jsonl", *options, directory=root).code == 0
    assert entry(root, "calls")["tags"]["user_tag"] == "Lena"


def test_a_role_that_cannot_be_told_is_asked_for_by_the_line_that_names_it(root: Path, qtune: Qtune) -> None:
    turns = [{"role": role, "content": role} for role in ("user", "Lena", "Lena", "user", "Lena")]
    write_tree(root, {"calls.jsonl": [{"messages": turns}, {"messages": turns[:2]}]})
    command = typed(qtune("data", "add", "calls.jsonl", directory=root))
    assert command[3:] == ["--tags", "assistant_tag=Lena"]
    assert qtune(*command, directory=root).code == 0
    assert entry(root, "calls")["tags"]["assistant_tag"] == "Lena"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--columns", "customer_question"), "--columns: `customer_question` is not KEY=NAME"),
        (("--columns", "prompt="), "--columns: `prompt=` is not KEY=NAME"),
        (("--columns", "promt=customer_question"), "has no key `promt`\n  fix: did you mean `prompt`"),
        (("--columns", "prompt=id,prompt=customer_question"), "`prompt` is named twice"),
        (("--columns", "prompt=customer_questoin"), "no row that was looked at has `customer_questoin`"),
        (("--columns", "messages=customer_question"), "`customer_question` (text) cannot be the column"),
        (("--columns", "prompt=customer_question"), "cannot tell what is asked"),
        (
            ("--columns", "prompt=customer_question,response=agent_reply,tools=number"),
            "`number` (a number) cannot be the column `tools` here",
        ),
        (("--tags", "role_tag=who"), "cannot tell what is asked"),
        (("--tags", "roletag=who"), "--tags: LLaMA-Factory has no key `roletag`"),
    ],
)
def test_what_cannot_be_so_is_refused_and_nothing_is_written(
    root: Path, qtune: Qtune, options: tuple[str, ...], message: str
) -> None:
    write_tree(root, {"tickets.jsonl": [{**row, "number": 1} for row in TICKETS]})
    before, text = files_below(root), (root / "data/datasets.yaml").read_text()
    refused = qtune("data", "add", "tickets.jsonl", *options, directory=root)
    assert refused.code == 2 and message in refused.err and "fix: " in refused.err
    assert files_below(root) == before and (root / "data/datasets.yaml").read_text() == text


def test_a_half_named_table_is_asked_for_the_other_half(root: Path, qtune: Qtune) -> None:
    write_tree(root, {"my tickets.jsonl": TICKETS})
    given = ("my tickets.jsonl", "--columns", "response=agent_reply", "-n", "ours")
    command = typed(qtune("data", "add", *given, directory=root))
    named = "prompt=customer_question,response=agent_reply"
    assert command == ["data", "add", "my tickets.jsonl", "-n", "ours", "--columns", named]
    assert qtune(*command, directory=root).code == 0 and entry(root, "ours")


def test_tags_for_rows_without_messages_are_refused(root: Path, qtune: Qtune) -> None:
    write_tree(root, {"x.jsonl": [{"question": "q", "answer": "a"}]})
    refused = qtune("data", "add", "x.jsonl", "--tags", "role_tag=who", directory=root)
    assert refused.code == 2 and "tags are for lists of messages" in refused.err


def test_a_registry_keeps_the_names_that_it_has(root: Path, qtune: Qtune) -> None:
    write_tree(root, {"theirs/dataset_info.json": {"a": {"file_name": "a.json"}}})
    refused = qtune("data", "add", "theirs", "--columns", "prompt=x", directory=root)
    assert refused.code == 2 and "leave out -n, --num-samples, --columns and --tags" in refused.err


def test_columns_of_a_hubs_data_that_cannot_be_looked_at_are_written_as_named(
    root: Path, qtune: Qtune, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(root / "cache"))
    named = ("--columns", "messages=call", "--tags", "role_tag=who")
    done = qtune("data", "add", "us/calls", *named, directory=root)
    assert done.code == 0 and "whether the rows have these columns is unknown" in done.err
    assert entry(root, "calls") == {
        "hf_hub_url": "us/calls",
        "formatting": "sharegpt",
        "columns": {"messages": "call"},
        "tags": {"role_tag": "who"},
    }
