"""The supervisor of a training: clean stops, ends at once, and no orphan, whoever is killed.

Small real programs stand in for torchrun and its workers; e2e has the real ones.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from qtune.processes import marks, node
from qtune.processes.marks import MARK, end, marked

# A launcher as torchrun is: its workers stand in sessions of their own, and the signals that it gets are no
# good. Each worker has a child as a dataloader is, which dies of any signal.
LAUNCHER = """
import os, signal, subprocess, sys
def dies(number, frame): print("launcher was asked", flush=True); sys.exit(1)
signal.signal(signal.SIGTERM, dies)
workers = [
    subprocess.Popen([sys.executable, "-c", sys.argv[1]], env={**os.environ, "LOCAL_RANK": rank},
                     start_new_session=True)
    for rank in "01"
]
sys.exit(max(worker.wait() for worker in workers))
"""
WORKER = """
import os, signal, subprocess, sys, time
loader = subprocess.Popen(["sleep", "600"])
def stop(number, frame):
    assert loader.poll() is None, "the dataloader got the signal"
    {stop}
{before}
signal.signal(signal.SIGTERM, stop)
os.write(1, b"trains\\n")
{after}
while True: time.sleep(0.05)
"""
SAVES = 'os.write(1, b"saved\\n"); loader.kill(); os._exit(0)'
DEADLINE = 20.0


def worker(stop: str = SAVES, before: str = "", after: str = "") -> list[str]:
    return [sys.executable, "-c", LAUNCHER, WORKER.format(stop=stop, before=before, after=after)]


class Supervised:
    """A supervisor that a test keeps, with what its training printed."""

    def __init__(self, output: Path, command: list[str], *options: str) -> None:
        self.mark = uuid.uuid4().hex
        self.output = output
        with output.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", node.__name__, *options, *command],
                env={**os.environ, MARK: self.mark},
                stdin=subprocess.PIPE,
                bufsize=0,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def words(self) -> list[str]:
        return self.output.read_text().split("\n")[:-1]

    def say(self, word: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + b"\n")

    def wait_for(self, word: str, times: int = 2) -> None:
        wait_until(lambda: self.words.count(word) >= times)

    @property
    def left(self) -> list[psutil.Process]:
        return list(marked(self.mark))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    """Starts a supervisor with a command; whatever a failing test leaves of it is killed."""
    started: list[Supervised] = []

    def start(command: list[str], *options: str) -> Supervised:
        started.append(Supervised(tmp_path / f"output{len(started)}.txt", command, *options))
        return started[-1]

    yield start
    for item in started:
        for process in item.left:
            process.kill()
        item.process.communicate()


Supervise = Callable[..., Supervised]


def test_a_stop_reaches_the_workers_alone(supervise: Supervise) -> None:
    it = supervise(worker())
    it.wait_for("trains")
    it.say(node.STOP)
    assert it.process.wait(DEADLINE) == 0
    assert it.words == ["trains"] * 2 + ["saved"] * 2  # neither the launcher nor a dataloader was asked
    assert it.left == []


def test_sigterm_is_a_stop_too_and_needs_no_keeper(supervise: Supervise) -> None:
    it = supervise(worker(), "--no-keeper")
    assert it.process.stdin is not None
    it.process.stdin.close()
    it.wait_for("trains")
    it.process.terminate()
    it.process.terminate()  # at once: `timeout` and closing terminals send a second one
    assert it.process.wait(DEADLINE) == 0
    assert it.words.count("saved") == 2


def test_one_process_without_a_rank_is_its_own_worker(supervise: Supervise) -> None:
    alone = WORKER.format(stop=SAVES, before="", after="")
    it = supervise([sys.executable, "-c", alone])
    it.wait_for("trains", 1)
    it.say(node.STOP)
    assert (it.process.wait(DEADLINE), it.words) == (0, ["trains", "saved"])


def test_before_the_training_a_stop_is_the_end(supervise: Supervise) -> None:
    it = supervise(worker(before='os.write(1, b"imports\\n"); time.sleep(600)'))
    it.wait_for("imports")
    it.say(node.STOP)
    assert it.process.wait(DEADLINE) != 0
    assert "trains" not in it.words and it.left == []


def test_after_the_training_a_stop_lets_it_save(hurried: None, supervise: Supervise) -> None:
    """transformers hands SIGTERM back as its training ends, and the model is saved after that."""
    after = "time.sleep(1); signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
    after += "os.write(1, b'saves\\n'); time.sleep(0.5); os.write(1, b'made\\n'); loader.kill(); sys.exit()"
    it = supervise(worker(after=after))
    it.wait_for("saves")
    it.say(node.STOP)
    assert it.process.wait(DEADLINE) == 0
    assert it.words.count("made") == 2


DEAF = 'os.write(1, b"hears nothing\\n")'


@pytest.mark.parametrize("how", ["second signal", "end", "end of stdin"])
def test_what_ends_it_at_once_leaves_nothing(hurried: None, supervise: Supervise, how: str) -> None:
    it = supervise(worker(stop=DEAF))
    it.wait_for("trains")
    if how == "second signal":
        it.process.terminate()
        it.wait_for("hears nothing")
        wait_until(lambda: it.process.send_signal(signal.SIGTERM) is None and it.process.poll() is not None)
    elif how == "end":
        it.say(node.END)
    else:
        assert it.process.stdin is not None
        it.process.stdin.close()
    it.process.wait(DEADLINE)
    assert it.left == []


def test_who_is_ended_is_killed_before_it_begins_a_checkpoint() -> None:
    assert 1.0 < marks.GRACE_SECONDS < 3.0  # transformers/trainer_jit_checkpoint.py: kill_wait


def test_workers_that_outlive_their_launcher_are_ended(hurried: None, supervise: Supervise) -> None:
    it = supervise(worker(stop=DEAF))
    it.wait_for("trains")
    psutil.Process(it.process.pid).children()[0].kill()
    assert it.process.wait(DEADLINE) == node.SIGNALLED + signal.SIGKILL
    assert it.left == []


def test_a_supervisor_below_another_ends_its_own_alone(supervise: Supervise) -> None:
    inner = [sys.executable, "-m", node.__name__, "--no-keeper", sys.executable, "-c", "print('inner')"]
    beside = "import subprocess, sys; subprocess.run(sys.argv[1:], check=True); print('outer goes on')"
    it = supervise([sys.executable, "-c", beside, *inner])
    assert (it.process.wait(DEADLINE), it.words) == (0, ["inner", "outer goes on"])


def test_sigint_is_heard_in_a_background_of_a_script(supervise: Supervise) -> None:
    """A shell's `&` makes what it starts ignore SIGINT, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        it = supervise([sys.executable, "-c", "import signal; print(signal.getsignal(signal.SIGINT))"])
        it.process.wait(DEADLINE)
        assert "default_int_handler" in it.words[0]
    finally:
        signal.signal(signal.SIGINT, before)


def test_workers_that_stopped_apart_are_noticed(
    tmp_path: Path, hurried: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One left, the other waits for it for ever: it neither writes nor computes."""
    monkeypatch.setattr(node, "_IDLE_SECONDS", 0.5)
    monkeypatch.chdir(tmp_path)
    first = "if os.environ['LOCAL_RANK'] == '0': loader.kill(); os._exit(0)"
    it = node._Node(worker(stop=f"{first}\n    time.sleep(600)"))
    try:
        said = ""

        def trains() -> bool:
            nonlocal said
            said += capfd.readouterr().out
            return said.count("trains") == 2

        wait_until(trains)
        it.stop()
        wait_until(lambda: it.look() is not None and it.child.poll() is not None)
        assert "stopped apart" in capfd.readouterr().err
        assert list(marked(it.mark)) == []
    finally:
        end(it.mark)
        it.child.wait()
