"""Predicted GPU memory beside what transformers, PEFT and torch allocate at the real shapes of Qwen2.5.

Every allocation and release is real but for the data: see trace_memory.py. The loss, the layer at work, the
autocast cache and the embeddings' gradient each are the peak in one of the cases.
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
from qtune.predict.models.find import load
from qtune.values import Config, Origin, Value

TRACE = Path(__file__).with_name("trace_memory.py")
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LORA: dict[str, Any] = {"rank": 64, "targets": ALL}
DORA: dict[str, Any] = {**LORA, "dora": True}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("0.5B", {**LORA, "batch": 1, "length": 2048}),
    ("0.5B", {**LORA, "batch": 4, "length": 1024, "accumulation": 2}),
    ("0.5B", {"rank": 8, "targets": ["q_proj", "v_proj"], "batch": 2, "length": 512, "checkpointing": False}),
    ("1.5B", {**LORA, "batch": 1, "length": 512}),
    ("7B", {**LORA, "batch": 1, "length": 2048}),
    ("7B", {**LORA, "batch": 1, "length": 512, "checkpointing": False}),
    ("0.5B", {**DORA, "batch": 2, "length": 512, "checkpointing": False}),
    ("7B", {**DORA, "batch": 1, "length": 2048}),
    ("0.5B", {"batch": 1, "length": 256}),
    ("0.5B", {"batch": 2, "length": 2048, "accumulation": 2}),
    ("1.5B", {"batch": 1, "length": 1024}),
    ("7B", {"batch": 1, "length": 256}),
    ("7B", {"batch": 1, "length": 2048, "accumulation": 2}),
    ("1.5B", {**LORA, "batch": 1, "length": 2048, "checkpointing": False, "quantized": True}),
    ("1.5B", {**LORA, "batch": 1, "length": 2048, "checkpointing": False, "dropout": 0.1, "quantized": True}),
    ("7B", {**LORA, "rank": 8, "batch": 1, "length": 1024, "quantized": True}),
]

SHARDED: list[tuple[str, dict[str, Any]]] = [
    ("1.5B", {**LORA, "batch": 1, "length": 2048, "processes": 4}),
    ("7B", {**LORA, "rank": 8, "batch": 1, "length": 2048, "processes": 8}),
    ("1.5B", {**LORA, "batch": 1, "length": 2048, "processes": 4, "dropout": 0.1, "checkpointing": False}),
    ("1.5B", {"batch": 1, "length": 1024, "processes": 4}),
    ("7B", {"batch": 1, "length": 1024, "processes": 8}),
]


def predicted(size: str, case: dict[str, Any]) -> int:
    train: dict[str, Any] = {
        "bf16": True,
        "per_device_train_batch_size": case["batch"],
        "cutoff_len": case["length"],
        "gradient_accumulation_steps": case.get("accumulation", 1),
        "disable_gradient_checkpointing": not case.get("checkpointing", True),
        "finetuning_type": "lora" if "rank" in case else "full",
        "lora_rank": case.get("rank"),
        "lora_target": ",".join(case.get("targets", [])),
        "use_dora": case.get("dora"),
        "quantization_bit": 4 if case.get("quantized") else None,
        "double_quantization": False,
        "lora_dropout": case.get("dropout"),
    }
    launch = {"launcher": "accelerate", "nproc_per_node": case["processes"]} if "processes" in case else {}
    blocks = {"train": train, "launch": launch}
    values = {
        (block, key): Value(value, Origin("test"))
        for block, found in blocks.items()
        for key, value in found.items()
        if value is not None
    }
    model = load(f"Qwen/Qwen2.5-{size}", Path("/nowhere"))
    return estimate(Config("test", values), model, Hardware(1, 80.0, bf16=True)).allocated


def shapes(size: str) -> dict[str, Any]:
    model = load(f"Qwen/Qwen2.5-{size}", Path("/nowhere"))
    keys = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    more = ("num_key_value_heads", "vocab_size", "tie_word_embeddings")
    return {key: getattr(model, key) for key in (*keys, *more)}


def ratios(cases: list[tuple[str, dict[str, Any]]]) -> dict[str, float]:
    given = [{**case, "shapes": shapes(size)} for size, case in cases]
    done = subprocess.run(
        [sys.executable, str(TRACE), json.dumps(given)], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = {}
    for (size, case), peak in zip(cases, json.loads(done.stdout.splitlines()[-1]), strict=True):
        found[f"{size} {case}"] = predicted(size, case) / peak
        print(f"{size} {case}: traced {peak >> 20} MiB, predicted / traced {found[f'{size} {case}']:.3f}")
    return found


@pytest.mark.slow
def test_predictions_are_within_three_percent_of_the_traced_peaks() -> None:
    found = ratios(CASES)
    assert all(0.97 < ratio < 1.03 for ratio in found.values()), found


@pytest.mark.slow
def test_what_fsdp_shards_is_within_five_percent_of_the_traced_peaks() -> None:
    found = ratios(SHARDED)
    assert all(0.95 < ratio < 1.05 for ratio in found.values()), found
