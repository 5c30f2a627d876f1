"""Make small models of several families with random weights, whose rope is no default.

Run as `python make_tiny_families.py TINY_QWEN2 OUTPUT`: each has the tokenizer of the embedded model, that of
Llama under the class that Llama 3 names.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

SHAPE = {
    "vocab_size": 1280,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
    "initializer_range": 0.1,
    "bos_token_id": 1278,
    "eos_token_id": 1279,
    "pad_token_id": 1277,
    "tie_word_embeddings": True,
}
FAMILIES = {
    "qwen2": {"rope_theta": 1e6},
    "qwen3": {"rope_theta": 1e6},
    "llama": {
        "rope_theta": 5e5,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 512,
        },
    },
    "qwen3_moe": {"rope_theta": 1e6, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    "mistral": {"rope_theta": 1e6},
    "glm4": {"rope_theta": 1e6, "partial_rotary_factor": 0.5},
    "phi3": {
        "rope_theta": 1e6,
        "partial_rotary_factor": 0.5,
        "original_max_position_embeddings": 512,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0, 1.1, 1.2, 1.3],
            "long_factor": [2.0, 3.0, 4.0, 5.0],
        },
    },
    "gemma": {"rope_theta": 1e6},
    "gemma2": {"rope_theta": 1e6},
    "gemma3_text": {
        "rope_theta": 1e6,
        "rope_local_base_freq": 2e4,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "sliding_window": 64,
        "layer_types": ["sliding_attention", "full_attention"],
    },
}


def main(text_model: Path, output: Path) -> None:
    for family, rope in FAMILIES.items():
        directory = output / family
        torch.manual_seed(0)
        config = CONFIG_MAPPING[family](**SHAPE, **rope)
        AutoModelForCausalLM.from_config(config).save_pretrained(directory)
        shutil.copy(text_model / "tokenizer.json", directory)
        tokenizer = json.loads((text_model / "tokenizer_config.json").read_text(encoding="utf-8"))
        if family == "llama":
            tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
        (directory / "tokenizer_config.json").write_text(json.dumps(tokenizer), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
