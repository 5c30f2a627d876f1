"""What a trained model cannot be asked: answers of one that judges, streaming of a beam search."""

from __future__ import annotations

from qtune.errors import QtuneError
from qtune.use.models import Trained
from qtune.values import Config


def require_speech(trained: Trained) -> None:
    """Raises QtuneError for a model that judges texts and writes none."""
    if trained.stage == "rm" and trained.weights is not None:
        raise QtuneError(
            "is a reward model, which gives scores and no answers",
            where=trained.name,
            fix=f"`qtune api {trained.name}` serves scores at /v1/score/evaluation",
        )


def require_streaming(config: Config) -> None:
    """Raises QtuneError for a generation whose words come all at once, at its end.

    LLaMA-Factory would wait for the first of them for ever.
    """
    if config.get("train", "num_beams", default=1) > 1:
        raise QtuneError(
            "a beam search has no words to show until it is over, and these commands show them as they come",
            where=f"{config.origin('train', 'num_beams')} num_beams",
            fix="add `-s num_beams=1`; `qtune ask` takes it",
        )
