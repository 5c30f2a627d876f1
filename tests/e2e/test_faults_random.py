"""Kills at random moments: no run is lost, and each ends as one that was left alone.

`make test-faults` runs it; what is random follows from the number of each case.
"""

from __future__ import annotations

import random
import signal
import time
from contextlib import suppress

import psutil
import pytest
from scratch import Project, RunDirectory
from test_resuming import assert_ended_alike
from test_stopping import marked, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]

KILLS = 8  # of each of the four cases, so 32
MARK = "QTUNE_PROCESS"
SECONDS = 420
# 120 steps, each of them logged and saved: some ten seconds without the imports.
STEPS = tuple(
    word
    for setting in (
        "max_samples=16",
        "per_device_train_batch_size=2",
        "gradient_accumulation_steps=1",
        "num_train_epochs=15",
        "logging_steps=1",
        "save_steps=1",
        "save_total_limit=3",
        "eval_dataset=null",
        "lora_dropout=0.1",
    )
    for word in ("-s", setting)
)
VICTIMS = ("qtune", "supervisor", "launcher", "worker")


@pytest.mark.parametrize(("case", "launcher"), [(1, "local"), (2, "local"), (3, "local"), (4, "torchrun")])
def test_a_run_killed_again_and_again_ends_as_one_left_alone(
    project: Project, case: int, launcher: str
) -> None:
    chance = random.Random(case)
    settings = (*STEPS, "-s", f"launch.launcher={launcher}")
    project.qtune("train", "lora", *settings, "-n", "whole")
    run = project.run("killed")
    arguments, kills = ("train", "lora", *settings, "-n", "killed"), []
    while len(kills) < KILLS:
        killed = kill_once(project, run, arguments, chance)
        if killed is None:
            break
        kills.append(killed)
        assert run.record["status"] in ("running", "failed", "stopped"), kills
        arguments = ("resume", "killed")
    print("\n".join(kills))
    assert len(kills) == KILLS, kills  # or it is too short for so many
    project.qtune("resume", "killed")
    assert_ended_alike(run, project.run("whole"))
    assert len(run.record["attempts"]) <= KILLS + 1


def kill_once(
    project: Project, run: RunDirectory, arguments: tuple[str, ...], chance: random.Random
) -> str | None:
    """Start the command and kill one process of it at some moment; which and when, None where it ended."""
    victim, early, delay = chance.choice(VICTIMS), chance.random() < 0.25, chance.random()
    before = len(run.progress)
    process = project.start(*arguments)
    try:

        def steps() -> bool:
            return process.poll() is not None or len(run.progress) > before

        if early:
            wait_until(lambda: process.poll() is not None or bool(below(process.pid)), SECONDS)
            time.sleep(8 * delay)  # somewhere in the imports: the moment is what is random here
        else:
            wait_until(steps, SECONDS)
            time.sleep(delay)
        if process.poll() is not None:
            return None
        processes = below(process.pid)
        chosen = pick(process.pid, processes, victim)
        at = len(run.progress) - before
        with suppress(psutil.NoSuchProcess):
            chosen.send_signal(signal.SIGKILL)
        process.wait(SECONDS)
        wait_until(lambda: not marked(project), 60)
    finally:
        if process.poll() is None:
            for left in (*below(process.pid), psutil.Process(process.pid)):
                with suppress(psutil.NoSuchProcess):
                    left.kill()
            process.wait()
    return f"{victim} after {at} more steps{' (early)' if early else ''}"


def below(pid: int) -> list[psutil.Process]:
    """Its descendants of a training, from the supervisor down to the workers."""
    found = []
    with suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            if MARK in child.environ():  # not `git`, which it asks about the project
                found.append(child)
    return found


def pick(qtune: int, processes: list[psutil.Process], victim: str) -> psutil.Process:
    """The victim, or what stands for it where there is none yet."""
    if victim == "qtune" or not processes:
        return psutil.Process(qtune)
    [supervisor, *others] = processes
    if victim == "supervisor" or not others:
        return supervisor
    if victim == "launcher":
        return others[0]
    ranked = [process for process in others if has_rank(process)]
    return (ranked or others)[0]


def has_rank(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "LOCAL_RANK" in process.environ()
    return False
