"""What can be wrong with a row, and what LLaMA-Factory does with such a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Effect = Literal["refused", "crash", "dropped", "kept"]
"""What LLaMA-Factory does: refuse the whole file, stop the training at this row, leave the row out with at
most a warning, or train on it although it says something else than it seems to."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing wrong with one row.

    kind: a short name, the same for all rows that fail alike; message: what is wrong, without what differs
    from row to row, so that rows can be grouped by it; fix: what to do about it.
    """

    kind: str
    effect: Effect
    message: str
    fix: str
