"""One record among others that cannot be read is named in a line, and commands go on with the others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from trees import Result

from qtune.cli import complete
from qtune.config.project import find_project
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.runs import record

Make = Callable[..., Path]
Command = Callable[..., Result]


@pytest.fixture
def here(project: Make) -> Path:
    """A project with a finished run, a stopped one, and `odd`, which began last."""
    root = project()
    prepared = pipeline.prepare("lora", find_project(root), Hardware())
    for number, (name, status) in enumerate((("done", "finished"), ("halted", "stopped"), ("odd", "failed"))):
        run = record.start(record.claim(root / "runs", name), prepared.manifest)
        run.begin_attempt(prepared.plan)
        run.end(status, 0, "as it was asked to")
        began = f"2026-01-01T00:00:0{number}+00:00"
        run.update(started=began, attempts=[{**run.attempts[0], "started": began}])
    return root


def changed(path: Path, **keys: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("gone.json")


ATTEMPT = {"status": "stopped", "started": "2026-01-01T00:00:00", "changes": {}, "from_step": 0}
DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_text(""),
    "truncated": lambda path: path.write_text(path.read_text()[:-40]),
    "a list": lambda path: path.write_text("[]"),
    "no keys": lambda path: path.write_text("{}"),
    "deep": lambda path: path.write_text("[" * 2000 + "]" * 2000),
    "nul bytes": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "no UTF-8": lambda path: path.write_bytes(b'{"status": "\xff"}'),
    "a directory": directory,
    "a pipe": pipe,
    "a dangling link": dangling,
    "another status": lambda path: changed(path, status=["stopped"]),
    "a status with signs": lambda path: changed(path, status="\x1b[2J"),
    "half a sign": lambda path: changed(path, preset="\ud800"),
    "another beginning": lambda path: changed(path, attempts=[{**ATTEMPT, "started": 3}]),
    "another time": lambda path: changed(path, started={}, attempts=[]),
    "other attempts": lambda path: changed(path, attempts={"a": 1}),
    "another attempt": lambda path: changed(path, attempts=["first"]),
    "other changes": lambda path: changed(path, attempts=[{**ATTEMPT, "changes": None}]),
    "another process": lambda path: changed(path, status="running", pid="self"),
    "a long number": lambda path: changed(path, status="running", pid=10**25),
    "other metrics": lambda path: changed(path, metrics=[1]),
    "another failure": lambda path: changed(path, failure={"cause": 1}),
    "other data": lambda path: changed(path, data=[{"name": "rows"}]),
}
COMMANDS = {
    "runs": (0, ("runs",)),
    "watch": (130, ("watch",)),
    "stop": (2, ("stop",)),
    "resume": (0, ("resume", "--dry-run", "--force")),
    "train": (0, ("train", "lora", "--dry-run", "--force")),
    "export": (2, ("export",)),
}
SAYS = {"watch": "halted: as it was asked to", "stop": "runs/halted: is stopped", "export": "runs/done: "}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_others_are_listed_and_found(qtune: Command, here: Path, damage: str) -> None:
    DAMAGES[damage](here / "runs" / "odd" / "qtune.json")
    for command, (code, words) in COMMANDS.items():
        done = qtune(*words, directory=here)
        assert done.code == code, (command, done)
        lines = [line for line in done.err.splitlines() if "runs/odd" in line]
        assert len(lines) == (command != "train"), (command, done.err)
        said = "note" if command == "runs" else "left out"  # it lists that run too
        assert all(line.startswith(f"{said}: runs/odd/qtune.json: ") for line in lines)
        assert SAYS.get(command, "") in done.err
        assert "unforeseen" not in done.err and "please report" not in done.err
        if command == "runs":
            rows = [line.split() for line in done.out.splitlines()[2:]]
            assert {row[0]: row[1] for row in rows} == {
                "odd": "unreadable",
                "done": "finished",
                "halted": "stopped",
            }


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_damaged_one_itself_is_refused_in_a_line(qtune: Command, here: Path, damage: str) -> None:
    DAMAGES[damage](here / "runs" / "odd" / "qtune.json")
    for words in (
        ("watch", "odd"),
        ("stop", "odd"),
        ("resume", "odd"),
        ("replay", "odd"),
        ("export", "odd"),
        ("eval", "odd"),
    ):
        done = qtune(*words, directory=here)
        assert done.code == 2, (words, done)
        assert done.err.startswith("error: runs/odd/qtune.json: ") and "\n  fix: " in done.err
        assert len(done.err.splitlines()) == 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_keeps_its_name(qtune: Command, here: Path, damage: str) -> None:
    """It is completed, and a new run of that name gets the next one."""
    DAMAGES[damage](here / "runs" / "odd" / "qtune.json")
    planned = qtune("train", "lora", "-n", "odd", "--dry-run", "--force", "--json", directory=here)
    assert "runs/odd-2" in planned.out
    assert complete.run_names("o") == ["odd"]


MANIFESTS: dict[str, dict[str, Any]] = {
    "other values": {"config": 3},
    "another value": {"config": [3]},
    "a key in one word": {"config": [{"key": "train", "value": 1, "layer": "x", "file": None, "line": None}]},
    "another layer": {
        "config": [{"key": ["train", "x"], "value": 1, "layer": 4, "file": None, "line": None}]
    },
    "another line": {"config": [{"key": ["train", "x"], "value": 1, "layer": "x", "file": "y", "line": "z"}]},
    "other layers": {"layers": [{"name": None, "file": None, "sha256": None}]},
    "other hardware": {"hardware": {"gpus": "many", "gpu_memory_gb": 0.0, "bf16": False, "cores": 1}},
    "another card": {
        "hardware": {"gpus": 1, "gpu_memory_gb": 22.0, "bf16": True, "cores": 1, "card": "A10G\nx: 1"}
    },
    "another name": {"preset": "../x"},
    "other datasets": {"datasets": {"rows": 3}},
    "other files": {"files": []},
}


@pytest.mark.parametrize("odd", MANIFESTS)
def test_a_manifest_of_other_types_is_refused_in_a_line(qtune: Command, here: Path, odd: str) -> None:
    changed(here / "runs" / "odd" / "qtune.json", **MANIFESTS[odd])
    for words in (("resume", "odd"), ("replay", "odd"), ("diff", "lora", "odd")):
        done = qtune(*words, directory=here)
        assert done.code == 2 and "odd/qtune.json: is not what qtune wrote (" in done.err, (words, done.err)
        assert len(done.err.splitlines()) == 2
    assert qtune("runs", directory=here).code == 0


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        yield
    finally:
        path.chmod(mode)


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv (util-linux) takes root's rights away")
@pytest.mark.parametrize("part", ["odd/qtune.json", "odd"])
def test_one_that_may_not_be_read_is_named_and_the_others_are_shown(here: Path, part: str) -> None:
    command = [sys.executable, "-m", "qtune", "runs"]
    if os.geteuid() == 0:  # whom permissions do not bind, until it gives that up
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    with unreadable(here / "runs" / part):
        done = subprocess.run(command, cwd=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "note: runs/odd/qtune.json: cannot be read (Permission denied)\n"
    assert "halted" in done.stdout and "done" in done.stdout


def test_where_all_are_damaged_each_is_named_and_nothing_found(qtune: Command, here: Path) -> None:
    for path in (here / "runs").glob("*/qtune.json"):
        path.write_text("{")
    done = qtune("watch", directory=here)
    assert done.code == 2 and done.err.count("left out: runs/") == 3 and "there is no run" in done.err


def test_a_run_with_an_odd_log_is_listed(qtune: Command, here: Path) -> None:
    odd = here / "runs" / "odd"
    for name, text in {"trainer_log.jsonl": '{"loss": "low", "current_steps": []}\n[[1]]\n{"a"'}.items():
        (odd / name).write_text(text)
    (odd / "trainer_state.json").mkdir()
    assert qtune("runs", directory=here).code == 0
    (odd / "trainer_log.jsonl").unlink()
    os.mkfifo(odd / "trainer_log.jsonl")
    assert qtune("runs", "--json", directory=here).code == 0


def test_what_is_recorded_again_keeps_keys_that_this_qtune_does_not_know(here: Path) -> None:
    path = here / "runs" / "halted" / "qtune.json"
    changed(path, unheard_of={"a": [1]})
    run = record.read(path.parent)
    run.update(reason="another")
    run.end("stopped", 0, "again")
    assert json.loads(path.read_text())["unheard_of"] == {"a": [1]}


@pytest.mark.parametrize("version", ["record_version", "schema_version"])
def test_a_record_of_a_newer_qtune_is_said_and_left_as_it_is(
    qtune: Command, here: Path, version: str
) -> None:
    newer = here / "runs" / "odd"
    changed(newer / "qtune.json", **{version: 99}, status={"new": "shape"})
    before = {path: path.read_bytes() for path in newer.iterdir()}
    for words in (
        ("runs",),
        ("watch", "odd"),
        ("stop", "odd"),
        ("resume", "odd"),
        ("resume", "odd", "--node-rank", "1"),
        ("replay", "odd"),
        ("export", "odd"),
        ("eval", "odd"),
        ("ask", "odd", "why?"),
        ("diff", "lora", "odd"),
        ("carry-out", "odd"),
        ("train", "lora", "-n", "odd", "--overwrite", "--force"),
    ):
        done = qtune(*words, directory=here)
        assert done.code == (0 if words == ("runs",) else 2), (words, done)
        [line] = [line for line in done.err.splitlines() if "was written by a newer qtune" in line]
        assert "odd/qtune.json: " in line
        if words != ("runs",):
            assert "fix: update qtune" in done.err
    assert {path: path.read_bytes() for path in newer.iterdir()} == before
