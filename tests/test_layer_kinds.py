"""The kinds of layers of mixtures of experts and of hybrids, and what the experts hold of each token."""

from __future__ import annotations

from pathlib import Path

import pytest

from qtune.machine.hardware import Hardware
from qtune.predict.memory.activations import at_work_bytes
from qtune.predict.memory.layer_kinds import Experts, LayerKind, layer_kinds
from qtune.predict.memory.setting import Setting
from qtune.predict.models.find import load
from qtune.values import Config, Origin, Value

NOWHERE = Path("/nowhere")


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("Qwen/Qwen2.5-7B", [LayerKind(1, 18944)]),
        ("Qwen/Qwen3-30B-A3B", [LayerKind(1, 0, Experts(128, 768, 8))]),
        ("openai/gpt-oss-20b", [LayerKind(1, 0, Experts(32, 2880, 4))]),
        (
            "deepseek-ai/DeepSeek-V2-Lite",
            [LayerKind(1 - 26 / 27, 10944), LayerKind(26 / 27, 2 * 1408, Experts(64, 1408, 6))],
        ),
        # the shared expert stands beside the routed ones, and a token goes through all of these
        ("meta-llama/Llama-4-Scout-17B-16E", [LayerKind(1, 8192, Experts(16, 8192, 16))]),
        (
            "Qwen/Qwen3-Next-80B-A3B",
            [
                LayerKind(0.75, 512, Experts(512, 512, 10), (2048, 4096)),
                LayerKind(0.25, 512, Experts(512, 512, 10)),
            ],
        ),
    ],
)
def test_layers_are_told_apart_by_what_they_hold(name: str, kinds: list[LayerKind]) -> None:
    assert layer_kinds(load(name, NOWHERE)) == tuple(kinds)


def test_experts_hold_each_token_once_for_each_that_it_goes_through() -> None:
    """Qwen3-30B-A3B: attention 32 x 128 wide, keys 4 x 128, eight of 128 experts of 768."""
    train = {"bf16": True, "finetuning_type": "lora", "cutoff_len": 1, "per_device_train_batch_size": 1}
    values = {("train", key): Value(value, Origin("test")) for key, value in train.items()}
    model = load("Qwen/Qwen3-30B-A3B", NOWHERE)
    setting = Setting.of(Config("test", values), model, Hardware(1, 80.0, bf16=True))
    attention = 6 * 4096 + 4 * 512 + 4 * (4096 + 512) + 4 * 32
    each = (14 + 4) * 2048 + attention + 8 * (16 * 2048 + 6 * 768) + 4 * 128
    assert at_work_bytes(setting) == each
