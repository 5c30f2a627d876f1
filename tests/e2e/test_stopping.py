"""Trainings that are stopped, or whose processes are killed: what is left, and what the record says."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest
from scratch import QTUNE, Project, RunDirectory, environment

MARK = "QTUNE_PROCESS"
ENDLESS = (
    *("-s", "num_train_epochs=1000", "-s", "logging_steps=1"),
    *("-s", "eval_strategy='no'", "-s", "eval_dataset=null"),
)
UNSAVED = (*ENDLESS, "-s", "save_strategy='no'")
TWO = ("-s", "launch.nproc_per_node=2")
FIRST_LOSS_SECONDS = 420  # DeepSpeed may have to compile before it
END_SECONDS = 90


def test_a_training_in_the_background_is_followed_and_stopped(project: Project) -> None:
    begun = project.qtune("train", "lora", "--detach", *UNSAVED)
    run = project.run("lora")
    assert begun.stdout.strip() == str(run.path)
    assert "qtune stop lora" in begun.stderr
    with started(project, "watch") as watch:
        wait_until(lambda: len(run.losses) >= 2, FIRST_LOSS_SECONDS)
        pid = run.record["pid"]
        assert os.getsid(pid) == pid  # a session of its own: closing the terminal does not reach it
        assert run.record["status"] == "running"

        for refused in (("resume", "lora"), ("train", "lora", "--overwrite", *ENDLESS)):
            said = project.qtune(*refused, exit_code=2).stderr
            assert f"is still training (process {pid} on " in said
            assert "qtune stop lora" in said

        stopped = project.qtune("stop", "lora")
        assert watch.wait(END_SECONDS) == 130
    wait_until(lambda: not marked(project), END_SECONDS)

    record, step = run.record, run.state["global_step"]
    assert (record["status"], record["exit_code"]) == ("stopped", 0)
    assert record["reason"] == f"stopped by SIGTERM at step {step} of {run.state['max_steps']}"
    [checkpoint] = [path.name for path in run.path.glob("checkpoint-*")]
    assert int(checkpoint.split("-")[1]) in (step - 1, step)  # the model can be a step ahead
    for said in (stopped.stderr, project.output.read_text(), project.qtune("watch", exit_code=130).stderr):
        assert record["reason"] in said
        assert f"`qtune resume lora` goes on from {checkpoint}" in said
    assert "'loss'" in project.output.read_text()
    assert "is stopped" in project.qtune("stop", "lora", exit_code=2).stderr


def test_ctrl_c_of_a_script_while_a_checkpoint_is_saved(project: Project) -> None:
    """A script's `&` makes qtune and all below it ignore SIGINT, which only it heeds all the same."""
    words = " ".join(f'"{word}"' for word in (*ENDLESS, "-s", "save_steps=1"))
    script = ["bash", "-c", f'"{QTUNE}" train lora {words} & wait $!; exit $?']
    with project.output.open("wb") as output:
        bash = subprocess.Popen(
            script, cwd=project.root, env=environment(), stdout=output, stderr=subprocess.STDOUT
        )
    run = project.run("lora")
    with left_to_itself(bash):
        wait_until(lambda: len(run.losses) >= 3 or bash.poll() is not None, FIRST_LOSS_SECONDS)

        wait_until(lambda: is_saving(run), END_SECONDS, every=0.001)
        os.kill(run.record["pid"], signal.SIGINT)
        assert bash.wait(END_SECONDS) == 130
    said = project.output.read_text(errors="replace")
    assert "SIGINT: stopping at the next step" in said
    step = run.record["global_step"]
    assert f"lora: stopped by SIGINT at step {step} of " in said
    newest = max(int(path.name.split("-")[1]) for path in run.path.glob("checkpoint-*"))
    assert newest in (step - 1, step)
    assert f"goes on from checkpoint-{newest}" in said and "not complete" not in said


def test_ctrl_c_before_the_first_step_ends_it_at_once(project: Project) -> None:
    with started(project, "train", "lora", *UNSAVED) as process:
        run = project.run("lora")
        wait_until(lambda: (run.path / "train.log").exists() and marked(project) != [], END_SECONDS)
        process.send_signal(signal.SIGINT)
        assert process.wait(END_SECONDS) == 130
    assert (run.record["status"], run.record["reason"]) == (
        "stopped",
        "stopped by SIGINT before its first step",
    )
    assert "`qtune resume lora` starts it anew" in project.output.read_text()
    assert marked(project) == []


@pytest.mark.slow
def test_ctrl_c_twice_ends_it_now(project: Project) -> None:
    with started(project, "train", "lora", *UNSAVED) as process:
        run = project.run("lora")
        wait_until(lambda: bool(run.losses), FIRST_LOSS_SECONDS)

        def press() -> bool:
            process.send_signal(signal.SIGINT)
            return process.poll() is not None

        wait_until(press, END_SECONDS)
    assert re.search(r"stopped by SIGINT at step \d+ of 25000", run.record["reason"])
    assert (run.record["status"], run.record["exit_code"]) == ("stopped", -signal.SIGKILL)
    assert list(run.path.glob("checkpoint-*")) == [] and not (run.path / "adapter_config.json").exists()
    assert marked(project) == []


@pytest.mark.slow
def test_ctrl_c_twice_while_a_checkpoint_is_saved_goes_on_from_a_whole_one(project: Project) -> None:
    with started(
        project, "train", "lora", *ENDLESS, "-s", "save_steps=1", "-s", "save_total_limit=3"
    ) as process:
        run = project.run("lora")
        wait_until(lambda: len(run.losses) >= 3, FIRST_LOSS_SECONDS)
        wait_until(lambda: is_saving(run), END_SECONDS, every=0.001)

        def press() -> bool:
            process.send_signal(signal.SIGINT)
            return process.poll() is not None

        wait_until(press, END_SECONDS)
    assert (run.record["status"], marked(project)) == ("stopped", [])
    step = run.record["global_step"]
    with started(project, "resume", "lora") as process:
        wait_until(lambda: run.progress[-1]["current_steps"] > step + 2, FIRST_LOSS_SECONDS)
        process.send_signal(signal.SIGINT)
        assert process.wait(END_SECONDS) == 130
    assert 0 < run.record["attempts"][-1]["from_step"] <= step


@pytest.mark.slow
def test_detached_it_outlives_its_terminal_and_a_pause_and_a_hangup_stops_it(project: Project) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project.root)
        os.execve(QTUNE, [str(QTUNE), "train", "lora", "--detach", *ENDLESS], environment())
    run = project.run("lora")
    wait_until(lambda: (run.path / "qtune.json").exists() and bool(run.record["attempts"]), END_SECONDS)
    os.kill(pid, signal.SIGKILL)  # the shell's part; the background has one of its own
    os.close(terminal)
    os.waitpid(pid, 0)
    wait_until(lambda: len(run.losses) >= 2, FIRST_LOSS_SECONDS)
    everything = [psutil.Process(run.record["pid"]), *marked(project)]
    for process in everything:
        process.suspend()
    wait_until(lambda: all(item.status() == psutil.STATUS_STOPPED for item in everything), END_SECONDS)
    paused = len(run.losses)
    assert "running" in project.qtune("runs").stdout
    assert "is still training" in project.qtune("resume", "lora", exit_code=2).stderr
    assert len(run.losses) == paused
    for process in everything:
        process.resume()
    wait_until(lambda: len(run.losses) >= paused + 2, END_SECONDS)
    everything[0].send_signal(signal.SIGHUP)
    wait_until(lambda: run.record["status"] == "stopped" and marked(project) == [], END_SECONDS)
    assert run.record["reason"].startswith("stopped by SIGHUP at step ")
    assert list(run.path.glob("checkpoint-*"))


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["lora", "deepspeed"])
def test_two_processes_stop_together_or_are_noticed(project: Project, preset: str) -> None:
    """Ranks can see the flag a step apart: then they hang, are ended, and an earlier checkpoint counts."""
    with started(project, "train", preset, *TWO, *ENDLESS, "-s", "save_steps=5") as process:
        run = project.run(preset)
        wait_until(lambda: len(run.losses) >= 6, FIRST_LOSS_SECONDS)
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_SECONDS + 60) == 130
    said = project.output.read_text(errors="replace")
    assert run.record["status"] == "stopped"
    assert re.search(r"stopped by SIGTERM at step \d+ of ", said)
    assert re.search(rf"`qtune resume {preset}` goes on from checkpoint-\d+", said)
    assert marked(project) == []


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "launcher", "supervisor", "qtune"])
def test_whoever_is_killed_leaves_no_process(project: Project, victim: str) -> None:
    with started(project, "train", "lora", *TWO, *UNSAVED) as process:
        run = project.run("lora")

        def workers() -> list[psutil.Process]:
            return [found for found in marked(project) if "LOCAL_RANK" in found.environ()]

        wait_until(lambda: len(workers()) >= 2, FIRST_LOSS_SECONDS)
        [supervisor] = psutil.Process(process.pid).children()
        [launcher] = supervisor.children()
        if victim == "worker":
            wait_until(lambda: bool(run.losses), FIRST_LOSS_SECONDS)
        if victim == "qtune":
            process.kill()
        else:
            {"worker": workers()[-1], "launcher": launcher, "supervisor": supervisor}[victim].kill()
        code = process.wait(END_SECONDS)
        wait_until(lambda: marked(project) == [], END_SECONDS)
    if victim == "qtune":
        assert code == -signal.SIGKILL
        assert run.record["status"] == "running"
        assert "was killed" in project.qtune("watch", exit_code=1).stderr
        assert "no longer running" in project.qtune("stop", exit_code=2).stderr
        return
    assert code == 1
    assert run.record["status"] == "failed"
    assert "SIGKILL" in run.record["reason"] or "-9" in run.record["reason"]


def is_saving(run: RunDirectory) -> bool:
    """Whether a checkpoint of it is half there."""
    there = list(run.path.glob("checkpoint-*"))
    return any(not (path / "trainer_state.json").exists() for path in there)


@contextmanager
def started(project: Project, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command while it runs; whatever a failing test leaves of it is killed."""
    with left_to_itself(project.start(*arguments)) as process:
        yield process


@contextmanager
def left_to_itself(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                children = psutil.Process(process.pid).children(recursive=True)
                for left in (psutil.Process(process.pid), *children):
                    left.kill()


def marked(project: Project) -> list[psutil.Process]:
    """The processes of the project's trainings, wherever their parents went."""
    found = []
    for process in psutil.process_iter():
        try:
            if MARK in process.environ() and process.cwd() == str(project.root):
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until(condition: Callable[[], bool], seconds: float, every: float = 0.2) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(every)
