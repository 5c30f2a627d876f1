"""Commands without a preset take what was rendered last: under any name, as it stands, with its overrides."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from trees import ROWS, Result, write_tree

from qtune.doctor import probe
from qtune.doctor.probe import Probe
from qtune.processes import process

Make = Callable[..., Path]
Command = Callable[..., Result]

COMMANDS = {
    "train": ("train", "--dry-run", "--json"),
    "doctor": ("doctor", "--json"),
    "check": ("data", "check", "--json"),
    "stats": ("data", "stats", "rows", "--json"),
    "preview": ("data", "preview", "rows", "-k", "1", "--json"),
    "add": ("data", "add", "new.jsonl", "--dry-run"),
}
# Answers with what it is asked, as text of the first row.
ECHO = """
import json, sys
asked = json.loads(sys.stdin.readline())
pieces = {"name": None, "tokens": 3, "trained": 1, "whole": 3, "pieces": [[json.dumps(asked), True]]}
print(json.dumps({"done": [{"sequences": [pieces]}]}))
"""
REGISTRATIONS = "rows: {file_name: rows.jsonl}\nother: {file_name: other.jsonl}\n"


@pytest.fixture
def here(project: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two datasets, in which no command asks the library."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(probe, "ask", lambda python: Probe("3.11.7", "/venv/bin/python", {}, {}))
    monkeypatch.setattr("qtune.processes.child._SCRIPTS", write_tree(tmp_path / "bin", {"preview.py": ECHO}))
    monkeypatch.setattr(process, "find_python", lambda: Path(sys.executable))
    long = [{**ROWS[0], "output": "word " * 90}]
    return project({"data/datasets.yaml": REGISTRATIONS, "data/other.jsonl": long, "new.jsonl": ROWS})


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "options", [("-n", "mine"), ("-n", "mine", "-d", "other", "-s", "cutoff_len=64"), ("-d", "other")]
)
def test_no_command_takes_its_name_for_a_presets(
    qtune: Command, here: Path, command: str, options: tuple[str, ...]
) -> None:
    assert qtune("render", "lora", *options, directory=here).code == 0
    done = qtune(*COMMANDS[command], directory=here)
    assert "there is no preset" not in done.err
    assert done.code == (1 if command == "doctor" else 0), done.err  # none of the packages is there


def test_its_values_count_and_edits_by_hand_too(qtune: Command, here: Path) -> None:
    assert (
        qtune("render", "lora", "-n", "mine", "-d", "other", "-s", "cutoff_len=64", directory=here).code == 0
    )

    def stats(*options: str) -> tuple[str, int]:
        told = json.loads(qtune(*COMMANDS["stats"], *options, directory=here).out)
        return told["preset"], told["cutoff_len"]

    def cut() -> list[str]:
        told = json.loads(qtune(*COMMANDS["check"], directory=here).out)
        return [
            item["name"]
            for item in told["datasets"]
            if any("cutoff_len" in str(group) for group in item["groups"])
        ]

    def asked(*options: str) -> dict[str, object]:
        [sample] = json.loads(qtune(*COMMANDS["preview"], *options, directory=here).out)
        return json.loads(sample["sequences"][0]["pieces"][0][0])  # type: ignore[no-any-return]

    assert stats() == ("mine", 64) and stats("-p", "lora")[0] == "lora"
    assert cut() == ["other"]
    assert (asked()["cutoff_len"], asked()["template"]) == (64, "qwen")
    assert asked("-m", "meta-llama/Llama-3.1-8B-Instruct")["template"] == "llama3"

    edits = {
        "cutoff_len: 64": "cutoff_len: 2000",
        "template: qwen": "template: chatml",
        "lora_rank: 64": "lora_rank: x",
    }
    train = here / "rendered" / "mine" / "train.yaml"
    for old, new in edits.items():
        text = train.read_text()
        assert old in text
        train.write_text(text.replace(old, new))
    assert stats() == ("mine", 2000) and cut() == []
    assert asked("-m", "meta-llama/Llama-3.1-8B-Instruct")["template"] == "chatml"
    doctor = qtune("doctor", directory=here)
    assert "mine: lora_rank" in doctor.out and "`qtune train --dry-run` shows all" in doctor.out
    assert "`qtune doctor` again" in doctor.err
    assert "lora_rank" in qtune("train", "--dry-run", directory=here).err


def test_what_hardware_is_asked_about_decides_anew(qtune: Command, here: Path) -> None:
    assert qtune("render", "lora", "-n", "mine", "--hardware", "cpu", directory=here).code == 0

    def batch(*options: str) -> int:
        told = json.loads(qtune(*COMMANDS["stats"], *options, directory=here).out)
        return told["steps"]["without_packing"]["effective_batch"]  # type: ignore[no-any-return]

    assert batch("--hardware", "2x24GB") == 2 * batch()


def test_one_that_is_incomplete_is_told_with_how_to_render_it(qtune: Command, here: Path) -> None:
    assert qtune("render", "lora", "-n", "mine", directory=here).code == 0
    (here / "rendered" / "mine" / "train.yaml").unlink()
    done = qtune("data", "check", directory=here)
    assert done.code == 2 and "rendered/mine/train.yaml: is missing" in done.err
    assert "`qtune render PRESET -n mine`" in done.err
    other = qtune("train", "-s", "seed=1", directory=here)
    assert other.code == 2 and "`qtune train PRESET …`" in other.err
