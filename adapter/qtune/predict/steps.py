"""The number of optimizer steps of a training, before it starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qtune.data.batches import count_batches, rows_at_once, rows_trained_on, splits_batches
from qtune.schema import argument
from qtune.values import Config


@dataclass(frozen=True)
class Steps:
    """Optimizer steps in all, and the rows that one of them sees."""

    total: int
    effective_batch: int


def predict_steps(train: Mapping[str, Any], rows: int, processes: int) -> Steps | None:
    """Steps of a training over `rows` rows before any is set aside for evaluation.

    train: LLaMA-Factory arguments. None where the number of sequences follows from the tokens (packing,
    pre-training), a file tells whether batches are split, or nothing bounds it; 0 where no batch is whole
    and those that are not are dropped.
    Source: transformers/trainer.py, Trainer.set_initial_training_values.
    """
    if splits_batches(train) is None:
        return None
    accumulation = argument(train, "gradient_accumulation_steps")
    effective_batch = rows_at_once(train, processes) * accumulation
    if argument(train, "max_steps") > 0:
        return Steps(train["max_steps"], effective_batch)
    uncounted = any(train.get(name) for name in ("packing", "neat_packing", "streaming"))
    if uncounted or train.get("stage") == "pt":
        return None
    per_epoch = math.ceil(count_batches(train, rows_trained_on(train, rows), processes) / accumulation)
    epochs = argument(train, "num_train_epochs")
    return Steps(math.ceil(epochs * per_epoch), effective_batch) if math.isfinite(epochs) else None


def steps_by_packing(
    config: Config, rows: int, drawn: int, sequences: float | None
) -> dict[bool, Steps | None]:
    """Steps of a training on one dataset alone, without packing (False) and with it (True).

    rows: that were measured; drawn: of which a training takes so many; sequences: of all rows, packed, None
    where nothing tells.
    """
    train, processes = config.block("train"), config.processes
    taken = min(drawn, train.get("max_samples") or drawn)
    # whatever shares sequences is counted here in sequences
    plain = {**train, "packing": False, "neat_packing": False, "stage": "sft"}
    packed = None if sequences is None else max(round(sequences * taken / rows), 1)
    return {
        False: predict_steps(plain, taken, processes),
        True: None if packed is None else predict_steps(plain, packed, processes),
    }
