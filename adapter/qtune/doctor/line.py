"""One line of the doctor's report, and the words that its lines share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "failure"]
TRAINING_STACK = "pip install 'qtune[train]'"


@dataclass(frozen=True)
class Line:
    """A verdict on one subject; fix: what to do, where there is something to do.

    A failure ends a training by the preset in question for certain; a warning may, or ends other presets.
    """

    subject: str
    level: Level
    says: str
    fix: str | None = None


def severity(needed: bool) -> Level:
    """Of something that is not there, by whether the config needs it."""
    return "failure" if needed else "warning"
