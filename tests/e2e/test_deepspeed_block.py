"""DeepSpeed's own optimizer, schedule and monitors through LLaMA-Factory: what the block says arrives."""

from __future__ import annotations

import csv
import json

import pytest
import yaml
from scratch import Project

from qtune.config.project import find_project
from qtune.prepare.records import read_record
from qtune.runs.checkpoints import flaw

ENGINE = {
    # torch_adam: nothing to compile
    "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "torch_adam": True}},
    "scheduler": {
        "type": "WarmupDecayLR",
        "params": {"total_num_steps": "auto", "warmup_max_lr": "auto", "warmup_num_steps": "auto"},
    },
    "aio": {"queue_depth": 4},
    "activation_checkpointing": {"partition_activations": True},
    "csv_monitor": {"enabled": True, "output_path": "csv", "job_name": "a"},
    "flops_profiler": {"enabled": True, "profile_step": 2, "output_file": "flops.txt"},
}
SETTINGS = {
    **{"max_samples": 8, "num_train_epochs": 2, "logging_steps": 1, "warmup_steps": 2, "save_steps": 4},
    **{"per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "learning_rate": 1e-3},
}
# two steps up from 0, and down to it over the other six
RATES = [0.0, 1.0, 1.0, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]


@pytest.mark.parametrize("stage", [0, 2])
def test_optimizer_schedule_and_monitors_arrive(project: Project, stage: int) -> None:
    """At stage 0 too, where DeepSpeed runs for the block alone; and the checkpoints are whole."""
    preset = {"extends": "lora", "zero": {"stage": stage}, "deepspeed": ENGINE}
    (project.root / "presets").mkdir(exist_ok=True)
    (project.root / "presets" / "engine.yaml").write_text(yaml.safe_dump(preset), encoding="utf-8")
    settings = [word for key, value in SETTINGS.items() for word in ("-s", f"{key}={value}")]
    project.qtune("train", "engine", *settings, "-s", "eval_dataset=null")

    run = project.run("engine")
    lines = (run.path / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    rates = [entry["lr"] for entry in map(json.loads, lines) if "lr" in entry]
    assert rates == pytest.approx([rate * 1e-3 for rate in RATES])
    with (project.root / "csv" / "a" / "Train_Samples_lr.csv").open(encoding="utf-8") as file:
        assert [float(row[1]) for row in list(csv.reader(file))[1:]] == pytest.approx(rates)
    assert "Flops Profiler" in (project.root / "flops.txt").read_text(encoding="utf-8")

    checkpoint = run.path / "checkpoint-4"
    assert not (checkpoint / "scheduler.pt").exists()
    config = read_record(find_project(project.root), run.path).config
    assert flaw(checkpoint, 4, config) is None
