"""The batches that a training makes of its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from qtune.files import from_json
from qtune.schema import argument


def splits_batches(train: Mapping[str, Any]) -> bool | None:
    """Whether `per_device_train_batch_size` is of all processes together; None where a file says so or not.

    train: LLaMA-Factory arguments. Source: transformers/trainer_pt_utils.py, AcceleratorConfig.
    """
    settings = train.get("accelerator_config")
    if isinstance(settings, str):
        if not settings.startswith("{"):
            return None
        try:
            settings = from_json(settings)
        except ValueError:  # which a rule tells
            return None
    return bool(settings.get("split_batches")) if isinstance(settings, Mapping) else False


def rows_at_once(train: Mapping[str, Any], processes: int) -> int:
    """The rows that all processes together see in one forward pass."""
    batch = int(argument(train, "per_device_train_batch_size"))
    return batch if splits_batches(train) else batch * processes


def rows_trained_on(train: Mapping[str, Any], rows: int) -> int:
    """Those left of `rows` when some are set aside for evaluation.

    Source: llamafactory/data/data_utils.py, split_dataset, which calls datasets' train_test_split (a share
    of the rows is rounded up).
    """
    val_size = argument(train, "val_size")
    return rows - (int(val_size) if val_size >= 1 else math.ceil(rows * val_size))


def count_batches(train: Mapping[str, Any], rows: int, processes: int) -> int:
    """The batches of each process in one epoch over `rows` rows.

    Source: torch/utils/data/sampler.py, BatchSampler; accelerate/data_loader.py, BatchSamplerShard.
    """
    rounded = math.floor if train.get("dataloader_drop_last") else math.ceil
    batches = rounded(rows / int(argument(train, "per_device_train_batch_size")))
    return batches if splits_batches(train) else rounded(batches / processes)
