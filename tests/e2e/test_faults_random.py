"""Kills at random moments: no run is lost, and each ends as one that was left alone.

`make test-faults` runs it; what is random follows from the number of each case.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import psutil
import pytest
from scratch import Project, RunDirectory
from test_resuming import assert_ended_alike
from test_stopping import marked, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]

KILLS = 8  # of each of the four cases, so 32
MARK = "QTUNE_PROCESS"
TOGETHER = 10  # of each of three cases, so 30
SECONDS = 420
LEFT_SECONDS = 20
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
        victim = chance.choice(VICTIMS)
        killed = kill_once(project, run, arguments, chance, partial(pick, victim))
        if killed is None:
            break
        kills.append(f"{victim} {killed}")
        assert run.record["status"] in ("running", "failed", "stopped"), kills
        arguments = ("resume", "killed")
    print("\n".join(kills))
    assert len(kills) == KILLS, kills  # or it is too short for so many
    project.qtune("resume", "killed")
    assert_ended_alike(run, project.run("whole"))
    assert len(run.record["attempts"]) <= KILLS + 1


@pytest.mark.parametrize(("case", "launcher"), [(1, "local"), (2, "torchrun"), (3, "torchrun")])
def test_pairs_and_triples_killed_leave_no_process_and_no_second_writer(
    project: Project, case: int, launcher: str
) -> None:
    """Together, so that none sees another go; every second time the run is gone on with at once."""
    chance = random.Random(100 + case)
    settings = (*STEPS, "-s", "num_train_epochs=30", "-s", f"launch.launcher={launcher}")
    run = project.run("killed")
    arguments, kills = ("train", "lora", *settings, "-n", "killed"), []
    while len(kills) < TOGETHER:
        names: list[str] = []

        def several(pid: int, there: list[psutil.Process], names: list[str] = names) -> list[psutil.Process]:
            found = [psutil.Process(pid), *there]
            chosen = chance.sample(found, min(len(found), chance.choice((2, 3))))
            for process in chosen:
                names.append("qtune" if process.pid == pid else " ".join(process.cmdline()[1:5]))
            return chosen

        at_once = len(kills) % 2 == 1
        killed = kill_once(project, run, arguments, chance, several, at_once=at_once)
        assert killed is not None, kills  # it is too short for so many
        kills.append(f"{names} {killed}")
        assert run.record["status"] in ("running", "failed", "stopped"), kills
        arguments = ("resume", "killed")
    print("\n".join(kills))
    project.qtune("resume", "killed")
    assert run.record["status"] == "finished"
    assert len(run.record["attempts"]) <= TOGETHER + 1


def kill_once(
    project: Project,
    run: RunDirectory,
    arguments: tuple[str, ...],
    chance: random.Random,
    choose: Callable[[int, list[psutil.Process]], list[psutil.Process]],
    *,
    at_once: bool = False,
) -> str | None:
    """Start the command and kill what `choose` takes of it at some moment; when, None where it ended.

    at_once: whether what is left has to be gone only once the next command starts its own.
    """
    early, delay = chance.random() < 0.25, chance.random()
    before = len(run.progress)
    process = project.start(*arguments)
    try:

        def steps() -> bool:
            assert len(writers(project)) <= 1
            return process.poll() is not None or len(run.progress) > before

        if early:
            wait_until(lambda: process.poll() is not None or bool(below(process.pid)), SECONDS)
            time.sleep(8 * delay)  # somewhere in the imports: the moment is what is random here
        else:
            wait_until(steps, SECONDS)
            time.sleep(delay)
        if process.poll() is not None:
            return None
        chosen = choose(process.pid, below(process.pid))
        at = len(run.progress) - before
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for item in chosen:
                with suppress(psutil.NoSuchProcess):
                    item.send_signal(number)
        process.wait(SECONDS)
        if not at_once:
            wait_until(lambda: not marked(project), LEFT_SECONDS)
    finally:
        if process.poll() is None:
            for left in (*below(process.pid), psutil.Process(process.pid)):
                with suppress(psutil.NoSuchProcess):
                    left.kill()
            process.wait()
    return f"after {at} more steps{' (early)' if early else ''}"


def writers(project: Project) -> set[str]:
    """The marks of the trainings that have processes here, of each supervisor's the first part."""
    found = set()
    for process in marked(project):
        with suppress(psutil.Error):
            if process.environ().get("QTUNE_SUPERVISOR"):  # it trains, or is about to
                found.add(process.environ()[MARK].partition("/")[0])
    return found


def below(pid: int) -> list[psutil.Process]:
    """Its descendants of a training, from the supervisor down to the workers."""
    found = []
    with suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            if MARK in child.environ():  # not `git`, which it asks about the project
                found.append(child)
    return found


def pick(victim: str, qtune: int, processes: list[psutil.Process]) -> list[psutil.Process]:
    """The victim, or what stands for it where there is none yet."""
    if victim == "qtune" or not processes:
        return [psutil.Process(qtune)]
    [supervisor, *others] = processes
    if victim == "supervisor" or not others:
        return [supervisor]
    if victim == "launcher":
        return others[:1]
    return ([process for process in others if has_rank(process)] or others)[:1]


def has_rank(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "LOCAL_RANK" in process.environ()
    return False
