"""A signal to qtune alone ends the training, and every process of it."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest
from scratch import Project

MARK = "QTUNE_PROCESS"
LONG = ("-s", "num_train_epochs=1000", "-s", "logging_steps=1", "-s", "save_strategy='no'")
FIRST_LOSS_SECONDS = 420  # DeepSpeed may have to compile before it
END_SECONDS = 60


@pytest.mark.parametrize(
    ("preset", "stop", "at_least"),
    [("lora", signal.SIGINT, 1), ("deepspeed", signal.SIGTERM, 3)],  # launcher, torchrun and its worker
)
def test_signal_ends_every_process_and_is_recorded(
    project: Project, preset: str, stop: signal.Signals, at_least: int
) -> None:
    with started(project, "train", preset, *LONG, "-s", "eval_strategy='no'") as process:
        run = project.run(preset)
        wait_until(lambda: bool(run.losses) or process.poll() is not None, FIRST_LOSS_SECONDS)
        assert process.poll() is None, project.output.read_text(errors="replace")[-8000:]
        assert run.record["status"] == "running"
        assert run.record["pid"] == process.pid
        [mark] = {child.environ().get(MARK) for child in psutil.Process(process.pid).children(recursive=True)}
        assert mark is not None
        assert len(marked(mark)) >= at_least

        process.send_signal(stop)
        assert process.wait(END_SECONDS) == 130

    assert f"interrupted: ended by {stop.name}" in project.output.read_text(errors="replace")
    assert run.record["status"] == "interrupted"
    assert run.record["pid"] is None
    assert stop.name in run.record["reason"]
    assert marked(mark) == []


@contextmanager
def started(project: Project, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command while it runs; whatever a failing test leaves of it is killed."""
    process = project.start(*arguments)
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                children = psutil.Process(process.pid).children(recursive=True)
                for left in (psutil.Process(process.pid), *children):
                    left.kill()


def marked(mark: str) -> list[int]:
    """The processes that carry the run's mark in their environment, wherever their parents went."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)
