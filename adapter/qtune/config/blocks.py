"""Nested configs' names, such as `lora.r`, for LLaMA-Factory's arguments: the table blocks.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.files import table_beside

# What the importing reads further, in a preset's words.
_IN_A_PRESET = {
    "use_lora": "finetuning_type",
    "data_path": "dataset",
    "dataset_name": "dataset",
    "eval_data_path": "eval_dataset",
    "use_deepspeed": "zero.stage",
    "deepspeed_stage": "zero.stage",
}


def blocks() -> Mapping[str, Mapping[str, Any]]:
    """By block and name: the argument, or for a value the arguments that say it."""
    table: Mapping[str, Mapping[str, Any]] = table_beside(__file__, "blocks.yaml")
    return table


def argument_of(path: tuple[str, ...]) -> str | None:
    """The argument of `lora.r`, or of a bare `r` that of the first block with such a name."""
    *above, name = path
    meant = [
        argument
        for block, names in blocks().items()
        if (not above or block == above[-1]) and isinstance(argument := names.get(name), str)
    ]
    return _IN_A_PRESET.get(meant[0], meant[0]) if meant else None
