"""Losses that say that the model learns nothing, seen while the training goes on."""

from __future__ import annotations

import math
import re

_ENOUGH = 3  # lines, one of which alone may be a batch without a single answer in it
_LONGEST = 10_000  # bytes of a line
_LOUD = 0.1  # a gradient that does not come from a loss of 0
_LINE = re.compile(
    rb"\{'loss': '?(?P<loss>[^',}]++)'?+(?!, 'reward')(?:, 'grad_norm': '?(?P<norm>[^',}]+)'?)?"
)

# ids of known failures
NAN, ZERO = "loss-nan", "loss-zero"


class LossWatch:
    """Reads a training's output as it comes; `trouble` is the id of the failure that its losses show.

    transformers logs a loss that is no number as 0 (logging_nan_inf_filter); the gradient's norm tells then.
    A loss of 0 with no gradient, late, is a model that knows its data. PPO's losses (which stand beside
    rewards) are rounded, so their 0 says nothing.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._sound = False  # whether a loss was any good
        self._bad: list[str] = []

    def feed(self, output: bytes) -> None:
        *lines, self._rest = re.split(rb"[\r\n]", self._rest[-_LONGEST:] + output)
        for line in lines:
            match = _LINE.search(line)
            if match:
                self._note(_number(match["loss"]), _number(match["norm"] or b"0"))

    @property
    def trouble(self) -> str | None:
        """What is wrong for certain, after some losses in a row."""
        return self._bad[-1] if len(self._bad) >= _ENOUGH else None

    @property
    def at_the_end(self) -> str | None:
        """What is wrong with a training that has ended: one loss that is the last is enough."""
        return self._bad[-1] if self._bad else None

    def _note(self, loss: float, norm: float) -> None:
        failure = None
        if math.isnan(loss) or (loss == 0 and not math.isfinite(norm)):
            failure = NAN
        elif loss == 0 and not self._sound:
            failure = ZERO
        elif loss == 0 and norm > _LOUD:
            failure = NAN
        self._bad = [*self._bad, failure] if failure else []
        self._sound = self._sound or failure is None


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
