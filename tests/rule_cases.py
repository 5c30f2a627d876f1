"""For each rule a config that it fires on, and a near one that it leaves alone.

The fast tests hold qtune to these cases, tests/e2e/test_rules_library.py the library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trees import ROWS, TINY_MODEL, write_tree

from qtune.config.project import Project, find_project
from qtune.machine.hardware import Hardware, parse_hardware
from qtune.machine.stack import Stack
from qtune.prepare import pipeline
from qtune.prepare.pipeline import Prepared
from qtune.values import Layer, Origin, Value

Settings = Mapping[str, Any]

EVERYTHING = Stack(lambda module: True, lambda distribution: "0.9.6", lambda: True, lambda header: True)
_TURING = Hardware(gpus=1, gpu_memory_gb=16, bf16=False, cores=8)
_FULL = {"finetuning_type": "full", "lora_rank": None, "lora_target": None}
_PAIRS = {"dataset": "pairs", "stage": "dpo"}
_PPO = {"stage": "ppo", "reward_model": "reward"}
_ZERO2 = {"zero.stage": 2}
_ZERO3 = {"zero.stage": 3, "zero.stage3_gather_16bit_weights_on_model_save": True}
_EVALUATES = {"val_size": 0.2, "load_best_model_at_end": False}
_BEST = {"val_size": 0.2, "load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "steps"}
_QWEN3_5 = {"model_name_or_path": "qwen3_5", "flash_attn": "fa2"}
_APART = {"eval_dataset": "texts,chats", "eval_on_each_dataset": True}
_STREAM = {"streaming": True, "max_steps": 5, "dataloader_num_workers": 1}


def lacking(*modules: str) -> Stack:
    """A machine that has everything but these modules."""
    return replace(EVERYTHING, has_module=lambda module: module not in modules)


@dataclass(frozen=True)
class Case:
    """Settings over a preset, with which `rule` fires alone, and others with which nothing does.

    hardware and stack: of both, other_hardware and other_stack: of the near one where it differs there only.
    """

    rule: str
    fires: Settings
    near: Settings
    hardware: str | Hardware = "1x24GB"
    stack: Stack | None = None
    other_hardware: str | Hardware | None = None
    other_stack: Stack | None = None
    also_near: Settings = field(default_factory=dict)
    preset: str = "lora"


def _packages() -> list[Case]:
    """Arguments that need a package."""
    settings: dict[str, tuple[str, Settings]] = {
        "use_galore": ("galore_torch", {**_FULL, "use_galore": True, "optim": "adamw_torch"}),
        "use_apollo": ("apollo_torch", {**_FULL, "use_apollo": True, "optim": "adamw_torch"}),
        "use_badam": ("badam", {**_FULL, "use_badam": True}),
        "use_adam_mini": ("adam_mini", {"use_adam_mini": True}),
        "use_unsloth": ("unsloth", {"use_unsloth": True}),
        "enable_liger_kernel": ("liger_kernel", {"enable_liger_kernel": True}),
        "mixture_of_depths": ("MoD", {"mixture_of_depths": "convert"}),
        "use_kt": ("kt_kernel", {"use_kt": True}),
        "use_swanlab": ("swanlab", {"use_swanlab": True}),
        "plot_loss": ("matplotlib", {"plot_loss": True}),
        "use_liger_kernel": ("liger_kernel", {"use_liger_kernel": True}),
        "use_hyper_parallel": ("hyper_parallel", {**_FULL, "use_hyper_parallel": True}),
    }
    return [
        Case(
            f"{argument.replace('_', '-')}-is-installed",
            setting,
            setting,
            stack=lacking(module),
            other_stack=EVERYTHING,
        )
        for argument, (module, setting) in settings.items()
    ]


def _ranges() -> list[Case]:
    """Single numbers: one outside, the nearest inside, and what has to be set with them."""
    numbers: dict[str, tuple[float, float, Settings]] = {
        "seed": (-1, 2**32 - 1, {}),
        "warmup_steps": (-0.1, 0, {}),
        "warmup_ratio": (-0.1, 0.0, {}),
        "torch_empty_cache_steps": (0, 1, {}),
        "learning_rate": (-1e-5, 0.0, {}),
        "weight_decay": (-0.01, 0.0, {}),
        "adam_beta1": (1.0, 0.999, {}),
        "adam_beta2": (-0.1, 0.0, {}),
        "adam_epsilon": (-1e-8, 0.0, {}),
        "lora_rank": (0, 1, {}),
        "lora_dropout": (1.1, 1.0, {}),
        "module_dropout": (-0.1, 0.0, {"finetuning_type": "oft"}),
        "per_device_eval_batch_size": (0, 1, {}),
        "dataloader_num_workers": (-1, 0, {}),
        "dataloader_prefetch_factor": (0, 1, {"dataloader_num_workers": 1}),
        "preprocessing_num_workers": (0, 1, {}),
        "buffer_size": (0, 1, _STREAM),
    }
    return [
        Case(f"{key.replace('_', '-')}-range", {**also, key: outside}, {**also, key: inside})
        for key, (outside, inside, also) in numbers.items()
    ]


_METHOD = [
    Case("quantization-needs-adapter", {**_FULL, "quantization_bit": 4}, {"quantization_bit": 4}),
    Case(
        "quantized-model-needs-adapter",
        {"model_name_or_path": "gptq", "finetuning_type": "freeze"},
        {"model_name_or_path": "gptq"},
    ),
    Case(
        "quantized-model-without-zero3",
        {"model_name_or_path": "gptq", **_ZERO3},
        {"model_name_or_path": "fp8", **_ZERO3},
        also_near={"model_name_or_path": "gptq", **_ZERO2},
    ),
    Case(
        "model-named-as-quantized-needs-adapter",
        {**_FULL, "model_name_or_path": "nobody/Tiny-Instruct-GPTQ-Int4"},
        {"model_name_or_path": "nobody/Tiny-Instruct-GPTQ-Int4"},
        also_near={**_FULL, "model_name_or_path": "nobody/Tiny-Instruct-FP8"},
    ),
    Case(
        "model-named-as-quantized-without-zero3",
        {"model_name_or_path": "nobody/tiny-bnb-4bit", **_ZERO3},
        {"model_name_or_path": "nobody/tiny-bnb-4bit", **_ZERO2},
    ),
    Case(
        "quantization-bit-on-quantized-model",
        {"model_name_or_path": "gptq", "quantization_bit": 4},
        {"model_name_or_path": "gptq"},
    ),
    Case(
        "quantization-method-on-loading",
        {"quantization_bit": 4, "quantization_method": "gptq"},
        {"quantization_bit": 4, "quantization_method": "hqq"},
    ),
    Case("quantization-bits", {"quantization_bit": 3}, {"quantization_bit": 8}),
    Case(
        "sharded-quantization-is-bnb-4",
        {"quantization_bit": 8, **_ZERO3},
        {"quantization_bit": 4, **_ZERO3},
        also_near={"quantization_bit": 8, **_ZERO2},
    ),
    Case(
        "quantization-without-device-map",
        {"quantization_bit": 4, "quantization_device_map": "auto"},
        {"quantization_bit": 4},
    ),
    Case("quantization-without-pissa", {"quantization_bit": 4, "pissa_init": True}, {"pissa_init": True}),
    Case(
        "quantized-model-without-pissa",
        {"model_name_or_path": "gptq", "pissa_init": True},
        {"model_name_or_path": "gptq", "pissa_init": False},
    ),
    Case(
        "quantized-model-without-dora",
        {"model_name_or_path": "gptq", "use_dora": True},
        {"model_name_or_path": "bitsandbytes", "use_dora": True},
    ),
    Case(
        "quantization-without-resize-vocab",
        {"quantization_bit": 4, "resize_vocab": True},
        {"resize_vocab": True},
    ),
    Case(
        "quantized-model-without-new-tokens",
        {"quantization_bit": 4, "add_tokens": "<a>,<b>"},
        {"quantization_bit": None, "add_tokens": "<a>,<b>"},
        also_near={"model_name_or_path": "gptq", "add_tokens": ""},
    ),
    Case(
        "quantization-without-new-adapter",
        {"quantization_bit": 4, "adapter_name_or_path": "one", "create_new_adapter": True},
        {"quantization_bit": 4, "adapter_name_or_path": "one"},
    ),
    Case("quantization-without-fp8", {"quantization_bit": 4, "fp8": True}, {"fp8": True}),
    Case(
        "one-adapter-only",
        {"quantization_bit": 4, "adapter_name_or_path": "one,two"},
        {"adapter_name_or_path": "one,two"},
        also_near={"adapter_name_or_path": "one", **_ZERO3},
    ),
    Case(
        "adapter-needs-lora",
        {**_FULL, "adapter_name_or_path": "one"},
        {"adapter_name_or_path": "one"},
    ),
    Case("loraplus-lr-ratio-needs-lora", {**_FULL, "loraplus_lr_ratio": 16.0}, {"loraplus_lr_ratio": 16.0}),
    Case("use-rslora-needs-lora", {**_FULL, "use_rslora": True}, {"use_rslora": True}),
    Case("use-dora-needs-lora", {**_FULL, "use_dora": True}, {"use_dora": True}),
    Case("pissa-init-needs-lora", {**_FULL, "pissa_init": True}, {"pissa_init": True}),
    Case(
        "pissa-without-reference-model",
        {**_PAIRS, "pissa_init": True},
        {**_PAIRS, "pissa_init": True, "pref_loss": "simpo"},
    ),
    Case("pissa-without-zero3", {"pissa_init": True, **_ZERO3}, {"pissa_init": True, **_ZERO2}),
    Case("llama-pro-without-full", {**_FULL, "use_llama_pro": True}, {"use_llama_pro": True}),
    Case(
        "llama-pro-layers",
        {"use_llama_pro": True, "freeze_trainable_layers": 3},
        {"use_llama_pro": True, "freeze_trainable_layers": 1},
    ),
    Case(
        "freeze-trains-layers",
        {"finetuning_type": "freeze", "freeze_trainable_layers": 0},
        {"finetuning_type": "freeze", "freeze_trainable_layers": -1},
    ),
    Case(
        "oft-rank-or-block-size",
        {"finetuning_type": "oft", "oft_rank": 8},
        {"finetuning_type": "oft", "oft_rank": 8, "oft_block_size": 0},
    ),
    Case(
        "low-memory-optimizer-without-lora",
        {"use_galore": True, "optim": "adamw_torch"},
        {**_FULL, "use_galore": True, "optim": "adamw_torch"},
    ),
    Case(
        "one-low-memory-optimizer",
        {**_FULL, "use_galore": True, "use_badam": True, "optim": "adamw_torch"},
        {**_FULL, "use_badam": True},
    ),
    Case(
        "galore-optimizer",
        {**_FULL, "use_galore": True},
        {**_FULL, "use_galore": True, "optim": "adamw_8bit"},
    ),
    Case(
        "apollo-optimizer",
        {**_FULL, "use_apollo": True, "optim": "adamw_8bit"},
        {**_FULL, "use_apollo": True, "optim": "adamw_torch"},
    ),
    Case(
        "layerwise-without-accumulation",
        {**_FULL, "use_galore": True, "optim": "adamw_torch", "galore_layerwise": True},
        {
            **_FULL,
            "use_galore": True,
            "optim": "adamw_torch",
            "galore_layerwise": True,
            "gradient_accumulation_steps": 1,
        },
    ),
    Case(
        "layerwise-on-one-device",
        layerwise := {
            **_FULL,
            "use_apollo": True,
            "optim": "adamw_torch",
            "apollo_layerwise": True,
            "gradient_accumulation_steps": 1,
        },
        layerwise,
        hardware="2x24GB",
        other_hardware="1x24GB",
    ),
    Case(
        "galore-apollo-without-deepspeed",
        {**_FULL, "use_galore": True, "optim": "adamw_torch", **_ZERO2},
        {**_FULL, "use_galore": True, "optim": "adamw_torch"},
    ),
    Case(
        "badam-ratio-on-one-device",
        {**_FULL, "use_badam": True, "badam_mode": "ratio", **_ZERO3},
        {**_FULL, "use_badam": True, "badam_mode": "ratio"},
    ),
    Case(
        "badam-layer-needs-zero3",
        {**_FULL, "use_badam": True, **_ZERO2},
        {**_FULL, "use_badam": True, **_ZERO3},
    ),
    Case(
        "badam-update-ratio",
        {**_FULL, "use_badam": True, "badam_mode": "ratio", "badam_update_ratio": 0.0},
        {**_FULL, "use_badam": True, "badam_mode": "ratio", "badam_update_ratio": 0.1},
    ),
    Case(
        "optimizer-state-not-loadable",
        {**_FULL, "use_galore": True, "optim": "adamw_torch"},
        {**_FULL, "use_muon": True, "optim": "adamw_torch"},
    ),
    Case("optimizer-state-not-saved", {**_FULL, "use_badam": True}, {**_FULL, "optim": "adafactor"}),
    Case("unsloth-without-zero3", {"use_unsloth": True, **_ZERO3}, {"use_unsloth": True, **_ZERO2}),
    Case("unsloth-without-oft", {"use_unsloth": True, "finetuning_type": "oft"}, {"use_unsloth": True}),
    Case("kt-without-zero3", {"use_kt": True, **_ZERO3}, {"use_kt": True}),
    Case("kt-without-oft", {"use_kt": True, "finetuning_type": "oft"}, {"use_kt": True}),
    Case("pure-bf16-without-zero3", {"pure_bf16": True, **_ZERO3}, {"pure_bf16": True, **_ZERO2}),
    Case("fa3-for-gpt-oss", {"flash_attn": "fa3"}, {"flash_attn": "fa2"}),
]

_OFT = {"finetuning_type": "oft", "lora_rank": None}
_FREEZE = {"finetuning_type": "freeze"}
_SIMPO = {**_PAIRS, "pref_loss": "simpo"}
_IDLE = [
    Case(
        "quantization-settings-need-bits",
        {"quantization_type": "nf4", "double_quantization": True},
        {"quantization_type": "nf4", "double_quantization": True, "quantization_bit": 4},
    ),
    Case(
        "quantization-type-is-for-bnb-4",
        {"quantization_bit": 8, "double_quantization": False},
        {"quantization_bit": 4, "double_quantization": False},
    ),
    Case("lora-settings-need-lora", {**_FULL, "lora_alpha": 32}, {"lora_alpha": 32}),
    Case(
        "adapter-settings-need-adapter",
        {**_FULL, "additional_target": "embed_tokens"},
        {"additional_target": "embed_tokens"},
        also_near={**_OFT, "additional_target": "embed_tokens"},
    ),
    Case(
        "loaded-adapter-has-its-own-settings",
        {"adapter_name_or_path": "one", "lora_rank": 16},
        {"adapter_name_or_path": "one", "lora_rank": 16, "create_new_adapter": True},
        also_near={"adapter_name_or_path": "one"},
    ),
    Case("oft-settings-need-oft", {"oft_block_size": 64}, {**_OFT, "oft_block_size": 64}),
    Case(
        "freeze-layers-need-freeze",
        {"freeze_trainable_layers": 0},
        {**_FREEZE, "freeze_trainable_layers": 4},
        also_near={"freeze_trainable_layers": 1, "use_llama_pro": True},
    ),
    Case(
        "freeze-modules-need-freeze",
        {"freeze_extra_modules": "norm"},
        {**_FREEZE, "freeze_extra_modules": "norm"},
    ),
    Case(
        "freezing-parts-needs-parts",
        {"freeze_vision_tower": False},
        {"freeze_vision_tower": True},
        also_near={"freeze_vision_tower": False, "model_name_or_path": "sees", "template": "qwen2_vl"},
    ),
    Case(
        "galore-settings-need-galore",
        {"galore_rank": 64},
        {**_FULL, "use_galore": True, "optim": "adamw_torch", "galore_rank": 64},
    ),
    Case(
        "apollo-settings-need-apollo",
        {"apollo_rank": 64},
        {**_FULL, "use_apollo": True, "optim": "adamw_torch", "apollo_rank": 64},
    ),
    Case("badam-settings-need-badam", {"badam_verbose": 1}, {**_FULL, "use_badam": True, "badam_verbose": 1}),
    Case(
        "badam-settings-by-layer",
        {**_FULL, "use_badam": True, "badam_mode": "ratio", "badam_switch_interval": 10},
        {**_FULL, "use_badam": True, "badam_switch_interval": 10},
    ),
    Case(
        "badam-settings-by-ratio",
        {**_FULL, "use_badam": True, "badam_update_ratio": 0.0},
        {**_FULL, "use_badam": True, "badam_mode": "ratio", "badam_update_ratio": 0.1},
    ),
    Case(
        "swanlab-settings-need-swanlab",
        {"swanlab_project": "ours"},
        {"use_swanlab": True, "swanlab_project": "ours"},
    ),
    Case("kt-settings-need-kt", {"kt_lora_expert_num": 2}, {"use_kt": True, "kt_lora_expert_num": 2}),
    Case("fp8-settings-need-fp8", {"fp8_backend": "te"}, {"fp8_backend": "auto"}),
    Case(
        "hub-settings-need-push",
        {"hub_model_id": "ours/model"},
        {"push_to_hub": True, "hub_model_id": "ours/model"},
    ),
    Case("buffer-size-needs-streaming", {"buffer_size": 100}, {**_STREAM, "buffer_size": 100}),
    Case("pissa-iter-needs-pissa", {"pissa_iter": 4}, {"pissa_init": True, "pissa_iter": 4}),
    Case(
        "loraplus-embedding-needs-loraplus",
        {"loraplus_lr_embedding": 1e-5},
        {"loraplus_lr_embedding": 1e-5, "loraplus_lr_ratio": 16.0},
    ),
    Case(
        "preference-settings-need-pairs-or-judgements",
        {"pref_beta": 0.2},
        {**_PAIRS, "pref_beta": 0.2},
        also_near={"stage": "kto", "dataset": "judged", "pref_beta": 0.2},
    ),
    Case("dpo-settings-need-dpo", {"pref_loss": "simpo"}, _SIMPO),
    Case("simpo-gamma-needs-simpo", {**_PAIRS, "simpo_gamma": 0.7}, {**_SIMPO, "simpo_gamma": 0.7}),
    Case(
        "kto-settings-need-kto",
        {"kto_chosen_weight": 2.0},
        {"stage": "kto", "dataset": "judged", "kto_chosen_weight": 2.0},
    ),
    Case("ppo-settings-need-ppo", {"ppo_epochs": 2}, {**_PPO, "ppo_epochs": 2}),
    Case("losses-need-sft", {**_PAIRS, "use_dft_loss": True}, {"use_dft_loss": True}),
    Case(
        "asft-alpha-needs-its-loss",
        {"asft_alpha": 0.3},
        {"use_asft_loss": True, "ref_model": str(TINY_MODEL), "asft_alpha": 0.3},
    ),
    Case("eaft-alpha-needs-its-loss", {"eaft_alpha": 0.3}, {"use_eaft_loss": True, "eaft_alpha": 0.3}),
    Case(
        "reference-model-is-for-preferences",
        {"ref_model": str(TINY_MODEL)},
        {**_PAIRS, "ref_model": str(TINY_MODEL)},
    ),
    Case(
        "reference-settings-need-reference-model",
        {**_PAIRS, "ref_model_quantization_bit": 4},
        {**_PAIRS, "ref_model": str(TINY_MODEL), "ref_model_quantization_bit": 4},
    ),
    Case("engines-are-for-inference", {"vllm_maxlen": 8192}, {"vllm_maxlen": 4096}),
]

_STAGES = [
    Case("dataset-names-something", {"eval_dataset": ","}, {"eval_dataset": "rows,"}),
    Case("pairs-need-comparing-stage", {"dataset": "pairs", "stage": "pt"}, _PAIRS),
    Case(
        "comparing-stage-needs-pairs",
        {"stage": "rm"},
        {"stage": "rm", "dataset": "pairs"},
    ),
    Case("kto-needs-judgement", {"stage": "kto", "dataset": "chats"}, {"stage": "kto", "dataset": "judged"}),
    Case(
        "one-source-of-evaluation-data",
        {"eval_dataset": "rows", "val_size": 0.1},
        {"eval_dataset": "rows"},
    ),
    Case("evaluation-needs-data", {"eval_strategy": "steps"}, {"eval_strategy": "steps", "val_size": 2}),
    Case("val-size", {"val_size": 1.0}, {"val_size": 1}, also_near={"val_size": 0.99}),
    Case("max-samples", {"max_samples": 0}, {"max_samples": 1}),
    Case(
        "streaming-needs-max-steps",
        {"streaming": True, "dataloader_num_workers": 1},
        _STREAM,
    ),
    Case("streaming-val-size", {**_STREAM, "val_size": 0.1}, {**_STREAM, "eval_dataset": "rows"}),
    Case(
        "streaming-validation-rows-return",
        {**_STREAM, "val_size": 2},
        {**_STREAM, "eval_dataset": "rows"},
        also_near={"val_size": 2},
    ),
    Case("streaming-without-max-samples", {**_STREAM, "max_samples": 5}, {"max_samples": 5}),
    Case(
        "streaming-without-saving-tokens",
        {**_STREAM, "tokenized_path": "tokens-to-be"},
        {"tokenized_path": "tokens-to-be"},
    ),
    Case("streaming-files-need-workers", {**_STREAM, "dataloader_num_workers": 0}, _STREAM),
    Case("tokens-are-there", {"tokenized_path": "tokens"}, {"tokenized_path": "tokens-to-be"}),
    Case("tokens-are-whole", {"tokenized_path": "half"}, {"tokenized_path": "tokens-to-be"}),
    Case(
        "tokenized-path-auto-follows-files",
        {"tokenized_path": "auto", "dataset": "pictures"},
        {"tokenized_path": "auto"},
        also_near={"tokenized_path": "tokens-to-be", "dataset": "pictures"},
    ),
    Case("dataset-named-twice", {"dataset": "rows,texts,rows"}, {"dataset": "rows,texts"}),
    Case(
        "interleave-probs-for-different-datasets",
        {
            "dataset": "rows,texts,rows",
            "interleave_probs": "0.5,0.3,0.2",
            "mix_strategy": "interleave_under",
        },
        {
            "dataset": "rows,texts,chats",
            "interleave_probs": "0.5,0.3,0.2",
            "mix_strategy": "interleave_under",
        },
    ),
    Case(
        "interleave-once-is-missing",
        {"dataset": "rows,texts", "mix_strategy": "interleave_once"},
        {"dataset": "rows", "mix_strategy": "interleave_once"},
    ),
    Case(
        "interleave-over-draws-all",
        {"dataset": "rows,texts", "interleave_probs": "1.0,0", "mix_strategy": "interleave_over"},
        {"dataset": "rows,texts", "interleave_probs": "1.0,0", "mix_strategy": "interleave_under"},
    ),
    Case(
        "interleave-probs-need-mixing",
        {"dataset": "rows,texts", "interleave_probs": "0.5,0.5"},
        {"dataset": "rows,texts", "interleave_probs": "0.5,0.5", "mix_strategy": "interleave_under"},
    ),
    Case(
        "interleave-probs-are-numbers",
        {"dataset": "rows,texts", "interleave_probs": "0.5,half", "mix_strategy": "interleave_under"},
        {"dataset": "rows,texts", "interleave_probs": [0.5, 0.5], "mix_strategy": "interleave_under"},
    ),
    Case(
        "interleave-probs-for-each-dataset",
        {
            "dataset": "rows,texts",
            "eval_dataset": "rows",
            "interleave_probs": "0.5,0.5",
            "mix_strategy": "interleave_under",
        },
        {
            "dataset": "rows,texts",
            "eval_dataset": "rows,texts",
            "interleave_probs": "0.5,0.5",
            "mix_strategy": "interleave_under",
        },
    ),
    Case(
        "interleave-probs-sum-to-one",
        {"dataset": "rows,texts", "interleave_probs": "0.5,0.6", "mix_strategy": "interleave_over"},
        {"dataset": "rows,texts", "interleave_probs": "0.4,0.6", "mix_strategy": "interleave_over"},
    ),
    Case("only-for-sft", {"stage": "pt", "dataset": "texts", "neat_packing": True}, {"neat_packing": True}),
    Case(
        "neat-packing-without-state",
        {"model_name_or_path": "qwen3_next", "neat_packing": True},
        {"model_name_or_path": "qwen3_next", "packing": True},
        also_near={**_QWEN3_5, "neat_packing": True, "per_device_train_batch_size": 1},
    ),
    Case(
        "neat-packing-one-sequence",
        {"neat_packing": True, "flash_attn": "fa2", "per_device_train_batch_size": 2},
        {"neat_packing": True, "per_device_train_batch_size": 2},
        also_near={"neat_packing": True, "flash_attn": "fa2", "per_device_train_batch_size": 1},
    ),
    Case("prompt-or-history", {"train_on_prompt": True, "mask_history": True}, {"mask_history": True}),
    Case(
        "train-on-prompt-template",
        {"train_on_prompt": True, "template": "glm4", "model_name_or_path": "THUDM/glm-4-9b-chat"},
        {"train_on_prompt": True, "template": "qwen"},
    ),
    Case("answers-end", {"template": "empty"}, {"template": "default"}, also_near={"template": None}),
    Case(
        "predict-needs-generate",
        {**_EVALUATES, "do_predict": True},
        {**_EVALUATES, "do_predict": True, "predict_with_generate": True},
    ),
    Case(
        "generate-without-zero3",
        {**_EVALUATES, "predict_with_generate": True, **_ZERO3},
        {**_EVALUATES, "predict_with_generate": True, **_ZERO2},
    ),
    Case(
        "generate-or-accuracy",
        {**_EVALUATES, "predict_with_generate": True, "compute_accuracy": True},
        {**_EVALUATES, "compute_accuracy": True},
    ),
    Case("kt-without-metrics", {"use_kt": True, "compute_accuracy": True}, {"compute_accuracy": True}),
    Case(
        "rm-ppo-without-best-model",
        {**_BEST, "stage": "rm", "dataset": "pairs"},
        {**_BEST, **_PAIRS},
    ),
    Case(
        "rm-ppo-resume-with-lora",
        {**_FULL, "stage": "rm", "dataset": "pairs", "resume_from_checkpoint": "saved"},
        {"stage": "rm", "dataset": "pairs", "resume_from_checkpoint": "saved"},
    ),
    Case("ppo-needs-reward-model", {"stage": "ppo"}, _PPO),
    Case("ppo-reward-model-type", {**_FULL, **_PPO}, {**_FULL, **_PPO, "reward_model_type": "full"}),
    Case(
        "ppo-reward-adapter-library",
        {**_PPO, "use_unsloth": True},
        {**_PPO, "use_unsloth": True, "reward_model_type": "full"},
    ),
    Case(
        "ppo-reward-server",
        {**_PPO, "reward_model_type": "api"},
        {"stage": "ppo", "reward_model": "http://localhost:8000/reward", "reward_model_type": "api"},
    ),
    Case("ppo-trains", {**_PPO, "do_train": False}, _PPO),
    Case("ppo-without-evaluation", {**_PPO, "val_size": 0.2}, _PPO),
    Case(
        "ppo-without-resume",
        {**_PPO, "resume_from_checkpoint": "saved"},
        {**_PPO, "adapter_name_or_path": "x"},
    ),
    Case("ppo-without-shift-attn", {**_PPO, "shift_attn": True}, {"shift_attn": True}),
    Case("ppo-loggers", {**_PPO, "report_to": "mlflow"}, {**_PPO, "report_to": ["tensorboard", "wandb"]}),
    Case(
        "dpo-label-smoothing",
        {**_PAIRS, "dpo_label_smoothing": 0.1, "pref_loss": "ipo"},
        {**_PAIRS, "dpo_label_smoothing": 0.1},
    ),
    Case(
        "asft-needs-reference-model",
        {"use_asft_loss": True},
        {"use_asft_loss": True, "ref_model": str(TINY_MODEL)},
        also_near={**_FULL, "use_asft_loss": True},
    ),
    Case(
        "asft-without-evaluation",
        {"use_asft_loss": True, "ref_model": str(TINY_MODEL), "val_size": 0.2, "eval_strategy": "steps"},
        {"use_asft_loss": True, "ref_model": str(TINY_MODEL), "val_size": 0.2, "eval_strategy": "no"},
    ),
    Case("one-loss", {"use_dft_loss": True, "use_eaft_loss": True}, {"use_dft_loss": True}),
    Case("training-runs-on-huggingface", {"infer_backend": "vllm"}, {"infer_backend": "huggingface"}),
    Case("image-pixels", {"image_max_pixels": 1}, {"image_max_pixels": 1024}),
    Case("video-pixels", {"video_max_pixels": 1}, {"video_max_pixels": 256}),
    Case("export-quantization-dataset", {"export_quantization_bit": 4}, {"export_quantization_nsamples": 4}),
    Case("export-apart", {"export_dir": "out"}, {"export_size": 5}),
]

_TRAINER = [
    Case("one-precision", {"fp16": True, "bf16": True}, {"fp16": True, "bf16": False}),
    Case(
        "one-evaluation-precision",
        {"fp16_full_eval": True, "bf16_full_eval": True},
        {"bf16_full_eval": True},
    ),
    Case(
        "best-model-needs-equal-strategies",
        {**_BEST, "save_strategy": "epoch"},
        {**_BEST, "save_strategy": "epoch", "eval_strategy": "epoch"},
    ),
    Case(
        "best-model-needs-equal-steps",
        {**_BEST, "save_steps": 50, "eval_steps": 20},
        {**_BEST, "save_steps": 60, "eval_steps": 20},
        also_near={**_BEST, "save_steps": 0.3, "eval_steps": 0.1},
    ),
    Case(
        "best-model-needs-whole-checkpoints",
        {**_BEST, "save_only_model": True, "fsdp": "full_shard"},
        {**_BEST, "save_only_model": True},
        hardware="2x24GB",
    ),
    Case(
        "resume-needs-whole-checkpoints",
        {"save_only_model": True, "resume_from_checkpoint": "saved", **_ZERO2},
        {"resume_from_checkpoint": "saved", **_ZERO2},
    ),
    Case("deepspeed-saves-whole-checkpoints", {"save_only_model": True, **_ZERO2}, {"save_only_model": True}),
    Case(
        "best-needs-metric",
        {**_EVALUATES, "save_strategy": "best"},
        {**_EVALUATES, "save_strategy": "best", "metric_for_best_model": "loss"},
        also_near={"early_stopping_steps": 3, **_BEST},
    ),
    Case(
        "metric-of-each-dataset",
        {**_APART, "load_best_model_at_end": True},
        {**_APART, "load_best_model_at_end": True, "metric_for_best_model": "chats_loss"},
        also_near={**_APART, "load_best_model_at_end": "auto"},
    ),
    Case(
        "early-stopping-needs-evaluation",
        {"early_stopping_steps": 3, "metric_for_best_model": "loss"},
        {"early_stopping_steps": 3, "metric_for_best_model": "loss", **_EVALUATES},
    ),
    Case(
        "scheduler-needs-evaluation",
        {"lr_scheduler_type": "reduce_lr_on_plateau"},
        {"lr_scheduler_type": "reduce_lr_on_plateau", **_EVALUATES},
    ),
    Case("whole-steps", {"save_steps": 2.5}, {"save_steps": 2.0}),
    Case("logging-steps", {"logging_steps": 0}, {"logging_steps": 0, "logging_strategy": "epoch"}),
    Case(
        "evaluation-steps",
        {**_EVALUATES, "eval_steps": 0, "logging_steps": 0, "logging_strategy": "epoch"},
        {**_EVALUATES, "eval_steps": 0, "logging_steps": 5, "logging_strategy": "epoch"},
    ),
    Case(
        "prefetch-needs-workers",
        {"dataloader_prefetch_factor": 2, "dataloader_num_workers": 0},
        {"dataloader_prefetch_factor": 2, "dataloader_num_workers": 1},
    ),
    Case(
        "persistent-workers-need-workers",
        {"dataloader_persistent_workers": True, "dataloader_num_workers": 0},
        {"dataloader_persistent_workers": True, "dataloader_num_workers": 1},
    ),
    Case("debug-words", {"debug": "overflow"}, {"debug": "underflow_overflow"}),
    Case("report-to-known", {"report_to": "tensorbord"}, {"report_to": ["tensorboard", "wandb"]}),
    Case(
        "trackio-needs-project",
        {"report_to": "trackio", "project": ""},
        {"report_to": "trackio", "project": "x"},
    ),
    Case("text-is-json", {"lr_scheduler_kwargs": "{a: 1}"}, {"lr_scheduler_kwargs": '{"num_cycles": 1}'}),
    Case(
        "one-whole-batch",
        {"dataloader_drop_last": True, "per_device_train_batch_size": 16},
        {"dataloader_drop_last": True, "per_device_train_batch_size": 2},
        also_near={"dataloader_drop_last": False, "per_device_train_batch_size": 16},
    ),
    Case(
        "batch-to-split",
        {"accelerator_config.split_batches": True, "per_device_train_batch_size": 3},
        {"accelerator_config.split_batches": True, "per_device_train_batch_size": 4},
        hardware="2x24GB",
    ),
    Case("file-is-there", {"accelerator_config": "nowhere.json"}, {"accelerator_config": "accelerator.json"}),
    Case(
        "accelerator-config-keys",
        {"accelerator_config.split": True},
        {"accelerator_config.split_batches": True},
    ),
    Case(
        "accelerator-config-state",
        {"accelerator_config": '{"use_configured_state": true}'},
        {"accelerator_config": '{"use_configured_state": false}'},
    ),
    Case("fsdp-words", {"fsdp": "full_sharding"}, {"fsdp": "full_shard auto_wrap"}, hardware="2x24GB"),
    Case("fsdp-offload-alone", {"fsdp": "offload"}, {"fsdp": "full_shard offload"}, hardware="2x24GB"),
    Case("fsdp-shards-once", {"fsdp": "full_shard shard_grad_op"}, {"fsdp": True}, hardware="2x24GB"),
    Case(
        "fsdp-wraps-once",
        wraps := {
            "fsdp": "full_shard",
            "fsdp_config.min_num_params": 5,
            "fsdp_config.fsdp_transformer_layer_cls_to_wrap": "Layer",
        },
        {**wraps, "fsdp_config.min_num_params": 0},
        hardware="2x24GB",
    ),
    Case(
        "fsdp-2-without-quantization",
        {"fsdp_config.fsdp_version": 2},
        {"fsdp_config.fsdp_version": 1},
        hardware="2x24GB",
        preset="fsdp_qlora",
    ),
    Case("fsdp-or-deepspeed", {"fsdp": "full_shard", **_ZERO2}, {"fsdp": "full_shard"}, hardware="2x24GB"),
    Case("fsdp-needs-processes", {"fsdp": "full_shard"}, {"fsdp": ""}),
    Case(
        "optim-target-modules",
        {"optim": "galore_adamw"},
        {"optim": "galore_adamw", "optim_target_modules": "all-linear"},
    ),
    # measured with transformers 5.5.4 and galore_torch 1.0
    Case(
        "layerwise-adafactor",
        {
            "optim": "galore_adafactor_layerwise",
            "optim_target_modules": "all-linear",
            "gradient_accumulation_steps": 1,
        },
        {"optim": "galore_adafactor", "optim_target_modules": "all-linear"},
    ),
    Case(
        "layerwise-optim",
        {"optim": "galore_adamw_layerwise", "optim_target_modules": "all-linear"},
        {
            "optim": "galore_adamw_layerwise",
            "optim_target_modules": "all-linear",
            "gradient_accumulation_steps": 1,
        },
    ),
    Case("optim-args-are-pairs", {"optim_args": "rank:64"}, {"optim_args": "rank=64, scale=1.0"}),
    Case("something-to-train", {"num_train_epochs": 0}, {"num_train_epochs": 0, "max_steps": 1}),
]

_NVME = {**_ZERO3, "zero.offload_optimizer.device": "nvme", "zero.offload_optimizer.nvme_path": "/tmp"}
_OFFLOAD = {**_ZERO2, "zero.offload_optimizer.device": "cpu"}

_DEEPSPEED = [
    Case("zero-needs-stage", {"zero.overlap_comm": True}, {"zero.overlap_comm": True, "zero.stage": 0}),
    Case(
        "zero-key-twice",
        {**_ZERO3, "zero.stage3_prefetch_bucket_size": "auto", "zero.prefetch_bucket_size": 5},
        {**_ZERO3, "zero.stage3_prefetch_bucket_size": "auto"},
    ),
    Case(
        "zero-not-negative",
        {**_ZERO2, "zero.reduce_bucket_size": -1},
        {**_ZERO2, "zero.reduce_bucket_size": 0},
    ),
    Case(
        "zero-offload-share",
        {**_OFFLOAD, "zero.offload_optimizer.ratio": 1.5},
        {**_OFFLOAD, "zero.offload_optimizer.ratio": 1.0},
    ),
    Case("zero-legacy-stage1", {**_ZERO2, "zero.legacy_stage1": True}, _ZERO2),
    Case(
        "offload-param-needs-stage-3",
        {**_ZERO2, "zero.offload_param.device": "cpu"},
        {**_ZERO3, "zero.offload_param.device": "cpu"},
        also_near={**_ZERO2, "zero.offload_param.device": "none"},
    ),
    Case(
        "offload-ratio-needs-stage-3",
        {**_OFFLOAD, "zero.offload_optimizer.ratio": 0.5},
        {**_OFFLOAD, **_ZERO3, "zero.offload_optimizer.ratio": 0.5},
    ),
    Case("nvme-needs-stage-3", {**_NVME, **_ZERO2}, _NVME),
    Case("nvme-needs-path", {**_ZERO3, "zero.offload_param.device": "nvme"}, _NVME),
    Case(
        "nvme-optimizer-needs-gpu",
        _NVME,
        {**_ZERO3, "zero.offload_param.device": "nvme", "zero.offload_param.nvme_path": "/tmp"},
        hardware="cpu",
    ),
    Case(
        "nvme-needs-libaio",
        _NVME,
        _NVME,
        stack=replace(EVERYTHING, has_header=lambda header: header != "libaio.h"),
        other_stack=EVERYTHING,
    ),
    Case(
        "offload-needs-compiler",
        _OFFLOAD,
        _ZERO2,
        stack=replace(EVERYTHING, has_compiler=lambda: False),
    ),
    Case(
        "zero3-gathers-weights",
        {**_FULL, "zero.stage": 3},
        {**_FULL, **_ZERO3},
        also_near={"zero.stage": 3, "finetuning_type": "oft"},
    ),
    Case(
        "zero3-gathers-value-heads",
        {"stage": "rm", "dataset": "pairs", "zero.stage": 3},
        {"stage": "rm", "dataset": "pairs", **_ZERO3},
    ),
    Case(
        "zero3-without-batch-finding",
        {**_ZERO3, "auto_find_batch_size": True},
        {**_ZERO2, "auto_find_batch_size": True},
    ),
    Case(
        "zero3-reentrant-checkpointing",
        {**_ZERO3, "use_reentrant_gc": False},
        {**_ZERO3, **_FULL, "use_reentrant_gc": False},
    ),
]

_LION = {"deepspeed.optimizer.type": "Lion"}
_ENGINE = [
    Case(
        "deepspeed-needs-stage", {"deepspeed.aio.queue_depth": 4}, {**_ZERO3, "deepspeed.aio.queue_depth": 4}
    ),
    Case(
        "deepspeed-agrees-with-arguments",
        {**_ZERO2, **_LION, "deepspeed.optimizer.params.lr": 0.5},
        {**_ZERO2, **_LION, "deepspeed.optimizer.params.lr": 0.5, "learning_rate": 0.5},
        also_near={**_ZERO2, **_LION, "deepspeed.optimizer.params.lr": "auto"},
    ),
    Case(
        "deepspeed-auto-is-filled",
        {**_ZERO2, **_LION, "deepspeed.optimizer.params.momentum": "auto"},
        {**_ZERO2, **_LION, "deepspeed.optimizer.params.betas": "auto"},
    ),
    Case(
        "deepspeed-class-is-known",
        {**_ZERO2, "deepspeed.optimizer.type": "AdanW"},
        {**_ZERO2, "deepspeed.optimizer.type": "adamw", "deepspeed.scheduler.type": "StepLR"},
    ),
    Case(
        "deepspeed-key-and-stage",
        {**_ZERO2, "deepspeed.optimizer.type": "OneBitAdam"},
        {"zero.stage": 0, "deepspeed.optimizer.type": "OneBitAdam"},
    ),
    Case(
        "deepspeed-muon-is-the-librarys",
        {**_ZERO2, "deepspeed.optimizer.type": "Muon"},
        {**_ZERO2, **_LION},
    ),
    Case(
        "deepspeed-optimizer-needs-gpu",
        {**_ZERO2, **_LION},
        {**_ZERO2, "deepspeed.optimizer.type": "AdamW"},
        hardware="cpu",
    ),
    Case(
        "deepspeed-clips-by-argument",
        {**_ZERO2, **_LION, "deepspeed.optimizer.params.max_grad_norm": 1.0},
        {**_ZERO2, **_LION, "max_grad_norm": 1.0},
    ),
    Case(
        "ppo-makes-its-optimizer",
        {**_PPO, **_ZERO2, **_LION},
        {**_PPO, **_ZERO2, "deepspeed.aio.queue_depth": 4},
    ),
    Case(
        "tensor-parallel-divides-processes",
        {**_ZERO2, "deepspeed.tensor_parallel.autotp_size": 2, "launch.nproc_per_node": 1},
        {**_ZERO2, "deepspeed.tensor_parallel.autotp_size": 2, "launch.nproc_per_node": 2},
        hardware="2x24GB",
    ),
    Case(
        "deepspeed-leaves-the-batch",
        {**_ZERO2, "deepspeed.autotuning.enabled": True},
        {**_ZERO2, "deepspeed.autotuning.enabled": False},
    ),
    Case(
        "deepspeed-key-is-read",
        {**_ZERO2, "deepspeed.activation_checkpointing.cpu_checkpointing": True},
        {**_ZERO2, "deepspeed.activation_checkpointing.cpu_checkpointing": False},
    ),
    Case(
        "trainers-optimizer-replaced",
        {**_ZERO2, **_LION, "loraplus_lr_ratio": 16.0},
        {**_ZERO2, "loraplus_lr_ratio": 16.0},
    ),
    Case(
        "trainers-schedule-replaced",
        {**_ZERO2, "deepspeed.scheduler.type": "WarmupLR", "lr_scheduler_type": "constant"},
        {**_ZERO2, "deepspeed.scheduler.type": "WarmupLR"},
    ),
]

_MACHINE = [
    Case("bf16-on-hardware", {"bf16": True, "fp16": None}, {}, hardware=_TURING),
    Case("pure-bf16-on-hardware", {"pure_bf16": True}, {"pure_bf16": False}, hardware=_TURING),
    Case("tf32-on-hardware", {"tf32": True}, {"tf32": False}, hardware=_TURING),
    Case("fp16-on-hardware", {"fp16": True}, {"fp16": False}, hardware="cpu"),
    Case(
        "processes-on-hardware",
        {"launch.nproc_per_node": 4},
        {"launch.nproc_per_node": 2},
        hardware="2x24GB",
    ),
    Case(
        "preprocessing-workers-on-hardware",
        {"preprocessing_num_workers": 9},
        {"preprocessing_num_workers": 8},
        also_near={"preprocessing_num_workers": "auto"},
    ),
    Case(
        "loader-workers-on-hardware",
        {"dataloader_num_workers": 9},
        {"dataloader_num_workers": 8},
        hardware="2x24GB",
        also_near={"dataloader_num_workers": "auto"},
    ),
    Case(
        "cpu-processes-need-gloo",
        {"launch.nproc_per_node": 2, "ddp_backend": None},
        {"launch.nproc_per_node": 2},
        hardware="cpu",
    ),
    Case("backend-needs-processes", {"ddp_backend": "nccl"}, {"ddp_backend": None}),
    Case(
        "gpu-processes-need-nccl",
        {"ddp_backend": "hccl"},
        {"ddp_backend": "nccl"},
        hardware="2x24GB",
        stack=lacking("torch_npu"),
        other_stack=EVERYTHING,
        also_near={"ddp_backend": "hccl"},
    ),
    Case(
        "cpu-zero3-processes",
        {**_ZERO3, "launch.nproc_per_node": 2},
        {**_ZERO2, "launch.nproc_per_node": 2},
        hardware="cpu",
    ),
    Case(
        "cpu-zero3-4bit-evaluation",
        {**_EVALUATES, **_ZERO3, "eval_strategy": "steps", "quantization_bit": 4},
        {**_ZERO3, "quantization_bit": 4},
        hardware="cpu",
    ),
    Case(
        "cpu-fsdp",
        {"fsdp": "full_shard", "launch.nproc_per_node": 2},
        {"launch.nproc_per_node": 2},
        hardware="cpu",
    ),
    Case("flash-attention-on-hardware", {"flash_attn": "fa2"}, {"flash_attn": "sdpa"}, hardware="cpu"),
    Case(
        "generation-metrics-are-installed",
        generates := {**_EVALUATES, "predict_with_generate": True},
        generates,
        stack=lacking("jieba", "nltk"),
        other_stack=EVERYTHING,
    ),
    Case("deepspeed-is-installed", _ZERO2, {}, stack=lacking("deepspeed")),
    Case(
        "quantizer-is-installed",
        {"quantization_bit": 4},
        {"quantization_bit": 4, "quantization_method": "hqq"},
        stack=lacking("bitsandbytes"),
    ),
    Case(
        "optim-is-installed",
        {"optim": "paged_adamw_8bit"},
        {"optim": "adamw_torch"},
        stack=lacking("bitsandbytes"),
    ),
    Case("loggers-are-installed", {"report_to": "wandb"}, {"report_to": "none"}, stack=lacking("wandb")),
    Case(
        "flash-linear-attention-is-installed",
        _QWEN3_5,
        {**_QWEN3_5, "flash_attn": "sdpa"},
        stack=lacking("fla"),
    ),
    Case(
        "ppo-needs-old-trl",
        _PPO,
        _PPO,
        stack=replace(EVERYTHING, version=lambda distribution: "0.24.0"),
        other_stack=EVERYTHING,
    ),
]

_TWO_NODES = {"launch.nnodes": 2, "launch.master_addr": "10.0.0.1", "launch.master_port": 29500}
_ELASTIC = {**_TWO_NODES, "launch.rdzv_id": "job", "launch.min_nnodes": 1, "launch.max_nnodes": 4}

_LAUNCHING = [
    Case(
        "tokens-of-several-nodes",
        {**_TWO_NODES, "tokenized_path": "no-tokens"},
        {**_TWO_NODES, "tokenized_path": "auto"},
        also_near={"tokenized_path": "no-tokens"},
    ),
    Case("nodes-need-an-address", {"launch.nnodes": 2, "launch.master_addr": "10.0.0.1"}, _TWO_NODES),
    Case(
        "node-rank-below-nodes", {**_TWO_NODES, "launch.node_rank": 2}, {**_TWO_NODES, "launch.node_rank": 1}
    ),
    Case("master-port-range", {"launch.master_port": 65536}, {"launch.master_port": 65535}),
    Case(
        "launcher-words-without-spaces",
        {**_TWO_NODES, "launch.master_addr": "node 0"},
        {**_TWO_NODES, "launch.master_addr": "node-0"},
    ),
    Case("rdzv-conf-is-pairs", {"launch.rdzv_conf": "timeout"}, {"launch.rdzv_conf": "timeout=60"}),
    Case(
        "local-is-one-process",
        {"launch.launcher": "local", "launch.nproc_per_node": 2, "ddp_backend": "gloo"},
        {"launch.launcher": "local", "ddp_backend": None},
        hardware="cpu",
    ),
    Case("local-without-deepspeed", {**_ZERO2, "launch.launcher": "local"}, {"launch.launcher": "local"}),
    Case(
        "fsdp-needs-accelerate",
        {"launch.launcher": "torchrun"},
        {"launch.launcher": "accelerate"},
        hardware="2x24GB",
        preset="fsdp_qlora",
    ),
    Case(
        "elastic-needs-rdzv-id",
        {"launch.max_restarts": 3},
        {"launch.max_restarts": 3, "launch.rdzv_id": "job"},
    ),
    Case("elastic-nodes-range", {**_ELASTIC, "launch.min_nnodes": 3}, _ELASTIC),
    Case(
        "accelerate-is-not-elastic",
        {"launch.launcher": "accelerate", "launch.max_restarts": 3},
        {"launch.launcher": "accelerate"},
        hardware="2x24GB",
    ),
]

_SLURM = {"launch.launcher": "slurm", "launch.nnodes": 2}

_CLUSTERS = [
    Case(
        "ray-is-installed",
        {"launch.launcher": "ray"},
        {"launch.launcher": "ray"},
        stack=lacking("ray"),
        other_stack=EVERYTHING,
    ),
    Case("cluster-places-the-nodes", {**_SLURM, "launch.rdzv_id": "job"}, _SLURM),
    Case(
        "slurm-options-are-sbatchs",
        {**_SLURM, "launch.slurm.comment": "two\nlines"},
        {**_SLURM, "launch.slurm.comment": 'it\'s "one" line, #1 of 2'},
        also_near={**_SLURM, "launch.slurm.cpus-per-task": 8, "launch.slurm.exclusive": True},
    ),
    Case(
        "slurm-options-of-qtune",
        {**_SLURM, "launch.slurm.nodes": 2},
        {**_SLURM, "launch.slurm.signal": "B:TERM@300"},
    ),
    Case(
        "slurm-times-in-quotes",
        {**_SLURM, "launch.slurm.time": 7200},
        {**_SLURM, "launch.slurm.time": "2:00:00"},
    ),
]

CASES = [
    *_METHOD,
    *_IDLE,
    *_STAGES,
    *_TRAINER,
    *_ranges(),
    *_DEEPSPEED,
    *_ENGINE,
    *_LAUNCHING,
    *_CLUSTERS,
    *_MACHINE,
    *_packages(),
    Case("model-type-is-known", {"model_name_or_path": "newer"}, {"model_name_or_path": "own_code"}),
    Case(
        "lora-all-is-adapted",
        {"model_name_or_path": "falcon_h1", "template": "falcon_h1", "lora_target": "all"},
        {"model_name_or_path": "falcon_h1", "template": "falcon_h1", "lora_target": "q_proj,v_proj"},
        also_near={"model_name_or_path": "granite_dense", "lora_target": "all"},
    ),
    Case(
        "template-of-another-family",
        {"model_name_or_path": "Qwen/Qwen3-8B", "template": "qwen"},
        {"model_name_or_path": "Qwen/Qwen3-8B", "template": "qwen3_nothink"},
        also_near={"model_name_or_path": "Qwen/Qwen3-8B-Base", "template": "llama3"},
    ),
]

_PAIR = [{"instruction": "say", "chosen": "yes", "rejected": "no"}] * 10
_CHAT = [
    {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "good": True}
] * 10
_DATASETS = """\
rows: {file_name: rows.jsonl}
texts: {file_name: texts.jsonl, columns: {prompt: text}}
pairs:
  file_name: pairs.jsonl
  ranking: true
  columns: {prompt: instruction, chosen: chosen, rejected: rejected}
chats: {file_name: chats.jsonl, formatting: sharegpt}
judged: {file_name: chats.jsonl, formatting: sharegpt, columns: {messages: conversations, kto_tag: good}}
pictures: {file_name: pictures.jsonl, columns: {prompt: instruction, response: output, images: images}}
"""
_OTHERS = {
    "newer": {"model_type": "qwen9"},
    "falcon_h1": {"model_type": "falcon_h1"},
    "granite_dense": {"model_type": "granitemoehybrid", "num_local_experts": 0},
    "own_code": {"model_type": "qwen9", "auto_map": {"AutoConfig": "configuration_qwen9.Qwen9Config"}},
}
_MODELS = {"gptq": {"quant_method": "gptq", "bits": 4}, "fp8": {"quant_method": "fp8"}}
_MODELS["bitsandbytes"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}

_RECURRENT = {
    "qwen3_next": {"full_attention_interval": 4},
    "qwen3_5": {
        "architectures": ["Qwen3_5ForConditionalGeneration"],
        "text_config": {"model_type": "qwen3_5_text", "layer_types": ["linear_attention", "full_attention"]},
    },
}


def rules_project(root: Path) -> Project:
    """A project with what the cases name: data of each kind, quantised models, tokens."""
    models = {
        f"{name}/config.json": {"model_type": "qwen2", "quantization_config": block}
        for name, block in _MODELS.items()
    }
    models |= {f"{name}/config.json": {"model_type": name, **block} for name, block in _RECURRENT.items()}
    tree = {
        "qtune.yaml": f"train: {{model_name_or_path: {TINY_MODEL}, dataset: rows, template: qwen}}\n",
        "data/datasets.yaml": _DATASETS,
        "data/rows.jsonl": ROWS,
        "data/texts.jsonl": [{"text": "a", "output": ""}] * 10,
        "data/pairs.jsonl": _PAIR,
        "data/chats.jsonl": _CHAT,
        "data/pictures.jsonl": [{**row, "images": []} for row in ROWS],
        "tokens/dataset_info.json": {},
        "tokens/state.json": {"_data_files": []},
        "saved/trainer_state.json": {},
        "sees/config.json": {"model_type": "qwen2_vl", "vision_config": {}},
        "half/dataset_dict.json": {"splits": ["train"]},
        "accelerator.json": {"split_batches": False},
        **models,
        **{f"{name}/config.json": content for name, content in _OTHERS.items()},
    }
    return find_project(write_tree(root, tree))


def settings_layer(settings: Settings) -> Layer:
    """Settings as the command line gives them: `zero.` and `launch.` in front, None removes."""
    values = {}
    for key, value in settings.items():
        path = tuple(key.split("."))
        path = path if path[0] in ("zero", "deepspeed", "launch") else ("train", *path)
        values[path] = Value(value, Origin("--set"))
    return Layer("--set", values)


def hardware_of(hardware: str | Hardware) -> Hardware:
    return parse_hardware(hardware) if isinstance(hardware, str) else hardware


def examine(
    project: Project,
    settings: Settings,
    hardware: str | Hardware,
    stack: Stack | None = None,
    preset: str = "lora",
) -> Prepared:
    return pipeline.examine(preset, project, hardware_of(hardware), [settings_layer(settings)], stack=stack)
