"""The checkpoints in a run's directory."""

from __future__ import annotations

from pathlib import Path

INCOMPLETE = "checkpoint-is-incomplete.txt"
"""In a checkpoint that is being written (transformers/trainer_jit_checkpoint.py)."""


def checkpoints(directory: Path) -> list[int]:
    """The steps of a run's complete checkpoints, in order."""
    numbers = (path.name.removeprefix("checkpoint-") for path in directory.glob("checkpoint-*"))
    steps = sorted(int(number) for number in numbers if number.isdecimal())
    return [step for step in steps if not (directory / f"checkpoint-{step}" / INCOMPLETE).exists()]
