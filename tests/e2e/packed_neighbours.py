"""How far a packed row's logits follow the row before it: `python packed_neighbours.py ANSWERS`.

Tiny models with random weights, and rows of 10 tokens. The mask is LLaMA-Factory's for `neat_packing`; under
flash attention 2, which this machine lacks, it gives positions alone, by which sdpa keeps rows apart as well.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from llamafactory.data.collator import prepare_4d_attention_mask
from llamafactory.model.patcher import patch_qwen3_5_forward
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.qwen3_5 import modeling_qwen3_5 as qwen3_5

ROW = 10
SIZES = {
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
KINDS: dict[str, dict[str, Any]] = {
    "qwen2": {},
    "gemma3_text": {},
    "qwen3_5_text": LINEAR,
    "qwen3_next": {**LINEAR, **EXPERTS, "shared_expert_intermediate_size": 32},
    "bamba": {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "attn_layer_indices": [1]},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
}
VISION = {
    "depth": 1,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_heads": 2,
    "out_hidden_size": 64,
    "patch_size": 4,
    "num_position_embeddings": 16,
}


def main() -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[1] * ROW + [2] * ROW])
    neat = {
        "attention_mask": prepare_4d_attention_mask(mask, torch.float32),
        "position_ids": torch.arange(ROW).repeat(1, 2),
    }
    answers = {}
    for kind, sizes in KINDS.items():
        config = AutoConfig.for_model(kind, **SIZES, **sizes)
        answers[kind] = difference(AutoModelForCausalLM.from_config(config).eval(), **neat)
    answers["qwen3_5, patched"] = difference(patched(), position_ids=torch.arange(ROW).repeat(4, 1, 2))
    Path(sys.argv[1]).write_text(json.dumps(answers), encoding="utf-8")


def difference(model: Any, **given: torch.Tensor) -> float:
    """The largest difference that another first row makes to the logits of the second."""
    first, other, second = torch.randint(5, 200, (3, 1, ROW))
    with torch.no_grad():
        logits = [
            model(input_ids=torch.cat([before, second], 1), use_cache=False, **given).logits[:, ROW:]
            for before in (first, other)
        ]
    return float((logits[0] - logits[1]).abs().max())


def patched() -> Any:
    """Qwen3.5 as LLaMA-Factory patches it, on stand-ins for the kernels of flash-linear-attention."""
    config = qwen3_5.Qwen3_5Config(text_config={**SIZES, **LINEAR}, vision_config=VISION)
    config.architectures = ["Qwen3_5ForConditionalGeneration"]
    model = qwen3_5.Qwen3_5ForConditionalGeneration(config).eval()
    for name in ("fla", "fla.modules", "fla.modules.convolution", "fla.ops", "fla.ops.gated_delta_rule"):
        sys.modules[name] = ModuleType(name)
    vars(sys.modules["fla.modules.convolution"])["causal_conv1d"] = convolution
    kernels = sys.modules["fla.ops.gated_delta_rule"]
    vars(kernels).update(chunk_gated_delta_rule=delta_rule, fused_recurrent_gated_delta_rule=delta_rule)
    patch_qwen3_5_forward(model)
    return model


def convolution(x: Any, weight: Any, bias: Any, activation: str, cu_seqlens: Any) -> tuple[Any, None]:
    """x: (1, tokens, channels); weight: (channels, width)."""
    functional, width = torch.nn.functional, weight.shape[-1]
    parts = []
    for start, end in itertools.pairwise(cu_seqlens):
        part = functional.pad(x[:, start:end].transpose(1, 2), (width - 1, 0))
        parts.append(functional.conv1d(part, weight[:, None], bias, groups=len(weight)).transpose(1, 2))
    return functional.silu(torch.cat(parts, 1)), None


def delta_rule(query: Any, key: Any, value: Any, *, cu_seqlens: Any, **gates: Any) -> tuple[Any, None]:
    """query, key, value: (1, tokens, heads, width); gates of (1, tokens, heads) among others."""
    parts = []
    for start, end in itertools.pairwise(cu_seqlens):
        tensors = [tensor[:, start:end] for tensor in (query, key, value)]
        cut = {name: gate[:, start:end] if torch.is_tensor(gate) else gate for name, gate in gates.items()}
        parts.append(qwen3_5.torch_chunk_gated_delta_rule(*tensors, **cut)[0])
    return torch.cat(parts, 1), None


if __name__ == "__main__":
    main()
