"""A real Slurm of two nodes on this machine carries runs out; skipped where Slurm is not installed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm_cluster
from scratch import Project, RunDirectory
from test_stopping import started, wait_until

pytestmark = pytest.mark.slow

SHORT = (
    *("-s", "max_samples=16", "-s", "num_train_epochs=1", "-s", "logging_steps=1"),
    *("-s", "per_device_train_batch_size=1", "-s", "gradient_accumulation_steps=2"),
    *("-s", "eval_strategy='no'", "--launcher", "slurm"),
)
LONG = (*SHORT, "-s", "num_train_epochs=1000", "-s", "save_strategy='no'")
TRAINS_SECONDS = 300
END_SECONDS = 120


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if (why := slurm_cluster.missing()) is not None:
        pytest.skip(why)
    with slurm_cluster.running(tmp_path / "slurm") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield


@pytest.mark.usefixtures("slurm")
def test_a_job_trains_on_two_nodes_to_its_end_and_one_that_waits_is_taken_back(project: Project) -> None:
    refused = project.qtune("train", "lora", *SHORT, "-s", "launch.slurm.partition=nope", exit_code=2)
    assert "Invalid partition name" in refused.stderr and "launch.slurm" in refused.stderr
    assert not (project.root / "runs").exists()

    submitted = project.qtune("train", "lora", *SHORT, "-s", "launch.nnodes=2", "-n", "first")
    job = project.run("first").record["job_id"]
    assert f"submitted as Slurm job {job}" in submitted.stderr

    project.qtune("train", "lora", *SHORT, "-n", "second")
    with started(project, "watch", "second"):
        wait_until(lambda: "PENDING (" in project.output.read_text(), END_SECONDS)
        refused = project.qtune("resume", "second", exit_code=2)
        assert "waits to begin, as Slurm job" in refused.stderr
        project.qtune("stop", "second")
    assert project.run("second").record["status"] == "stopped"
    assert project.run("second").record["reason"] == "taken back before its job began"

    project.qtune("watch", "first")
    run = project.run("first")
    assert run.record["status"] == "finished"
    assert len(run.losses) == 4
    assert "world size: 2" in run.log
    assert {"0:", "1:"} <= {line[:2] for line in run.log.splitlines()}
    assert (project.root / "rendered/lora/job.sbatch").read_text().count("#SBATCH --nodes=2") == 0  # second's


@pytest.mark.usefixtures("slurm")
def test_the_signal_before_the_time_limit_is_a_clean_stop_and_the_run_goes_on_in_another_job(
    project: Project,
) -> None:
    project.qtune("train", "lora", *LONG, "-s", 'launch.slurm.time="60:00"')
    run = project.run("lora")
    wait_for_a_loss(run, above=0)
    # two minutes are left then, which is when the script asks for the signal
    subprocess.run(["scontrol", "update", f"JobId={run.record['job_id']}", "TimeLimit=3"], check=True)
    wait_until(lambda: run.record["status"] != "running", TRAINS_SECONDS)
    assert run.record["status"] == "stopped", run.record["reason"]
    assert "SIGTERM" in run.record["reason"]
    first = newest_checkpoint(run)
    assert first > 0

    project.qtune("resume", "lora")
    wait_for_a_loss(run, above=first + 10)  # the first job may have logged a step after its checkpoint
    assert run.record["attempts"][1]["from_step"] == first
    project.qtune("stop", "lora")
    assert run.record["status"] == "stopped"
    assert newest_checkpoint(run) > first


def wait_for_a_loss(run: RunDirectory, above: int) -> None:
    def there() -> bool:
        assert run.record["status"] in ("submitted", "running"), run.record["reason"]
        return run.record["status"] == "running" and any(
            line["current_steps"] > above and "loss" in line for line in run.progress
        )

    wait_until(there, TRAINS_SECONDS)


def newest_checkpoint(run: RunDirectory) -> int:
    """The step of the newest one, which is complete."""
    step = max(int(path.name.removeprefix("checkpoint-")) for path in run.path.glob("checkpoint-*"))
    directory = run.path / f"checkpoint-{step}"
    assert not (directory / "checkpoint-is-incomplete.txt").exists()
    assert (directory / "optimizer.pt").is_file()
    state = json.loads((directory / "trainer_state.json").read_text(encoding="utf-8"))
    assert state["global_step"] == step
    return step
