"""How far an exported model is from what was trained, and whether that is more than rounding."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Next-token choices of the exported model beside those of base and adapter, over the same texts.

    positions: compared; same: with the same choice. largest_gap: of the training's logits, between its own
    choice and the export's, 0 where all are the same. largest_difference, typical_difference (root of the
    mean square): between logits of the two. typical_effect: that of adapter against base alone, None for a
    model trained whole. epsilon: the relative step of the exported dtype.
    """

    positions: int
    same: int
    largest_gap: float
    largest_difference: float
    typical_difference: float
    typical_effect: float | None
    largest_logit: float
    epsilon: float

    @property
    def rounding(self) -> float:
        """What a logit may be off by rounding alone: a few steps of the dtype at the largest one."""
        return 4 * self.epsilon * self.largest_logit + 1e-3

    @property
    def agrees(self) -> bool:
        """Whether every other choice was a tie but for rounding, and the training is still all there.

        A merge with a wrong scale, or none, can leave many choices as they were: then the difference is a
        large part of what the adapter does.
        """
        most = self.rounding / 4 + 0.25 * (self.typical_effect or 0.0)
        return self.largest_gap <= self.rounding and self.typical_difference <= most

    @property
    def summary(self) -> str:
        """In one line."""
        ties = self.positions - self.same
        told = f"the same next token at {self.same} of {self.positions} places"
        if ties and self.agrees:
            told += f" (a tie but for rounding at the other {ties})"
        told += f"; largest difference of a logit {self.largest_difference:.2g}"
        if self.typical_effect is not None:
            told += f", typical {self.typical_difference:.2g} where training moved them by "
            told += f"{self.typical_effect:.2g}"
        return told
