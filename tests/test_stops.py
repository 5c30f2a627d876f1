"""What reaches a training through qtune, and what is left when qtune or its supervisor is killed.

A real qtune process over a small real program; e2e has LLaMA-Factory in its place.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from qtune.processes import marks, signals
from qtune.processes.marks import MARK

QTUNE = """
import sys
from pathlib import Path
import hurried_node
from qtune.cli.output import note, pass_on
from qtune.processes import process
from qtune.values import LaunchPlan
directory = Path(sys.argv[1])
plan = LaunchPlan((sys.executable, "-c", sys.argv[2]), {})
stopping = lambda number: note(f"stopping at {number}")
process.node.__name__ = hurried_node.__name__
outcome = process.run(plan, directory, directory / "train.log", pass_on, stopping=stopping)
(directory / "outcome").write_text(f"{outcome.exit_code} {outcome.interrupted} {outcome.reason}")
"""
# As a training: it has a child, saves when it is asked to stop, and talks all the while.
TRAINING = """
import os, signal, subprocess, sys, time
def stop(number, frame):
    deadline = time.monotonic() + (600 if os.path.exists("saves for long") else 0.8)
    while not os.path.exists("saves at once") and time.monotonic() < deadline:
        time.sleep(0.02)
    print("saved", flush=True)
    os._exit(0)
subprocess.Popen(["sleep", "600"], start_new_session=True)
signal.signal(signal.SIGTERM, stop)
while True:
    print("step", flush=True)
    time.sleep(0.05)
"""
DEADLINE = 20.0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def log(directory: Path) -> str:
    path = directory / "train.log"
    return path.read_text() if path.is_file() else ""


def left(directory: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if MARK in process.environ() and process.cwd() == str(directory):
                found.append(process)
        except psutil.Error:
            continue
    return found


def argv(directory: Path) -> list[str]:
    return [sys.executable, "-c", QTUNE, str(directory), TRAINING]


@pytest.fixture
def qtune(tmp_path: Path, hurried: None) -> Iterator[subprocess.Popen[bytes]]:
    """A qtune whose training has begun."""
    with subprocess.Popen(argv(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: log(tmp_path).count("step") > 2)
            yield process
        finally:
            process.kill()
            for item in left(tmp_path):
                item.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_stops_it_cleanly(
    tmp_path: Path, qtune: subprocess.Popen[bytes], number: signal.Signals
) -> None:
    (tmp_path / "saves at once").touch()
    qtune.send_signal(number)
    qtune.wait(DEADLINE)
    assert (tmp_path / "outcome").read_text() == f"0 {number.value} None"
    assert log(tmp_path).endswith("saved\n")
    assert left(tmp_path) == []


def test_a_terminal_that_closes_is_no_second_press(tmp_path: Path, qtune: subprocess.Popen[bytes]) -> None:
    qtune.send_signal(signal.SIGINT)
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        qtune.send_signal(signal.SIGHUP)
        time.sleep(0.1)
    qtune.wait(DEADLINE)
    assert (tmp_path / "outcome").read_text().startswith("0 ")
    assert log(tmp_path).endswith("saved\n")


def test_the_second_press_ends_it(tmp_path: Path, qtune: subprocess.Popen[bytes]) -> None:
    (tmp_path / "saves for long").touch()

    def press() -> bool:
        qtune.send_signal(signal.SIGINT)
        return qtune.poll() is not None

    wait_until(press)  # what comes right after it is the same press
    assert (tmp_path / "outcome").read_text().startswith(f"-{signal.SIGKILL.value} {signal.SIGINT.value} ")
    assert left(tmp_path) == []


def test_sigquit_ends_it_at_once(tmp_path: Path, qtune: subprocess.Popen[bytes]) -> None:
    """As `qtune stop --now` does."""
    qtune.send_signal(signal.SIGQUIT)
    qtune.wait(DEADLINE)
    assert (tmp_path / "outcome").read_text().split()[1] == str(signal.SIGQUIT.value)
    assert left(tmp_path) == []


def test_a_closed_terminal_stops_it_cleanly(tmp_path: Path, hurried: None) -> None:
    """Nobody is there to read any more, and to write to the terminal fails."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, argv(tmp_path))
    try:
        wait_until(lambda: log(tmp_path).count("step") > 2)
        (tmp_path / "saves at once").touch()
        os.close(terminal)
        os.waitpid(pid, 0)
    finally:
        for item in left(tmp_path):
            item.kill()
    assert (tmp_path / "outcome").read_text() == f"0 {signal.SIGHUP.value} None"
    assert log(tmp_path).endswith("saved\n")


def test_a_signal_is_an_answer_to_a_question() -> None:
    with signals.collected() as received:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), signals.asking():
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert received == [signal.SIGINT, signal.SIGTERM, signal.SIGINT]


def test_killed_itself_it_leaves_nothing(tmp_path: Path, qtune: subprocess.Popen[bytes]) -> None:
    assert len(left(tmp_path)) >= 3  # supervisor, training, and its child in another session
    qtune.kill()
    wait_until(lambda: left(tmp_path) == [])


def test_with_its_supervisor_killed_together_with_it_leaves_nothing(
    tmp_path: Path, qtune: subprocess.Popen[bytes]
) -> None:
    """As a kill by name does: the training's guard is all that is left to end it."""
    [supervisor] = psutil.Process(qtune.pid).children()
    for process in (psutil.Process(qtune.pid), supervisor):
        process.suspend()  # so that neither sees the other go
    for process in (supervisor, psutil.Process(qtune.pid)):
        process.kill()
    wait_until(lambda: left(tmp_path) == [])


def test_the_guard_lets_another_sitecustomize_be(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('the other one')")
    guarded = marks.guarded({"PYTHONPATH": str(tmp_path)})
    code = "import sys; print(sys.modules['sitecustomize'].__file__); print(sys.path)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **guarded}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, file, paths = done.stdout.splitlines()
    assert (first, file) == ("the other one", str(tmp_path / "sitecustomize.py"))
    assert "processes/guard" not in paths


def test_a_process_whose_supervisor_is_gone_already_does_not_begin(tmp_path: Path) -> None:
    number = subprocess.Popen([sys.executable, "-c", ""])
    number.wait()
    for supervisor in (f"{number.pid} 1", f"{os.getpid()} 1"):  # gone, and another of its number
        environment = {**os.environ, **marks.guarded({}), marks.SUPERVISOR: supervisor}
        done = subprocess.run([sys.executable, "-c", "print('began')"], env=environment, capture_output=True)
        assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")


def test_with_its_supervisor_killed_it_leaves_nothing(tmp_path: Path, qtune: subprocess.Popen[bytes]) -> None:
    [supervisor] = psutil.Process(qtune.pid).children()
    supervisor.kill()
    qtune.wait(DEADLINE)
    assert left(tmp_path) == []
    assert (tmp_path / "outcome").read_text() == "-9 None its supervisor was ended by SIGKILL"
