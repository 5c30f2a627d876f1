"""Bytes of an optimizer's states for each trained element, by `optim` and LLaMA-Factory's own optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.predict.memory.setting import Setting
from qtune.schema import argument

_BLOCK_8_BIT = 256  # elements that share a float32 scale (bitsandbytes/optim/optimizer.py, init_state)

# Running averages that one optimizer keeps of each element; where it is not listed, Adam's two.
# Source: torch/optim and bitsandbytes/optim, the `state` that each step makes.
_AVERAGES = {"sgd": 0, "lion": 1, "rmsprop": 1, "adagrad": 1, "ademamix": 3, "lomo": 0, "adalomo": 0}


def state_bytes(setting: Setting) -> int:
    """Bytes of the optimizer's states over all trained parameters, as one process without ZeRO keeps them.

    Averages have the dtype of the parameters they belong to (torch/optim/adamw.py: zeros_like), so float32
    under DeepSpeed, whose masters are; `8bit` ones one byte each and a scale for each 256, but for
    embeddings, which keep 32 bits (transformers/trainer.py, create_optimizer). Adafactor keeps a row and a
    column for each matrix (Shazeer and Stern 2018). GaLore and APOLLO keep Adam's averages of matrices in
    `rank` dimensions and the projection (Zhao et al. 2024, table 1); BAdam those of one layer with its
    float32 copy and gradients (Luo et al. 2024, section 3.1).
    """
    train, found = setting.train, setting.trainable
    width = 4 if setting.zero else setting.trained_bytes
    if train.get("use_badam"):
        return 16 * max(setting.model.layer_parameters, default=0)
    if train.get("use_galore") or train.get("use_apollo"):
        return _low_rank(setting, width)
    name = str(argument(train, "optim"))
    if name == "adafactor":
        return 4 * sum(sum(item.shape) if len(item.shape) > 1 else item.size for item in found.tensors)
    if train.get("use_muon"):
        return sum(tensor.size * width * (1 if len(tensor.shape) == 2 else 2) for tensor in found.tensors)
    if train.get("use_adam_mini"):
        return int(found.parameters * width * 1.1)
    averages = next((count for word, count in _AVERAGES.items() if word in name), 2)
    if "8bit" not in name:
        return averages * width * found.parameters
    wide = setting.model.embedding_parameters if setting.method == "full" else 0
    narrow = found.parameters - wide
    return int(averages * (4 * wide + narrow * (1 + 4 / _BLOCK_8_BIT)))


def _low_rank(setting: Setting, width: int) -> int:
    rank = int(setting.train.get("galore_rank" if setting.train.get("use_galore") else "apollo_rank", 16))
    total = 0
    for tensor in setting.trainable.tensors:
        if len(tensor.shape) == 2 and min(tensor.shape) > rank:
            total += rank * (2 * max(tensor.shape) + min(tensor.shape))
        else:
            total += 2 * tensor.size
    return total * width


def needs_whole_copies(setting: Setting) -> bool:
    """Whether the step makes temporary tensors for all parameters at once.

    torch's AdamW does on a GPU unless it is fused, which is the default (transformers/training_args.py,
    default_optim; torch/optim/adamw.py, _multi_tensor_adamw).
    """
    return not setting.on_cpu and not setting.zero and setting.train.get("optim") == "adamw_torch"


def on_demand(train: Mapping[str, Any]) -> bool:
    """Whether the states may leave the GPU where memory is short (bitsandbytes' paged optimizers)."""
    return "paged" in str(argument(train, "optim"))
