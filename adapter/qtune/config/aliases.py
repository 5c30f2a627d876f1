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
        # transformers before release 5
        "evaluation_strategy": "eval_strategy",
    }
)
