"""`data`: the group of commands about datasets."""

from __future__ import annotations

from qtune.cli.commands import group


@group("data", "qtune data add answers.jsonl", "qtune data check answers", no_args_is_help=True)
def data_group() -> None:
    """Register, check, measure and preview datasets."""
