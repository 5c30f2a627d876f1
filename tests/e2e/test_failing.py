"""A training that fails says why, where its log is, and leaves the way free for the next."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from scratch import Project

FEW = ("-s", "max_samples=16", "-s", "num_train_epochs=1", "-s", "logging_steps=1")


def test_a_broken_line_is_named_before_anything_starts(project: Project) -> None:
    data = project.root / "data" / "demo.jsonl"
    lines = data.read_text(encoding="utf-8").splitlines()
    lines[49] = lines[49][: len(lines[49]) // 2]
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    refused = project.qtune("train", "lora", *FEW, exit_code=2)
    assert "data/demo.jsonl:50: is not JSON" in refused.stderr
    assert not (project.root / "runs").exists()


def test_truncated_weights_are_named_and_the_next_run_succeeds(project: Project) -> None:
    model = project.root / "data" / "truncated-qwen2"
    shutil.copytree(project.root / "data" / "tiny-qwen2", model)
    weights = model / "model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:300_000])
    train = ("train", "lora", "-m", "data/truncated-qwen2", "-s", "template=qwen", *FEW)

    failed = project.qtune(*train, exit_code=1)
    assert_failure_is_told(project, failed, "lora", "SafetensorError")

    weights.write_bytes(good)
    project.qtune(*train)
    assert project.run("lora").record["status"] == "failed"
    assert project.run("lora-2").record["status"] == "finished"


def test_a_loss_that_is_no_number_ends_the_training(project: Project) -> None:
    """transformers logs it as 0."""
    endless = ("-s", "num_train_epochs=1000", "-s", "save_strategy='no'", "-s", "eval_dataset=null")
    spoilt = ("-s", "max_samples=16", "-s", "learning_rate=1.0e+18", "-s", "logging_steps=1")
    failed = project.qtune("train", "lora", *spoilt, *endless, exit_code=1)
    run = project.run("lora")
    assert run.record["failure"]["id"] == "loss-nan" and run.record["status"] == "failed"
    assert run.losses[0] > 0 and run.losses[-1] == 0
    assert run.progress[-1]["current_steps"] < run.progress[-1]["total_steps"]
    assert "cause: the loss is no number any more" in failed.stderr


@pytest.mark.slow
def test_a_loss_of_0_from_the_first_step_ends_the_training(project: Project) -> None:
    """Of rows that cutoff_len leaves no answer."""
    endless = ("-s", "num_train_epochs=1000", "-s", "save_strategy='no'", "-s", "eval_dataset=null")
    empty = ("-s", "max_samples=16", "-s", "cutoff_len=1", "-s", "logging_steps=1", "--force")
    project.qtune("train", "lora", *empty, *endless, exit_code=1)
    run = project.run("lora")
    assert run.record["failure"]["id"] == "loss-zero" and not any(run.losses)
    assert run.progress[-1]["current_steps"] < run.progress[-1]["total_steps"]


def assert_failure_is_told(
    project: Project, result: subprocess.CompletedProcess[str], name: str, word: str
) -> None:
    run = project.run(name)
    reason = run.record["reason"]
    assert (run.record["status"], run.record["exit_code"], run.record["pid"]) == ("failed", 1, None)
    assert word in reason
    assert reason in run.log
    failure = run.record["failure"]
    told = f"error: the training failed: {reason}\n  cause: {failure['cause']}\n  fix: {failure['fix']}\n"
    assert f"{told}  log: {run.path / 'train.log'}\n" in result.stderr
    assert result.stdout == ""
