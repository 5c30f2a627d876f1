"""Which models carry a state from token to token, beside attention or in its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Linear attention, Mamba, RWKV, xLSTM, Griffin, short convolutions: by model_type in transformers 5.5.4.
_TYPES = (
    *("qwen3_5", "qwen3_5_moe", "qwen3_next", "olmo_hybrid", "minimax"),
    *("bamba", "falcon_h1", "falcon_mamba", "granitemoehybrid", "jamba", "mamba", "mamba2", "nemotron_h"),
    *("zamba", "zamba2", "recurrent_gemma", "rwkv", "xlstm", "lfm2", "lfm2_moe", "lfm2_vl"),
)
_LAYERS = ("linear_attention", "mamba", "hybrid", "conv", "recurrent")
# The others are part of no name, or of those of models without such layers.
_NAMED = tuple(kind for kind in _TYPES if kind not in ("granitemoehybrid", "nemotron_h", "minimax"))


def recurrent_kind(model: Mapping[str, Any], name: str) -> str:
    """The model type of a model with such layers, empty for others.

    model: its config.json, empty where that is not here; name: its directory or hub's id, by which it is
    judged then.
    """
    if not model:
        told = re.sub(r"[-.]", "_", name.lower())
        return next((kind for kind in _NAMED if re.search(rf"(?:^|[_/]){kind}(?:_|$)", told)), "")
    text = model.get("text_config")
    text = text if isinstance(text, Mapping) else model
    kind = str(model.get("model_type"))
    layers = next((text[key] for key in ("layer_types", "layers_block_type") if text.get(key)), None)
    if isinstance(layers, list):  # some types come without such layers too
        return kind if any(layer in _LAYERS for layer in layers) else ""
    inner = str(text.get("model_type")).removesuffix("_text")
    return kind if kind.removesuffix("_text") in _TYPES or inner in _TYPES else ""
