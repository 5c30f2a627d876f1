"""A training that does nothing is told once, with what it waits for; what it leaves holds up nobody."""

from __future__ import annotations

import fcntl
import math
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from qtune.config.project import find_project
from qtune.launch import extensions
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.processes import process
from qtune.runs.record import Run
from qtune.training import attempts, stall

Train = Callable[[str], tuple[Run, str]]


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch would have one."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))
    monkeypatch.setattr(extensions, "_is_local", lambda path: True)
    operation = tmp_path / "extensions" / "py311_cpu" / "deepspeed_shm_comm"
    operation.mkdir(parents=True)
    return operation / "lock"


@pytest.fixture
def train(
    project: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: Path, hurried: None
) -> Train:
    """Trains with a Python program in the place of llamafactory-cli; the run, and what was shown."""

    def train(body: str) -> tuple[Run, str]:
        program = tmp_path / "llamafactory-cli"
        program.write_text(f"#!{sys.executable}\nlock = {str(lock)!r}\n{textwrap.dedent(body)}")
        program.chmod(0o755)
        monkeypatch.setattr(process, "find_program", lambda name: program)
        prepared = pipeline.prepare("lora", find_project(project()), Hardware())
        pipeline.write(prepared)
        shown: list[bytes] = []
        run = attempts.carry_out(*attempts.claim(prepared), attempts.Observer(show=shown.append))
        return run, b"".join(shown).decode()

    return train


WAITS = """
import os, pathlib, sys, time
os.close(os.open(lock, os.O_CREAT))
log = pathlib.Path(sys.argv[-1].partition("=")[2], "train.log")
while os.path.exists(lock) or "no output" not in log.read_text():
    time.sleep(0.05)
"""


def test_a_training_that_waits_for_a_left_over_lock_is_told_and_goes_on(
    train: Train, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stall, "SECONDS", 0.6)
    monkeypatch.setattr(stall, "_BUSY_SHARE", math.inf)  # its start, on a clock of hundredths
    run, shown = train(WAITS)
    told = (
        f"qtune: no output and no processor time for 0.01 minutes, waiting for {lock}, held by nobody on "
        "this machine; `qtune stop lora` ends it\n"
        f"qtune: removed the lock of a compile that is no more: {lock}\n"
    )
    assert shown == told and run.log.read_text() == told
    assert run.record["status"] == "finished"


def test_a_training_that_is_ended_leaves_no_lock(train: Train, lock: Path) -> None:
    run, shown = train("open(lock, 'w').close()\nraise ValueError('bad')")
    assert not lock.exists() and shown.endswith(f"a compile that is no more: {lock}\n")
    assert run.record["reason"] == "ValueError: bad"


def test_a_lock_left_before_a_training_is_gone_before_it_starts(train: Train, lock: Path) -> None:
    lock.touch()
    run, shown = train("import os, sys\nsys.exit(os.path.exists(lock))")
    assert run.record["status"] == "finished" and str(lock) in shown


@pytest.mark.parametrize(
    ("computed", "written", "waits_for_disk", "stalls"),
    [(0.0, 0, False, True), (1.0, 0, False, False), (0.0, 1, False, False), (0.0, 0, True, False)],
)
def test_what_computes_writes_or_waits_for_a_disk_does_not_stall(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    computed: float,
    written: int,
    waits_for_disk: bool,
    stalls: bool,
) -> None:
    now, log = SimpleNamespace(seconds=0.0), tmp_path / "train.log"
    log.touch()
    monkeypatch.setattr(stall.time, "monotonic", lambda: now.seconds)
    monkeypatch.setattr(stall, "_computed", lambda: (computed * now.seconds, waits_for_disk))
    watched = stall.Stall(log)
    looks = []
    for _ in range(100):
        now.seconds += 10
        with log.open("a") as file:
            file.write("x" * written)
        looks.append(watched.look())
    assert sum(looks) == stalls


def test_a_file_whose_lock_is_waited_for_is_named(tmp_path: Path, lock: Path) -> None:
    file = tmp_path / "held"
    code = "import fcntl, sys; print(1, flush=True); fcntl.flock(open(sys.argv[1], 'w'), fcntl.LOCK_EX)"
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with subprocess.Popen([sys.executable, "-c", code, file], stdout=subprocess.PIPE) as waiter:
            deadline = time.monotonic() + 20
            while (found := stall._awaited()) is None and time.monotonic() < deadline:
                time.sleep(0.01)
            waiter.kill()
    assert found == f"the lock of {file}"
