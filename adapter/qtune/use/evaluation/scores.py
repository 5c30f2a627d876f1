"""The scores of each model, and the result of an evaluation, which holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scores:
    """What was measured of one model.

    whose: base or tuned; metrics: by the library's names, None where one is no number; arguments: what each
    child was given, without the paths of one evaluation.
    """

    whose: str
    title: str
    metrics: Mapping[str, float | None]
    arguments: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Result:
    """The result of an evaluation.

    rows, tokens: that the loss is over, tokens None where rows are judged; answers: for each row its prompt,
    reference, and the answers by model; none where none were asked for.
    """

    run: str
    checkpoint: int | None
    dataset: str
    stage: str
    rows: int
    tokens: int | None
    scores: Sequence[Scores]
    answers: Sequence[Mapping[str, Any]] = ()

    def plain(self) -> dict[str, Any]:
        """As JSON has it, without the answers."""
        return {
            "run": self.run,
            "checkpoint": self.checkpoint,
            "dataset": self.dataset,
            "stage": self.stage,
            "rows": self.rows,
            "tokens": self.tokens,
            **{
                item.whose: {
                    "model": item.title,
                    "metrics": dict(item.metrics),
                    "arguments": {kind: dict(plain) for kind, plain in item.arguments.items()},
                }
                for item in self.scores
            },
        }
