"""`data preview`: LLaMA-Factory's own tokens as text, for each stage, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from scratch import QTUNE, Project, environment

SYSTEM = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
)
START_SECONDS = 60

Piece = list[Any]


def turn(asked: str) -> str:
    return f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n"


def write(project: Project, name: str, registration: str, rows: list[Any]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (project.root / "data" / f"{name}.jsonl").write_text(text, encoding="utf-8")
    with (project.root / "data" / "datasets.yaml").open("a", encoding="utf-8") as stream:
        stream.write(f"\n{name}: {{file_name: {name}.jsonl, {registration}}}\n")


def preview(project: Project, *arguments: str) -> list[dict[str, Any]]:
    return json.loads(project.qtune("data", "preview", *arguments, "--json").stdout)


def pieces(sample: dict[str, Any]) -> list[list[Piece]]:
    return [sequence["pieces"] for sequence in sample["sequences"]]


CHATS = "formatting: sharegpt"


def chat(*texts: str, **more: Any) -> dict[str, Any]:
    roles = ("human", "gpt")
    return {
        "conversations": [{"from": roles[n % 2], "value": text} for n, text in enumerate(texts)],
        **more,
    }


def test_conversations_and_what_becomes_of_bad_ones(project: Project) -> None:
    rows = [chat("你好", "嗨"), chat("a"), chat("a", "b", "c", "d"), chat("x " * 300, "y")]
    rows += [chat("e", "f", system="Be brief.")]
    write(project, "chats", CHATS + ", columns: {messages: conversations, system: system}", rows)
    first, dropped, both, long, last = preview(project, "chats", "-k", "9", "-s", "cutoff_len=100")
    assert pieces(first) == [[[SYSTEM + turn("你好"), False], ["嗨<|im_end|>\n", True]]]
    assert dropped["sequences"] == [] and dropped["line"] == 2
    assert pieces(both) == [
        [
            [SYSTEM + turn("a"), False],
            ["b<|im_end|>\n", True],
            [turn("c"), False],
            ["d<|im_end|>\n", True],
        ]
    ]
    (cut,) = long["sequences"]
    assert cut["tokens"] == 100 < cut["whole"]
    # its column stands in the last row alone
    assert pieces(last)[0][0] == ["<|im_start|>system\nBe brief.<|im_end|>\n" + turn("e"), False]

    only_the_last = preview(project, "chats", "-k", "3", "-s", "mask_history=true")[2]
    assert [piece[1] for piece in pieces(only_the_last)[0]] == [False, True]


def test_the_first_row_is_the_trainings_own_example(project: Project) -> None:
    options = ("-s", "max_steps=1", "-s", "train_on_prompt=true", "-s", "max_samples=4")
    project.qtune("train", "lora", *options)
    log = project.run("lora").log
    inputs = log.split("\ninputs:\n", 1)[1].split("\nlabel_ids:", 1)[0]
    (sample,) = preview(project, "demo", "-k", "1", "-p", "lora", "-s", "train_on_prompt=true")
    assert "".join(text for text, _ in pieces(sample)[0]) == inputs
    assert all(trained for _, trained in pieces(sample)[0])


def test_pairs_judgements_and_plain_text(project: Project) -> None:
    (pair,) = preview(project, "demo_dpo", "-k", "1", "-p", "dpo")
    assert [sequence["name"] for sequence in pair["sequences"]] == ["chosen", "rejected"]
    chosen, rejected = pieces(pair)
    assert chosen[0] == rejected[0] and chosen[1][0] != rejected[1][0]
    assert [trained for _, trained in chosen] == [False, True]

    judged = preview(project, "demo_kto", "-k", "2", "-p", "kto")
    assert [sample["good"] for sample in judged] == [True, False]

    text = (project.root / "data" / "demo_text.jsonl").read_text(encoding="utf-8").splitlines()
    plain = preview(project, "demo_text", "-k", "2", "-p", "pretrain", "-s", "cutoff_len=16")
    assert [pieces(sample) for sample in plain] == [
        [[[json.loads(line)["text"] + "<|im_end|>", True]]] for line in text[:2]
    ]


def test_what_a_person_sees(project: Project) -> None:
    write(project, "odd", CHATS, [chat("red \u001b[31m", "b"), chat("a")])
    done = project.qtune("data", "preview", "odd")
    assert "data/odd.jsonl:1: " in done.stdout and " trained" in done.stdout
    assert "red \\x1b[31m<|im_end|>" in done.stdout and "[[b<|im_end|>\n]]" in done.stdout
    assert "data/odd.jsonl:2: LLaMA-Factory leaves this row out" in done.stdout
    assert "takes a while" in done.stderr and "Converting" not in done.stderr

    (project.root / "data" / "odd.jsonl").write_text('{"conversations": 5}\n')
    failed = project.qtune(
        "data", "preview", "odd", "-m", "nobody/nothing", "-s", "template=qwen", exit_code=1
    )
    assert "error: LLaMA-Factory fails on this: " in failed.stderr
    assert failed.stdout == "" and len(failed.stderr.splitlines()) < 20


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.json", '[{"instruction": "a", "output": "b"},\n\n{"instruction": "c", "output": "d"}]'),
        ("rows.csv", 'instruction,output\n"a",b\n"c",d\n'),
    ],
)
def test_random_rows_of_other_files_have_their_lines(project: Project, name: str, text: str) -> None:
    (project.root / "data" / name).write_text(text)
    with (project.root / "data" / "datasets.yaml").open("a") as stream:
        stream.write(f"\nrows: {{file_name: {name}, columns: {{prompt: instruction, response: output}}}}\n")
    samples = preview(project, "rows", "--seed", "1")
    assert [sample["line"] for sample in samples] == ([1, 3] if name == "rows.json" else [2, 3])
    assert pieces(samples[1])[0][0][0] == SYSTEM + turn("c")


def test_ctrl_c_leaves_neither_a_process_nor_a_file(project: Project, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    before = sorted(project.root.rglob("*"))
    with subprocess.Popen(
        [str(QTUNE), "data", "preview", "demo"],
        cwd=project.root,
        env=environment(TMPDIR=str(temporary)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        deadline = time.monotonic() + START_SECONDS
        while not (children := asked(process.pid)):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        assert list(temporary.iterdir()) != []
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(10) == 130
    assert not any(child.is_running() for child in children)
    assert list(temporary.iterdir()) == []
    assert sorted(project.root.rglob("*")) == before


def asked(pid: int) -> list[psutil.Process]:
    """The children that run the library."""
    return [child for child in psutil.Process(pid).children() if "preview.py" in " ".join(child.cmdline())]
