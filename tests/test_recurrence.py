"""Which models carry a state from token to token, by their config.json or their name."""

from __future__ import annotations

from typing import Any

import pytest

from qtune.config.recurrence import recurrent_kind


@pytest.mark.parametrize(
    "name",
    [
        "Qwen/Qwen3-Next-80B-A3B-Instruct",
        "Qwen/Qwen3.5-9B",
        "qwen/qwen3.5-0.8b-base",
        "LiquidAI/LFM2-1.2B",
        "tiiuae/Falcon-H1-7B-Instruct",
        "state-spaces/mamba-2.8b-hf",
        "ai21labs/AI21-Jamba-Mini-1.7",
    ],
)
def test_a_model_that_is_not_here_is_judged_by_its_name(name: str) -> None:
    assert recurrent_kind({}, name)


@pytest.mark.parametrize(
    "name",
    [
        "Qwen/Qwen3-8B",
        "Qwen/Qwen2.5-7B-Instruct",
        "me/Qwen3-5B",
        "MiniMaxAI/MiniMax-M2",
        "tiiuae/falcon-7b",
        "./qwen3",
    ],
)
def test_others_are_not(name: str) -> None:
    assert not recurrent_kind({}, name)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ({"model_type": "qwen3_next", "full_attention_interval": 4}, "qwen3_next"),
        ({"model_type": "qwen3_5", "text_config": {"model_type": "qwen3_5_text"}}, "qwen3_5"),
        ({"model_type": "qwen3_5_text"}, "qwen3_5_text"),
        ({"model_type": "new", "layer_types": ["full_attention", "linear_attention"]}, "new"),
        ({"model_type": "new", "text_config": {"layers_block_type": ["mamba"]}}, "new"),
        ({"model_type": "granitemoehybrid", "layer_types": ["attention", "attention"]}, ""),
        ({"model_type": "granitemoehybrid", "layer_types": ["attention", "mamba"]}, "granitemoehybrid"),
        ({"model_type": "gemma3", "text_config": {"layer_types": ["sliding_attention"]}}, ""),
        ({"model_type": "qwen2", "text_config": None, "layer_types": "all"}, ""),
    ],
)
def test_a_config_tells_more_than_a_name(model: dict[str, Any], kind: str) -> None:
    assert recurrent_kind(model, "Qwen/Qwen3.5-9B") == kind
