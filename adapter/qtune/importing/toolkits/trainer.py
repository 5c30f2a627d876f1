"""What every toolkit on transformers' Trainer shares: its arguments, and what holds where they are silent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.importing.toolkits.table import Reading, Row
from qtune.schema import arguments
from qtune.values import KeyPath

# transformers/training_args.py, where qtune's base says something else.
_DEFAULTS = {
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "num_train_epochs": 3,
    "lr_scheduler_type": "linear",
}


def rows() -> dict[KeyPath, Row]:
    """A row for each argument of transformers that LLaMA-Factory has too: it stays as it is.

    But for gradient checkpointing, which LLaMA-Factory turns on itself (model/model_utils/checkpointing.py).
    """
    found: dict[KeyPath, Row] = {
        (name,): Row(becomes=name) for name, item in arguments().items() if item.group == "training"
    }
    del found["gradient_checkpointing_kwargs",]
    off = "disable_gradient_checkpointing"
    found["gradient_checkpointing",] = Row(values={True: {off: False}, False: {off: True}})
    found["gradient_checkpointing_kwargs", "use_reentrant"] = Row(becomes="use_reentrant_gc")
    return found


def defaults(reading: Reading) -> Mapping[str, Any]:
    """Arguments that hold where a config is silent; of bf16 and fp16, one that is on turns the other off."""
    found: dict[str, Any] = dict(_DEFAULTS)
    if reading.plain("warmup_ratio") is None:
        found["warmup_steps"] = 0
    for name, other in (("bf16", "fp16"), ("fp16", "bf16")):
        if reading.plain(name) is not None:
            found.setdefault(other, False)
    return found
