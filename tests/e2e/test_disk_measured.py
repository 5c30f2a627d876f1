"""Predicted bytes of a checkpoint beside what real trainings write, by method, ZeRO stage and processes.

A model of Qwen2's architecture with random weights, large enough that nothing but tensors counts.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from scratch import Project
from test_memory_measured import CHECKOUT, MEASURE

SHAPES: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 4096,
    "tie_word_embeddings": True,
    "dtype": "float32",
    "pad_token_id": 1277,
    "eos_token_id": 1279,
}  # 5.3 million parameters
SETTINGS: dict[str, Any] = {
    "max_steps": 1,
    "save_steps": 1,
    "logging_steps": 1,
    "gradient_accumulation_steps": 1,
    "eval_dataset": None,
    "preprocessing_num_workers": 1,
    "dataloader_num_workers": 0,
    "report_to": "none",
    "plot_loss": False,
    "lora_rank": 128,
}
FULL = {"finetuning_type": "full"}
FREEZE = {"finetuning_type": "freeze", "freeze_trainable_layers": 1}
TWO = {"launch.nproc_per_node": 2}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("lora", {}),
    "lora, ZeRO-2, two processes": ("deepspeed", TWO),
    "full, ZeRO-2, two processes": ("deepspeed", {**FULL, **TWO}),
    "freeze, ZeRO-2": ("deepspeed", FREEZE),
    "lora, ZeRO-3": ("stage3", {}),
    "full, ZeRO-3": ("stage3", FULL),
    "freeze, ZeRO-3": ("stage3", FREEZE),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("disk")
    shutil.copy(CHECKOUT / "qtune.yaml", root)
    shutil.copytree(CHECKOUT / "data", root / "data")
    made = Project(root)
    (root / "model.json").write_text(json.dumps(SHAPES))
    made.command(sys.executable, str(MEASURE), "--make", str(root / "model.json"), str(root / "data/model"))
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(CHECKOUT / "data" / "tiny-qwen2" / file, root / "data" / "model")
    return made


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_has_the_predicted_size(case: str, project: Project) -> None:
    preset, changes = CASES[case]
    settings = {**SETTINGS, **changes}
    words = [word for key, value in settings.items() for word in ("-s", f"{key}={json.dumps(value)}")]
    name = case.replace(",", "").replace(" ", "-").lower()
    options = (preset, "-m", "data/model", *words)
    estimate = json.loads(project.qtune("estimate", *options, "--hardware", "cpu", "--json").stdout)
    project.qtune("train", *options, "-n", name)
    written = size(project.run(name).path / "checkpoint-1")
    print(f"\n{case}: {written:,} written, {estimate['checkpoint'] / written:.3f} of it predicted")
    assert estimate["checkpoint"] == pytest.approx(written, rel=0.02)


def size(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
