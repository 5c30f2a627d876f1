"""Configs of the shapes of LLaMA-Factory's examples, of our own making, in a checkout beside the project."""

from __future__ import annotations

from typing import Any

import yaml

_ROW = {"instruction": "who?", "input": "", "output": "me"}
_ANSWER = {"from": "gpt", "value": "b"}
_PAIR = {"chosen": _ANSWER, "rejected": {"from": "gpt", "value": "c"}}
_RANKED = {
    "ranking": True,
    "formatting": "sharegpt",
    "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
}
_SHOTS = {"messages": "conversations", "images": "images"}
_ZERO3 = {"stage": 3, "overlap_comm": False, "reduce_bucket_size": "auto", "sub_group_size": 1e9}
_AUTO = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "zero_allow_untested_optimizer": True,
    "bf16": {"enabled": "auto"},
}

CHECKOUT: dict[str, Any] = {
    "data/dataset_info.json": {
        "who": {"file_name": "who.json"},
        "words": {"file_name": "words.jsonl", "columns": {"prompt": "text"}},
        "ranked": {"file_name": "ranked.jsonl", **_RANKED},
        "votes": {
            "file_name": "votes.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "conversations", "kto_tag": "good"},
        },
        "shots": {"file_name": "shots.jsonl", "formatting": "sharegpt", "columns": _SHOTS},
        "ranked_shots": {
            "file_name": "ranked_shots.jsonl",
            **_RANKED,
            "columns": {**_RANKED["columns"], "images": "images"},  # type: ignore[dict-item]
        },
    },
    "data/who.json": f"[{str(_ROW).replace(chr(39), chr(34))}]",
    "data/words.jsonl": [{"text": "a"}],
    "data/ranked.jsonl": [{"conversations": [{"from": "human", "value": "a"}], **_PAIR}],
    "data/votes.jsonl": [{"conversations": [{"from": "human", "value": "a"}, _ANSWER], "good": True}],
    "data/shots.jsonl": [
        {"conversations": [{"from": "human", "value": "<image>a"}, _ANSWER], "images": ["pics/1.png"]}
    ],
    "data/ranked_shots.jsonl": [
        {"conversations": [{"from": "human", "value": "<image>a"}], **_PAIR, "images": ["pics/1.png"]}
    ],
    "data/pics/1.png": "",
    "settings/off.json": {**_AUTO, "zero_optimization": {"stage": 0}},
    "settings/three.json": {**_AUTO, "zero_optimization": _ZERO3},
}
"""What the configs name; they lie in `configs/` there, and are written for the checkout's top."""

_LORA: dict[str, Any] = {
    "model_name_or_path": "Qwen/Qwen3-1.7B-Base",
    "trust_remote_code": True,
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "lora",
    "lora_rank": 8,
    "lora_target": "all",
    "dataset": "who",
    "template": "qwen",
    "cutoff_len": 2048,
    "max_samples": 1000,
    "preprocessing_num_workers": 16,
    "dataloader_num_workers": 4,
    "output_dir": "saves/here",
    "logging_steps": 10,
    "save_steps": 500,
    "plot_loss": True,
    "overwrite_output_dir": True,
    "save_only_model": False,
    "report_to": "none",
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 8,
    "learning_rate": 1.0e-4,
    "num_train_epochs": 3.0,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.1,
    "bf16": True,
    "ddp_timeout": 180000000,
    "resume_from_checkpoint": None,
}
_NO_LORA = {"lora_rank": ..., "lora_target": ...}
_FULL = {**_NO_LORA, "finetuning_type": "full", "learning_rate": 1e-5}
_OFT = {**_NO_LORA, "finetuning_type": "oft", "oft_block_size": 32, "oft_target": "all"}
_VISION = {
    "model_name_or_path": "Qwen/Qwen2-VL-2B-Instruct",
    "template": "qwen2_vl",
    "dataset": "shots,who",
    "image_max_pixels": 262144,
    "video_max_pixels": 16384,
}
_BNB = {"quantization_bit": 4, "quantization_method": "bnb", "double_quantization": False}


def _config(changes: dict[str, Any]) -> str:
    """The LoRA config with these changes, of which `...` takes a key out."""
    keys = {key: value for key, value in {**_LORA, **changes}.items() if value is not ...}
    return f"### model\n{yaml.safe_dump(keys, sort_keys=False)}\n### eval\n# val_size: 0.1\n"


SHAPES: dict[str, str] = {
    name: _config(changes)
    for name, changes in {
        "lora": {},
        "evaluates": {
            "val_size": 0.1,
            "per_device_eval_batch_size": 1,
            "eval_strategy": "steps",
            "eval_steps": 500,
        },
        "evaluates_other_rows": {"eval_dataset": "votes", "eval_strategy": "epoch", "dataset": "who, votes"},
        "a_rate_in_quotes": {"learning_rate": "2e-5", "warmup_ratio": ..., "bf16": ...},
        "dpo": {"stage": "dpo", "dataset": "ranked", "pref_beta": 0.1, "pref_loss": "sigmoid"},
        "kto": {"stage": "kto", "dataset": "votes", "pref_beta": 0.1},
        "reward": {"stage": "rm", "dataset": "ranked"},
        "pretrain": {"stage": "pt", "dataset": "words", "template": ...},
        "preprocess": {"tokenized_path": "saves/here/tokens", "output_dir": ...},
        "vision": _VISION,
        "vision_dpo": {**_VISION, "dataset": "ranked_shots", "stage": "dpo", "pref_beta": 0.1},
        "vision_full": {
            **_VISION,
            **_FULL,
            "freeze_vision_tower": True,
            "freeze_multi_modal_projector": True,
            "freeze_language_model": False,
        },
        "full": {**_FULL, "pure_bf16": True, "bf16": ...},
        "zero3": {**_FULL, "deepspeed": "settings/three.json"},
        "zero_off": {"deepspeed": "settings/off.json", "ddp_timeout": 1800},
        "qlora": _BNB,
        "qlora_plain": {"quantization_bit": 4},
        "awq": {"model_name_or_path": "Qwen/Qwen2.5-0.5B-Instruct-AWQ"},
        "gptq": {"model_name_or_path": "Qwen/Qwen2.5-0.5B-Instruct-GPTQ-Int4"},
        "loraplus": {"loraplus_lr_ratio": 16.0},
        "pissa": {"pissa_init": True, "pissa_iter": 16, "pissa_convert": True},
        "oft": _OFT,
        "qoft": {**_OFT, **_BNB},
        "blocks_added": {
            **_NO_LORA,
            "finetuning_type": "freeze",
            "freeze_trainable_layers": 8,
            "freeze_trainable_modules": "all",
            "use_llama_pro": True,
        },
        "dft": {**_FULL, "use_dft_loss": True},
        "asft": {**_FULL, "use_asft_loss": True, "asft_alpha": 0.05},
        "eaft": {**_FULL, "use_eaft_loss": True},
        "muon": {**_FULL, "use_muon": True},
        "eight_bit_adam": {**_FULL, "optim": "paged_adamw_8bit"},
        "kernels": {
            "use_v1_kernels": True,
            "flash_attn": "disabled",
            "disable_gradient_checkpointing": False,
        },
        "few_steps": {"max_steps": 500, "seed": 1234, "num_train_epochs": ..., "warmup_ratio": 0.0},
        "fp8": {**_FULL, "fp8": True, "fp8_backend": "torchao", "fp8_enable_fsdp_float8_all_gather": False},
        "ray": {"ray_num_workers": 4},
    }.items()
}
"""What 0.9.5 parses, by name."""

PACKAGES: dict[str, str] = {
    name: _config({**_FULL, "optim": "adamw_torch", "gradient_accumulation_steps": 1, **changes})
    for name, changes in {
        "use_galore": {"galore_layerwise": True, "galore_target": "all", "galore_rank": 128},
        "use_apollo": {"apollo_layerwise": True, "apollo_target": "all", "apollo_scale_type": "channel"},
        "use_badam": {"badam_mode": "layer", "badam_switch_interval": 50, "badam_verbose": 2},
        "use_adam_mini": {},
        "mixture_of_depths": {"mixture_of_depths": "convert"},
        "use_kt": {},
    }.items()
    for changes in [{name: True, **changes}]
}
"""What 0.9.5 parses only beside a package of the argument that names the config."""

REFUSED: dict[str, tuple[str, str]] = {
    "megatron": (
        _config(
            {
                **_FULL,
                "tensor_model_parallel_size": 2,
                "sequence_parallel": True,
                "moe_token_dispatcher_type": "alltoall",
                "recompute_granularity": "full",
            }
        ),
        "tensor_model_parallel_size, sequence_parallel, moe_token_dispatcher_type, recompute_granularity: "
        "are Megatron's",
    ),
    "a_fork": (_config({"use_their_loss": True}), "use_their_loss: neither LLaMA-Factory 0.9.5 nor an older"),
}
"""What no release has, with the one line that says so."""
