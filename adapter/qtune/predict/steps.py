"""How long a training is, before it starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qtune.schema import argument


@dataclass(frozen=True)
class Steps:
    """Optimizer steps in all, and the rows that one of them sees."""

    total: int
    effective_batch: int


def predict_steps(train: Mapping[str, Any], rows: int, processes: int) -> Steps | None:
    """Steps of a training over `rows` rows before any is set aside for evaluation.

    train: LLaMA-Factory arguments. None where the number of sequences follows from the tokens (packing,
    pre-training) or nothing bounds it.
    Source: transformers Trainer.set_initial_training_values; for val_size, llamafactory/data/data_utils.py
    split_dataset, which calls datasets' train_test_split (a share of the rows is rounded up).
    """
    batch = argument(train, "per_device_train_batch_size")
    accumulation = argument(train, "gradient_accumulation_steps")
    effective_batch = batch * accumulation * processes
    if argument(train, "max_steps") > 0:
        return Steps(train["max_steps"], effective_batch)
    if (
        train.get("packing")
        or train.get("neat_packing")
        or train.get("streaming")
        or train.get("stage") == "pt"
    ):
        return None
    val_size = argument(train, "val_size")
    rows -= int(val_size) if val_size >= 1 else math.ceil(rows * val_size)
    batches = math.ceil(math.ceil(rows / batch) / processes)
    per_epoch = max(math.ceil(batches / accumulation), 1)
    return Steps(math.ceil(argument(train, "num_train_epochs") * per_epoch), effective_batch)
