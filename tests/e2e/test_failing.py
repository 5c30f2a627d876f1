"""A training that fails says why, where its log is, and leaves the way free for the next."""

from __future__ import annotations

import shutil
import subprocess

from scratch import Project

FEW = ("-s", "max_samples=16", "-s", "num_train_epochs=1", "-s", "logging_steps=1")


def test_broken_line_in_a_dataset_is_named_and_the_next_run_succeeds(project: Project) -> None:
    data = project.root / "data" / "demo.jsonl"
    good = data.read_text(encoding="utf-8")
    lines = good.splitlines()
    lines[49] = lines[49][: len(lines[49]) // 2]
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")

    # qtune's check reads the first row, not every one
    failed = project.qtune("train", "lora", *FEW, exit_code=1)
    assert_failure_is_told(project, failed, "lora", "JSON parse error")

    data.write_text(good, encoding="utf-8")
    project.qtune("train", "lora", *FEW)
    assert project.run("lora").record["status"] == "failed"
    assert project.run("lora-2").record["status"] == "finished"


def test_truncated_weights_are_named(project: Project) -> None:
    model = project.root / "data" / "truncated-qwen2"
    shutil.copytree(project.root / "data" / "tiny-qwen2", model)
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:300_000])

    failed = project.qtune(
        "train", "lora", "-m", "data/truncated-qwen2", "-s", "template=qwen", *FEW, exit_code=1
    )
    assert_failure_is_told(project, failed, "lora", "SafetensorError")


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
