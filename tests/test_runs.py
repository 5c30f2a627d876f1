"""`qtune runs`, `watch` and `stop` on runs of every state, without a training."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from trees import Result

from qtune.config.project import find_project
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.processes import marks
from qtune.runs import lock, record

GONE = 2**22 + 1
STEPS = "".join(f'{{"current_steps": {step}, "total_steps": 6, "loss": {3.5 - step}}}\n' for step in (1, 2))
Make = Callable[..., Path]
Command = Callable[..., Result]


@pytest.fixture
def here(project: Make) -> Path:
    """A project with a finished run, one that was stopped, and one whose qtune was killed."""
    root = project()
    prepared = pipeline.prepare("lora", find_project(root), Hardware())
    ended: Mapping[str, tuple[str, int, str | None]] = {
        "done": ("finished", 0, None),
        "halted": ("stopped", -15, "stopped by SIGINT at step 2 of 6"),
    }
    for number, name in enumerate(("done", "halted", "lost")):
        run = record.start(record.claim(root / "runs", name), prepared.manifest)
        (run.directory / "train.log").write_text(f"the words of {name}\n")
        (run.directory / "trainer_log.jsonl").write_text(STEPS)
        (run.directory / "trainer_state.json").write_text('{"global_step": 6, "max_steps": 6}')
        if name in ended:
            run.end(*ended[name])
        run.update(started=f"2026-01-01T00:00:0{number}+00:00")
        if name == "lost":
            run.update(pid=GONE)
    return root


def runs(qtune: Command, here: Path) -> dict[str, dict[str, Any]]:
    return {row["run"]: row for row in json.loads(qtune("runs", "--json", directory=here).out)}


def test_each_run_is_listed_with_what_became_of_it(qtune: Command, here: Path) -> None:
    found = runs(qtune, here)
    assert list(found) == ["done", "halted", "lost"]
    assert {name: row["status"] for name, row in found.items()} == {
        "done": "finished",
        "halted": "stopped",
        "lost": "killed",
    }
    assert [row["steps"] for row in found.values()] == [[6, 6], [2, 6], [2, 6]]
    assert {row["loss"] for row in found.values()} == {1.5}
    with lock.held(here / "runs" / "lost"):
        assert runs(qtune, here)["lost"]["status"] == "running"
    (here / "runs" / "done" / "qtune.json").write_text("{")
    assert runs(qtune, here)["done"]["status"] == "unreadable"
    table = qtune("runs", directory=here).out
    assert "halted" in table and "2 of 6" in table


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("done", 0, "finished: 6 steps"),
        ("halted", 130, "halted: stopped by SIGINT at step 2 of 6"),
        ("lost", 1, "lost was killed, and its qtune with it"),
        ("none", 2, "there is no run `none`"),
    ],
)
def test_what_has_ended_is_told_when_watched(
    qtune: Command, here: Path, name: str, code: int, said: str
) -> None:
    done = qtune("watch", name, directory=here)
    assert done.code == code and said in done.err
    if code in (1, 130):
        assert f"`qtune resume {name}` starts it anew: it has no complete checkpoint" in done.err


@pytest.mark.parametrize(("name", "said"), [("done", "is finished"), ("lost", "no longer running")])
def test_what_has_ended_cannot_be_stopped(qtune: Command, here: Path, name: str, said: str) -> None:
    done = qtune("stop", name, directory=here)
    assert done.code == 2 and said in done.err


def test_what_is_left_of_a_killed_training_is_ended(qtune: Command, here: Path) -> None:
    environment = {**os.environ, marks.RUN: str(here / "runs" / "lost")}
    with subprocess.Popen(["sleep", "600"], env=environment) as left:
        done = qtune("stop", "lost", directory=here)
        assert left.wait(5) == -signal.SIGTERM
    assert (done.code, "what was left of its training is ended" in done.err) == (0, True)


def test_a_copied_record_signals_nobody(qtune: Command, here: Path) -> None:
    """Neither the process that it names, which trains another run, nor one that has its number by now."""
    record = json.loads((here / "runs" / "lost" / "qtune.json").read_text())
    with subprocess.Popen(["sleep", "600"]) as stranger, lock.held(here / "runs" / "done"):
        for pid in (stranger.pid, os.getpid()):
            record |= {"pid": pid, "host": platform.node(), "status": "running"}
            (here / "runs" / "lost" / "qtune.json").write_text(json.dumps(record))
            (here / "runs" / "lost" / lock.LOCK).unlink(missing_ok=True)
            done = qtune("stop", "lost", directory=here)
            assert done.code == 2 and "no longer running" in done.err
        # held by who has not written its name yet, over the name of one before
        with lock.held(here / "runs" / "lost"):
            (here / "runs" / "lost" / lock.LOCK).write_text(
                json.dumps({"pid": stranger.pid, "host": platform.node(), "since": record["started"]})
            )
            done = qtune("stop", "lost", directory=here)
            assert done.code == 2 and "is held by what is no qtune that trains it" in done.err
        assert stranger.poll() is None
        stranger.kill()


def test_a_run_of_another_computer_is_stopped_there(
    qtune: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lock.held(here / "runs" / "lost"):
        monkeypatch.setattr(platform, "node", lambda: "elsewhere")
        done = qtune("stop", "lost", directory=here)
    assert done.code == 2
    assert f"trains on another computer (process {os.getpid()} on " in done.err
    assert "stop it there: `qtune stop lost`" in done.err


COMMANDS = ("watch", "stop", "resume", "replay", "export", "eval", "chat", "webchat", "api", "ask")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_no_run_has_names_the_nearest_of_many_or_the_newest(
    qtune: Command, here: Path, command: str
) -> None:
    for number in range(40):
        made = here / "runs" / f"sweep-{number}"
        made.mkdir()
        (made / "qtune.json").write_text('{"status": "finished"}')
        os.utime(made, (number, number))
    words = (command, "{}", "why?") if command == "ask" else (command, "{}")
    near = qtune(*(word.format("sweep-7x") for word in words), directory=here)
    assert near.code == 2 and "did you mean `sweep-7`" in near.err
    other = qtune(*(word.format("nosuch") for word in words), directory=here)
    assert other.code == 2 and "there is no run `nosuch`" in other.err
    assert "`qtune runs` lists them; the newest: " in other.err and " and 33 more" in other.err
    assert "sweep-39" in other.err and "sweep-30," not in other.err and len(other.err.splitlines()) == 2
