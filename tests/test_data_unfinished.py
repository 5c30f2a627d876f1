"""Data commands that are cut short, or that the disk has no room for, change nothing."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from trees import Result, files_below

COMMANDS = {
    "add": ("data", "add", "more.jsonl"),
    "check --fix": ("data", "check", "rows", "--fix", "clean.jsonl"),
    "split": ("data", "split", "rows", "--eval", "0.4"),
    "stats --html": ("data", "stats", "rows", "--html", "rows.html"),
}


@pytest.fixture
def tree(project: Callable[..., Path]) -> Path:
    rows = [{"instruction": f"question {number}", "output": f"answer {number}"} for number in range(40)]
    return project({"data/rows.jsonl": rows, "more.jsonl": rows})


def contents(root: Path) -> dict[str, bytes]:
    return {name: (root / name).read_bytes() for name in files_below(root)}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_each_command_writes_when_nothing_is_in_its_way(
    tree: Path, qtune: Callable[..., Result], command: tuple[str, ...]
) -> None:
    before = contents(tree)
    assert qtune(*command, directory=tree).code == 0
    assert contents(tree) != before


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_ctrl_c_while_a_file_is_finished_leaves_everything_as_it_was(
    tree: Path,
    qtune: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    before = contents(tree)

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    assert qtune(*command, directory=tree).code == 130
    assert contents(tree) == before


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_disk_without_room_is_one_clear_line(tree: Path, command: tuple[str, ...]) -> None:
    def fill_up() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))

    before = contents(tree)
    argv = [sys.executable, "-B", "-m", "qtune", *command]  # no bytecode, which would be cut off too
    done = subprocess.run(argv, cwd=tree, capture_output=True, text=True, preexec_fn=fill_up)
    assert done.returncode == 2, done.stderr
    [line, fix] = [line for line in done.stderr.splitlines() if not line.startswith("next:")]
    assert line.startswith("error: ") and "File too large" in line and fix.startswith("  fix: ")
    assert contents(tree) == before


@pytest.mark.parametrize("command", [COMMANDS["check --fix"], COMMANDS["stats --html"]], ids=["fix", "html"])
def test_a_directory_that_takes_no_files_is_one_clear_line(
    tree: Path, qtune: Callable[..., Result], command: tuple[str, ...]
) -> None:
    done = qtune(*command[:-1], "/proc/" + command[-1], directory=tree)
    assert done.code == 2
    assert done.err.startswith("error: /proc/") and done.err.count("\n") == 2
