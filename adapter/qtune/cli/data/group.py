"""`data`: the group of the commands about datasets."""

from __future__ import annotations

from qtune.cli.commands import group

# The rows of one dataset are looked at alone, whatever a training does with others.
ALONE = (
    "eval_dataset=null",
    "interleave_probs=null",
    "mix_strategy=null",
    "streaming=null",
    "tokenized_path=null",
)

# The preset to begin with, by the stage that rows are made for.
PRESETS = {"sft": "lora", "dpo": "dpo", "kto": "kto", "pt": "pretrain", "rm": "reward"}


@group("data", "qtune data add answers.jsonl", "qtune data check answers", no_args_is_help=True)
def data_group() -> None:
    """Register, check, measure and preview datasets."""
