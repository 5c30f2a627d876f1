"""Other toolkits' names for LLaMA-Factory's arguments."""

from __future__ import annotations

from types import MappingProxyType

# Only names whose value means the same; names whose value changes meaning need more than a table.
ALIASES = MappingProxyType(
    {
        # PEFT, axolotl, torchtune, ms-swift
        "base_model": "model_name_or_path",
        "model": "model_name_or_path",
        "lora_r": "lora_rank",
        "max_length": "cutoff_len",
        "max_seq_len": "cutoff_len",
        "max_seq_length": "cutoff_len",
        "sequence_len": "cutoff_len",
        "epochs": "num_train_epochs",
        "num_epochs": "num_train_epochs",
        "batch_size": "per_device_train_batch_size",
        "micro_batch_size": "per_device_train_batch_size",
        "grad_accum_steps": "gradient_accumulation_steps",
        "lr": "learning_rate",
        "lr_scheduler": "lr_scheduler_type",
        "optimizer": "optim",
        "eval_batch_size": "per_device_eval_batch_size",
        "val_set_size": "val_size",
        "split_dataset_ratio": "val_size",
        "lora_target_modules": "lora_target",
        "target_modules": "lora_target",
        "train_type": "finetuning_type",
        "tuner_type": "finetuning_type",
        "quant_bits": "quantization_bit",
        "quant_method": "quantization_method",
        "system": "default_system",
        "beta": "pref_beta",
        "rpo_alpha": "pref_ftx",
        "lorap_lr_ratio": "loraplus_lr_ratio",
        "dataset_num_proc": "preprocessing_num_workers",
        "freeze_vit": "freeze_vision_tower",
        "freeze_aligner": "freeze_multi_modal_projector",
        "freeze_llm": "freeze_language_model",
        # transformers before release 5
        "evaluation_strategy": "eval_strategy",
    }
)
