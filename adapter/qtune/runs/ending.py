"""How an attempt ended, judged by its child and by what that wrote."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import NamedTuple

from qtune.launch import failures
from qtune.launch.process import Outcome
from qtune.runs import progress
from qtune.values import Config


class Ended(NamedTuple):
    """How an attempt ended, in the record's words."""

    status: str
    exit_code: int
    reason: str | None


def judged(directory: Path, log: Path, config: Config, outcome: Outcome) -> Ended:
    """How the attempt ended whose child had this outcome.

    A training that stops when it is asked to exits with 0, as one that is done; its steps tell them apart.
    """
    code = outcome.exit_code
    reached = progress.reached(directory, ended=code == 0)
    cut = code == 0 and reached is not None and reached[0] < reached[1]
    if outcome.interrupted is not None and (code != 0 or cut):
        by = f"stopped by {signal.Signals(outcome.interrupted).name}"
    elif cut and not config.get("train", "early_stopping_steps"):
        by = "stopped by SIGTERM to its workers"
    elif code != 0:
        return Ended("failed", code, outcome.reason or failures.reason_of(log, code))
    elif (logged := progress.losses(directory)) and not any(logged):
        return Ended("failed", code, "every logged loss is exactly 0: the model trained on nothing")
    else:
        return Ended("finished", code, None)
    at = f"at step {reached[0]} of {reached[1]}" if reached else "before its first step"
    return Ended("stopped", code, f"{by} {at}")
