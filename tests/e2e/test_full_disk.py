"""A disk that fills up while a training writes to it costs nothing but the step it was at."""

from __future__ import annotations

import errno
import json
import subprocess
from pathlib import Path

import psutil
import pytest
from limits import small_disk
from scratch import Project, RunDirectory
from test_stopping import started, wait_until

from qtune.runs.record import Run
from qtune.values import LaunchPlan

SIZE = 12 << 20
SETTINGS = (
    "max_samples=16",
    "per_device_train_batch_size=1",
    "gradient_accumulation_steps=1",
    "num_train_epochs=4",
    "save_steps=2",
    "save_total_limit=2",
    "logging_steps=1",
    "eval_dataset=null",
)


def fill(path: Path) -> None:
    """Take all the room there is, as somebody else's file."""
    with path.open("wb", buffering=0) as stream:
        while True:
            try:
                stream.write(bytes(1 << 12))
            except OSError as error:
                assert error.errno == errno.ENOSPC
                return


def complete_steps(run: RunDirectory) -> list[int]:
    """Of the checkpoints that hold the file that is written last."""
    found = run.path.glob("checkpoint-*/trainer_state.json")
    return sorted(int(file.parent.name.removeprefix("checkpoint-")) for file in found)


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_the_run_with_that_reason_and_it_resumes(project: Project) -> None:
    disk = project.root / "elsewhere"
    with small_disk(disk, SIZE):
        (project.root / "runs").symlink_to(disk, target_is_directory=True)
        settings = [word for setting in SETTINGS for word in ("-s", setting)]
        run = project.run("lora")
        with started(project, "train", "lora", *settings) as process:
            wait_until(lambda: complete_steps(run) or process.poll() is not None, 300)
            assert process.poll() is None, project.output.read_text(errors="replace")[-8000:]
            for child in psutil.Process(process.pid).children(recursive=True):
                child.suspend()  # so that it does not write meanwhile
            fill(disk / "of somebody else")
            for child in psutil.Process(process.pid).children(recursive=True):
                child.resume()
            assert process.wait(120) == 1
        said = project.output.read_text(errors="replace")
        record = run.record
        assert (record["status"], record["failure"]["id"], record["pid"]) == ("failed", "disk-full", None)
        assert "cause: the disk is full" in said and "Traceback" not in said.rpartition("error: ")[2]
        step = complete_steps(run)[-1]

        refused = project.qtune("resume", "lora", exit_code=2)
        assert "disk" in refused.stderr and run.record == record

        (disk / "of somebody else").unlink()
        resumed = project.qtune("resume", "lora")
        assert f"from checkpoint-{step}" in resumed.stderr
        attempts = run.record["attempts"]
        assert [attempt["status"] for attempt in attempts] == ["failed", "finished"]
        assert attempts[1]["from_step"] == step
        assert run.state["global_step"] == run.record["predicted_steps"] == 64
        assert not (run.path / ".reserve").exists()


def test_a_record_is_written_on_a_disk_that_is_full(tmp_path: Path) -> None:
    """In the room that is kept for it; where even that is taken, the last one stays as it was."""
    disk = tmp_path / "disk"
    with small_disk(disk, 2 << 20):
        run = Run(disk, "x", {"attempts": []})
        run.begin_attempt(LaunchPlan(("x",), {}))
        fill(disk / "of somebody else")
        run.end("failed", 1, "full")
        written = (disk / "qtune.json").read_text(encoding="utf-8")
        assert [json.loads(written)[key] for key in ("status", "reason")] == ["failed", "full"]
        fill(disk / "of yet somebody else")
        with pytest.raises(OSError, match="No space left"):
            run.update(status="running", more="x" * 10_000)
        assert (disk / "qtune.json").read_text(encoding="utf-8") == written
        assert {file.name for file in disk.iterdir()} == {
            "qtune.json",
            "of somebody else",
            "of yet somebody else",
        }


def test_what_does_not_fit_is_refused_where_the_runs_really_lie(project: Project) -> None:
    disk = project.root / "elsewhere"
    with small_disk(disk, 1 << 20):
        (project.root / "runs").symlink_to(disk, target_is_directory=True)
        refused = project.qtune("train", "lora", exit_code=2)
        assert "but one checkpoint takes" in refused.stderr
        assert list(disk.iterdir()) == []


def test_runs_that_cannot_be_written_are_refused_before_anything_starts(project: Project) -> None:
    disk = project.root / "runs"
    with small_disk(disk, 1 << 20):
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        refused = project.qtune("train", "lora", exit_code=2)
        assert "runs lies, cannot be written to" in refused.stderr and "fix: " in refused.stderr
        forced = project.qtune("train", "lora", "--force", exit_code=2)
        assert "Read-only file system" in forced.stderr and "Traceback" not in forced.stderr
