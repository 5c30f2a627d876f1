"""Predicted GPU memory of mixtures of experts beside what is allocated, at real widths and with few layers.

The vocabulary is cut so that a layer is the peak. See trace_experts.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scratch import environment

from qtune.machine.hardware import Hardware
from qtune.predict.memory.total import estimate
from qtune.predict.models.catalogue import find
from qtune.predict.models.find import from_config
from qtune.values import Config, Origin, Value

TRACE = Path(__file__).with_name("trace_experts.py")
LORA, FULL, WHOLE = {"rank": 8}, {}, {"rank": 8, "checkpointing": False}
LINEAR = {"layer_types": ["linear_attention"] * 2}
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("Qwen/Qwen3-30B-A3B", {}, LORA),
    ("Qwen/Qwen3-30B-A3B", {}, WHOLE),
    ("Qwen/Qwen3-30B-A3B", {}, FULL),
    ("mistralai/Mixtral-8x7B-v0.1", {}, LORA),
    ("mistralai/Mixtral-8x7B-v0.1", {}, FULL),
    ("openai/gpt-oss-20b", {}, LORA),
    ("openai/gpt-oss-20b", {}, FULL),
    ("deepseek-ai/DeepSeek-V3", {"first_k_dense_replace": 1, "n_group": 8, "topk_group": 4}, LORA),
    ("deepseek-ai/DeepSeek-V3", {"first_k_dense_replace": 2, "n_group": 8, "topk_group": 4}, LORA),
    ("Qwen/Qwen3-Next-80B-A3B", LINEAR, LORA),
    ("Qwen/Qwen3-Next-80B-A3B", {**LINEAR, "mlp_only_layers": [0, 1]}, FULL),
]


def config(hub_id: str, changed: dict[str, Any]) -> dict[str, Any]:
    entry = find(hub_id)
    assert entry is not None
    dtype = {"torch_dtype": "bfloat16"}  # gpt-oss is stored packed
    found = {**entry.config, **changed, **dtype, "num_hidden_layers": 2, "vocab_size": 1000}
    found.pop("quantization_config", None)
    return {**found, "pad_token_id": 0}


def predicted(content: dict[str, Any], length: int, case: dict[str, Any]) -> int:
    train = {
        "bf16": True,
        "per_device_train_batch_size": 1,
        "cutoff_len": length,
        "gradient_accumulation_steps": 1,
        "disable_gradient_checkpointing": not case.get("checkpointing", True),
        "finetuning_type": "lora" if "rank" in case else "full",
        "lora_rank": case.get("rank", 8),
    }
    values = {("train", key): Value(value, Origin("test")) for key, value in train.items()}
    model = from_config("m", content, source="config.json")
    return estimate(Config("test", values), model, Hardware(1, 800.0, bf16=True)).allocated


@pytest.mark.slow
def test_what_a_layer_adds_is_within_six_percent_of_what_is_traced() -> None:
    length = 1536
    cases = [{"config": config(hub_id, changed), "length": length, **case} for hub_id, changed, case in CASES]
    done = subprocess.run(
        [sys.executable, str(TRACE), json.dumps(cases)], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    ratios = {}
    for case, (peak, standing) in zip(cases, json.loads(done.stdout.splitlines()[-1]), strict=True):
        name = f"{case['config']['model_type']} {CASES[cases.index(case)][1:]}"
        ratios[name] = (predicted(case["config"], length, case) - standing) / (peak - standing)
        print(f"{name}: traced {peak - standing >> 20} MiB, predicted / traced {ratios[name]:.3f}")
    assert all(0.94 < ratio < 1.06 for ratio in ratios.values()), ratios
