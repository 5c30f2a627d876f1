"""Columns that a file lacks: the check's verdict on each registration is that of LLaMA-Factory's loader."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from scratch import environment

from qtune.checks.datasets import check_registration
from qtune.data.registrations import Registration, complete_entry
from qtune.data.scanning.scan import scan
from qtune.data.sources import DataSource
from qtune.files import Document

HERE = Path(__file__).parent
MODEL = HERE.parents[1] / "data" / "tiny-qwen2"
ROW = {"instruction": "a", "output": "b"}
CHAT = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
MESSAGES = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
ASKED = {
    "conversations": CHAT["conversations"][:1],
    **dict.fromkeys(("chosen", "rejected"), CHAT["conversations"][1]),
}
OPENAI = {
    "formatting": "openai",
    "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
}


def written(row: dict[str, Any], suffix: str) -> bytes:
    """Two rows in a file of that type."""
    rows = [row, row]
    if suffix in ("jsonl", "json"):
        return (
            json.dumps(rows) if suffix == "json" else "".join(f"{json.dumps(row)}\n" for row in rows)
        ).encode()
    table, sink = pa.Table.from_pylist(rows), pa.BufferOutputStream()
    if suffix == "parquet":
        parquet.write_table(table, sink)
    elif suffix == "arrow":
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(row))
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()
    return sink.getvalue().to_pybytes()


def registered(columns: dict[str, str | None] | None = None, **entry: Any) -> dict[str, Any]:
    return entry | ({} if columns is None else {"columns": columns})


NAMED = {"prompt": "instruction", "response": "output"}
CHATS = {"messages": "conversations"}
# name: (row, registration, types of files); what the loader does with each is asked.
ALL, NESTED = ("jsonl", "json", "csv", "parquet", "arrow"), ("jsonl", "json", "parquet", "arrow")
TABLE: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "no input, no columns": (ROW, registered(), ALL),
    "no input, query none": (ROW, registered({**NAMED, "query": None}), ALL),
    "input, no columns": (ROW | {"input": "c"}, registered(), ALL),
    "none of the defaults": ({"q": "a", "r": "b"}, registered(), ALL),
    "a default within a value": (ROW | {"more": {"input": "c"}}, registered(), NESTED),
    **{
        f"no {role} column": (ROW, registered({**NAMED, role: "absent"}), ALL)
        for role in ("query", "history", "system", "tools", "images", "videos", "audios", "kto_tag")
    },
    "no chosen": (
        ROW | {"rejected": "c"},
        registered({**NAMED, "chosen": "chosen", "rejected": "rejected"}, ranking=True),
        ALL,
    ),
    "a pair without a response": (
        {"instruction": "a", "chosen": "b", "rejected": "c"},
        registered({"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}, ranking=True),
        ALL,
    ),
    "chats": (CHAT, registered(formatting="sharegpt"), NESTED),
    "chats of another name": ({"said": CHAT["conversations"]}, registered(formatting="sharegpt"), NESTED),
    **{
        f"chats, no {role}": (CHAT, registered({**CHATS, role: "absent"}, formatting="sharegpt"), NESTED)
        for role in ("system", "tools", "images", "kto_tag")
    },
    "chats with a pair": (
        ASKED,
        registered(
            {**CHATS, "chosen": "chosen", "rejected": "rejected"}, formatting="sharegpt", ranking=True
        ),
        NESTED,
    ),
    "chats without rejected": (
        {key: value for key, value in ASKED.items() if key != "rejected"},
        registered(
            {**CHATS, "chosen": "chosen", "rejected": "rejected"}, formatting="sharegpt", ranking=True
        ),
        NESTED,
    ),
    "messages": (MESSAGES, registered({"messages": "messages"}, **OPENAI), NESTED),
    **{
        f"messages, no {role}": (
            MESSAGES,
            registered({"messages": "messages", role: "absent"}, **OPENAI),
            NESTED,
        )
        for role in ("system", "tools", "images", "kto_tag")
    },
}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[str], list[str], str | None]]:
    """By case: what the checks of the registration and of the rows say, and the library's error."""
    root = tmp_path_factory.mktemp("columns")
    cases = {}
    for name, (row, entry, suffixes) in TABLE.items():
        for suffix in suffixes:
            folder = root / f"{len(cases)}"
            folder.mkdir()
            (folder / f"data.{suffix}").write_bytes(written(row, suffix))
            document = Document({}, {}, folder / "datasets.yaml", "datasets.yaml", "")
            registration = Registration("data", {"file_name": f"data.{suffix}", **entry}, document)
            info = {"data": complete_entry(registration, folder)}
            (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
            stage = "dpo" if entry.get("ranking") else "sft"
            [report] = scan([DataSource(registration, stage)], folder)
            stops = [
                group.flaw.message for group in report.groups if group.flaw.effect in ("refused", "crash")
            ]
            said = [found.message for found in check_registration(registration)]
            cases[folder.name] = (f"{name}, {suffix}", said, stops)
    answers = root / "answers.json"
    done = subprocess.run(
        [sys.executable, str(HERE / "columns_verdicts.py"), str(MODEL), str(root), str(answers)],
        env=environment(LLAMAFACTORY_VERBOSITY="ERROR", HF_HOME=str(root / "cache")),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-8000:]
    theirs = json.loads(answers.read_text(encoding="utf-8"))
    return {name: (said, stops, theirs[number]) for number, (name, said, stops) in cases.items()}


def test_the_check_of_rows_stops_where_the_library_does(verdicts: dict[str, Any]) -> None:
    assert {name: it for name, it in verdicts.items() if bool(it[1]) != (it[2] is not None)} == {}
    assert sum(error is None for _, _, error in verdicts.values()) > 20
    assert sum(error is not None for _, _, error in verdicts.values()) > 20


def test_the_check_of_registrations_stops_at_once_where_it_can(verdicts: dict[str, Any]) -> None:
    """Stricter in one thing: a column that is named has to be there, also where the library does without."""
    differing = {name for name, (said, _, error) in verdicts.items() if bool(said) != (error is not None)}
    assert {name.rpartition(",")[0] for name in differing} == {"messages, no system", "messages, no tools"}
