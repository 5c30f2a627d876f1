"""What the routed experts of a layer hold of each token, in bytes of one forward pass.

The library multiplies all rows at once, sorted by expert, and copies no weights: each token is there once for
each expert that it goes through (transformers, integrations/moe.py, grouped_mm_experts_forward).
"""

from __future__ import annotations

from typing import NamedTuple

from qtune.predict.memory.layer_kinds import Experts
from qtune.predict.memory.setting import Setting


class PerPair(NamedTuple):
    """Bytes for each pair of a token and an expert, as multiples of the hidden width and of an expert's."""

    hidden: float
    inner: float


class RoutedActivations(NamedTuple):
    """What lies there of each pair.

    kept: what the forward pass saves for the backward one. at_work: what was kept and gradients, at the
    weighing of what the experts put out, and between their two products; the larger counts.
    """

    kept: PerPair
    at_work: tuple[PerPair, ...]


# By method and precision, as activations.py has them. Found by tracing every allocation of two layers of
# Qwen3-30B-A3B, Mixtral-8x7B, gpt-oss-20b, DeepSeek-V3, Qwen3-Next and Llama 4 over their widths;
# tests/e2e/test_memory_of_experts.py compares them. Outputs are weighed in float32, the routers' dtype.
# Weights that are trained keep the rows that they multiply, and their products stay in the weights' float32
# under autocast (integrations/moe.py, _grouped_mm).
_FROZEN = RoutedActivations(PerPair(2, 6), (PerPair(16, 6), PerPair(2, 12)))
_TRAINED = RoutedActivations(PerPair(8, 16), (PerPair(20, 16),))
_ROUTED = {
    ("adapter", "autocast"): _FROZEN,
    ("adapter", "half"): _FROZEN,
    ("adapter", "mixed"): _FROZEN,
    ("adapter", "single"): RoutedActivations(PerPair(4, 12), (PerPair(16, 12), PerPair(4, 24))),
    ("weights", "autocast"): _TRAINED,
    ("weights", "single"): _TRAINED,
    ("weights", "half"): RoutedActivations(PerPair(4, 8), (PerPair(18, 8),)),
}
# Routers that put out what their linear layer does, 16 bits under autocast (modeling_deepseek_v3.py,
# DeepseekV3TopkRouter, and those like it): so are the weighed outputs.
_ROUNDED = RoutedActivations(PerPair(2, 6), (PerPair(8, 6), PerPair(2, 12)))
_ROUNDING = {
    "deepseek_v3",
    "dots1",
    "glm4_moe",
    "glm4_moe_lite",
    "glm4v_moe",
    "lfm2_moe",
    "llama4",
    "llama4_text",
}
# gpt-oss clamps gate and up, and adds biases (modeling_gpt_oss.py, GptOssExperts._apply_gate).
_CLAMPED = RoutedActivations(PerPair(2, 14.5), (PerPair(8, 14.5),))
# What still lies there when the experts' own gradients are complete, which outweigh what is freed by then.
_COMPLETE = {"autocast": PerPair(8, 8), "single": PerPair(8, 8), "half": PerPair(4, 4)}
_SCORES = 4  # bytes for each token and expert: the routers' softmax in float32


def kept_by_experts(setting: Setting, experts: Experts, precision: str) -> float:
    """Bytes of each token that a layer's experts keep."""
    return _bytes(setting, experts, _found(setting, precision).kept)


def experts_at_work(setting: Setting, experts: Experts, precision: str) -> float:
    """Bytes of each token at a layer's experts while it is gone back through, what was kept included."""
    gradients_lie_there = setting.adapter or setting.accumulates or bool(setting.zero) or setting.fsdp
    if not gradients_lie_there:
        return _bytes(setting, experts, _COMPLETE[precision])
    return max(_bytes(setting, experts, moment) for moment in _found(setting, precision).at_work)


def _found(setting: Setting, precision: str) -> RoutedActivations:
    found = _ROUTED["adapter" if setting.adapter else "weights", precision]
    if found is not _FROZEN:
        return found
    if setting.model.model_type == "gpt_oss":
        return _CLAMPED
    is_rounded = precision == "autocast" and setting.model.model_type in _ROUNDING
    return _ROUNDED if is_rounded else found


def _bytes(setting: Setting, experts: Experts, each: PerPair) -> float:
    pair = each.hidden * setting.model.hidden_size + each.inner * experts.inner
    return experts.chosen * pair + _SCORES * experts.count
