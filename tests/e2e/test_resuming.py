"""A training that was killed goes on, and ends as one that never was."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from scratch import Project, RunDirectory
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_stopping import marked, started, wait_until

pytestmark = pytest.mark.slow

FIRST_SECONDS = 420  # DeepSpeed may have to compile before it
# 40 steps, each of them logged and saved.
STEPS = tuple(
    word
    for setting in (
        "max_samples=16",
        "per_device_train_batch_size=2",
        "gradient_accumulation_steps=1",
        "num_train_epochs=5",
        "logging_steps=1",
        "save_steps=1",
        "save_total_limit=8",
        "eval_dataset=null",
    )
    for word in ("-s", setting)
)


def test_a_killed_lora_with_dropout_goes_on_from_its_newest_whole_checkpoint(project: Project) -> None:
    project.qtune("train", "lora", *STEPS, "-s", "lora_dropout=0.1", "-n", "whole")
    whole = project.run("whole")
    kill_at(project, 12, "train", "lora", *STEPS, "-s", "lora_dropout=0.1", "-n", "killed")
    killed = project.run("killed")
    assert (killed.record["status"], killed.record["attempts"][-1]["status"]) == ("running", "running")
    *_, fifth, fourth, third, second, first = steps = saved(killed)
    cut_off(killed.path / f"checkpoint-{first}" / "adapter_model.safetensors")
    (killed.path / f"checkpoint-{second}" / "optimizer.pt").write_bytes(b"")
    (killed.path / f"checkpoint-{third}" / "rng_state.pth").unlink()
    (killed.path / f"checkpoint-{fourth}" / "optimizer.pt").unlink()
    # what is rendered today is no matter
    project.qtune("render", "lora", "-s", "learning_rate=1.0")

    said = project.qtune("resume").stderr
    assert f"from checkpoint-{fifth}" in said
    for step in (first, second, third, fourth):
        assert f"checkpoint-{step} is not complete" in said
        assert (killed.path / "set-aside" / f"checkpoint-{step}" / "trainer_state.json").is_file()
    assert_ended_alike(killed, whole)
    assert_one_curve(killed, whole)
    assert len(steps) >= 5 and [attempt["status"] for attempt in killed.record["attempts"]] == [
        "killed",
        "finished",
    ]
    assert killed.record["attempts"][-1]["from_step"] == fifth
    assert "is finished" in project.qtune("resume", "killed", exit_code=2).stderr

    said = project.qtune("replay", "killed", "-n", "again").stderr
    assert "nothing differs today" in said
    assert_ended_alike(project.run("again"), whole)


def test_full_goes_on_after_a_kill_and_after_a_stop(project: Project) -> None:
    # 360 steps: a clean stop begins 3 s after it is asked for (transformers/trainer_jit_checkpoint.py,
    # kill_wait), in which a quick machine takes more than 100 of them
    settings = (*STEPS, "-s", "num_train_epochs=45")
    project.qtune("train", "full", *settings, "-n", "whole")
    kill_at(project, 5, "train", "full", *settings, "-n", "killed")
    killed = project.run("killed")
    *_, second, first = saved(killed)
    (killed.path / f"checkpoint-{first}" / "model.safetensors").unlink()

    with started(project, "resume") as process:
        wait_until(lambda: process.poll() is not None or max(saved(killed)) > first, FIRST_SECONDS)
        process.send_signal(signal.SIGINT)
        assert process.wait(FIRST_SECONDS) == 130
    said = project.output.read_text(errors="replace")
    assert f"checkpoint-{first} is not complete" in said and f"from checkpoint-{second}" in said
    assert killed.record["status"] == "stopped"

    for path in killed.path.glob("checkpoint-*"):  # as after a clock that was set back by a day
        os.utime(path, (time.time() + 86400, time.time() + 86400))
    project.qtune("resume")
    assert_ended_alike(killed, project.run("whole"))
    assert [attempt["status"] for attempt in killed.record["attempts"]] == ["killed", "stopped", "finished"]
    assert max(saved(killed)) == killed.state["global_step"]  # the newest was not taken for the oldest


def test_zero_2_goes_on_with_the_parts_of_every_process(project: Project) -> None:
    settings = (*STEPS, "-s", "num_train_epochs=3", "-s", "launch.nproc_per_node=2")  # 12 steps
    project.qtune("train", "deepspeed", *settings, "-n", "whole")
    kill_at(project, 5, "train", "deepspeed", *settings, "-n", "killed")
    killed = project.run("killed")
    *_, second, first = saved(killed)
    part = f"global_step{first}/zero_pp_rank_1_mp_rank_00_optim_states.pt"
    (killed.path / f"checkpoint-{first}" / part).unlink()
    one = ("-s", "launch.nproc_per_node=1", "--force")
    assert "resume with 2 processes" in project.qtune("resume", *one, exit_code=2).stderr

    said = project.qtune("resume").stderr
    assert f"checkpoint-{first} is not complete" in said and f"from checkpoint-{second}" in said
    assert_ended_alike(killed, project.run("whole"))


def assert_ended_alike(run: RunDirectory, other: RunDirectory) -> None:
    """The same steps, and every loss the same to the last digit.

    A stop that is noticed at a step's end saves before that step is logged, so the trainer's own history, and
    with it the mean, can lack that one (transformers/trainer_jit_checkpoint.py, on_step_end).
    """
    assert run.record["status"] == "finished"
    assert run.state["global_step"] == other.state["global_step"]
    stopped = {attempt["global_step"] for attempt in run.record["attempts"] if attempt["status"] == "stopped"}
    lacking = {step for step, *_ in history(other)} - {step for step, *_ in history(run)}
    assert lacking <= stopped
    assert all(losses(run)[step] == losses(other)[step] for step in lacking)
    assert history(run) == [entry for entry in history(other) if entry[0] not in lacking]
    mean = pytest.approx(other.record["metrics"]["train_loss"], rel=1e-3 if lacking else None)
    assert run.record["metrics"]["train_loss"] == mean


def assert_one_curve(run: RunDirectory, other: RunDirectory) -> None:
    """Each step's loss once in what TensorBoard shows, and the same as that of the other."""
    curves = []
    for path in (run.path, other.path):
        (directory,) = (path / "runs").iterdir()
        events = EventAccumulator(str(directory)).Reload()
        curves.append([(event.step, event.value) for event in events.Scalars("train/loss")])
    assert curves[0] == curves[1]
    assert [step for step, _ in curves[0]] == sorted({step for step, _ in curves[0]})


def history(run: RunDirectory) -> list[tuple[int, float, float]]:
    entries = (entry for entry in run.state["log_history"] if "loss" in entry)
    return [(entry["step"], entry["loss"], entry["grad_norm"]) for entry in entries]


def losses(run: RunDirectory) -> dict[int, float]:
    """By step, as LLaMA-Factory logged them; of a step that was trained twice the last."""
    return {line["current_steps"]: line["loss"] for line in run.progress if "loss" in line}


def saved(run: RunDirectory) -> list[int]:
    """The steps of the checkpoints whose last file is there."""
    found = []
    for path in run.path.glob("checkpoint-*"):
        with suppress(OSError, ValueError):
            json.loads((path / "trainer_state.json").read_text())
            found.append(int(path.name.removeprefix("checkpoint-")))
    return sorted(found)


def kill_at(project: Project, step: int, *arguments: str) -> None:
    """Start the command, and kill qtune and every process below it once that step is saved."""
    name = arguments[-1]
    with started(project, *arguments) as process:

        def reached() -> bool:
            return process.poll() is not None or any(at >= step for at in saved(project.run(name)))

        wait_until(reached, FIRST_SECONDS)
        assert process.poll() is None, project.output.read_text(errors="replace")[-8000:]
        kill_all(project, process.pid)
        process.wait()


def kill_all(project: Project, qtune: int) -> None:
    """SIGKILL to a qtune and to everything that it started, all at once."""
    every = [psutil.Process(qtune), *marked(project)]
    assert len(every) > 2
    for process in every:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    for process in every:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: not marked(project), 30)


def cut_off(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size // 2)
