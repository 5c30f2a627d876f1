"""A training that fails says why, where its log is, and leaves the way free for the next."""

from __future__ import annotations

import shutil
import subprocess

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


def assert_failure_is_told(
    project: Project, result: subprocess.CompletedProcess[str], name: str, word: str
) -> None:
    run = project.run(name)
    reason = run.record["reason"]
    assert (run.record["status"], run.record["exit_code"], run.record["pid"]) == ("failed", 1, None)
    assert word in reason
    assert reason in run.log
    assert f"error: the training failed: {reason}\n  log: {run.path / 'train.log'}\n" in result.stderr
    assert result.stdout == ""
