"""Rules about single numbers: the ranges that the libraries insist on."""

from __future__ import annotations

import math
from collections.abc import Callable

from qtune.checks.rules.view import Rule, View
from qtune.schema import arguments

_ADAMW = "torch/optim/adamw.py, AdamW.__init__"
_ARGUMENTS = "transformers/training_args.py, TrainingArguments._validate_args"
_LARGEST_SEED = 2**32 - 1

# Argument, smallest and largest accepted value, whether the largest itself is accepted, where it is refused.
_RANGES: tuple[tuple[str, float, float, bool, str], ...] = (
    ("seed", 0, _LARGEST_SEED, True, "llamafactory/hparams/parser.py, get_train_args; numpy.random.seed"),
    ("warmup_steps", 0, math.inf, False, _ARGUMENTS),
    ("warmup_ratio", 0, math.inf, False, _ARGUMENTS),
    ("torch_empty_cache_steps", 1, math.inf, False, _ARGUMENTS),
    ("learning_rate", 0, math.inf, False, _ADAMW),
    ("weight_decay", 0, math.inf, False, _ADAMW),
    ("adam_beta1", 0, 1, False, _ADAMW),
    ("adam_beta2", 0, 1, False, _ADAMW),
    ("adam_epsilon", 0, math.inf, False, _ADAMW),
    ("lora_rank", 1, math.inf, False, "peft/tuners/lora/layer.py, LoraLayer.update_layer"),
    ("lora_dropout", 0, 1, True, "torch/nn/modules/dropout.py, _DropoutNd.__init__"),
    ("module_dropout", 0, 1, True, "torch/nn/modules/dropout.py, _DropoutNd.__init__"),
    ("per_device_eval_batch_size", 1, math.inf, False, "torch/utils/data/sampler.py, BatchSampler.__init__"),
    ("dataloader_num_workers", 0, math.inf, False, "torch/utils/data/dataloader.py, DataLoader.__init__"),
    ("dataloader_prefetch_factor", 1, math.inf, False, "torch/utils/data/dataloader.py, DataLoader.__init__"),
    ("preprocessing_num_workers", 1, math.inf, False, "datasets, Dataset.map"),
    ("buffer_size", 1, math.inf, False, "datasets, IterableDataset.shuffle"),
)


def _outside(argument: str, smallest: float, largest: float, closed: bool) -> Callable[[View], bool]:
    def when(view: View) -> bool:
        value = view[argument]
        return value is not None and not (smallest <= value < largest or (closed and value == largest))

    return when


def _accepted(smallest: float, largest: float, closed: bool) -> str:
    if math.isinf(largest):
        return f"{smallest:g} or more"
    return f"{smallest:g} to {largest:g}" if closed else f"at least {smallest:g} and below {largest:g}"


def _fix(argument: str, smallest: float, largest: float, closed: bool) -> str:
    default = arguments()[argument].default
    or_default = "" if default is None else f"; the default is {default}"
    return f"use {_accepted(smallest, largest, closed)}{or_default}"


RULES = tuple(
    Rule(
        f"{argument.replace('_', '-')}-range",
        (argument,),
        _outside(argument, smallest, largest, closed),
        f"is {{{argument}}}",
        _fix(argument, smallest, largest, closed),
        source,
    )
    for argument, smallest, largest, closed, source in _RANGES
)
