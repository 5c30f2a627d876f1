"""How an attempt ended, judged by its child's exit code, its log and its losses."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from qtune import failures
from qtune.failures import Reason
from qtune.failures.losses import ZERO, LossWatch
from qtune.failures.words import Phase, phase
from qtune.launch.rendezvous import why_not
from qtune.machine.host import oom_kills, read_volume
from qtune.processes.process import Outcome
from qtune.runs import progress
from qtune.values import Config

_LITTLE = 1 << 20  # bytes of a disk, the room that is kept for the record among them


class Ended(NamedTuple):
    """How an attempt ended, in the record's words.

    failure: of a known one `id`, `cause` and `fix`; maybe_memory: whether memory may have run out;
    phase: what the trainer was at when it failed.
    """

    status: str
    exit_code: int
    reason: str | None
    failure: Mapping[str, str] | None = None
    maybe_memory: bool = False
    phase: Phase = "training"

    @classmethod
    def failed(cls, code: int, why: Reason, phase: Phase = "training") -> Ended:
        if why.failure is None or why.cause is None or why.fix is None:
            return cls("failed", code, why.words)
        failure = {"id": why.failure.id, "cause": why.cause, "fix": why.fix}
        return cls("failed", code, why.words, failure, why.maybe_memory, phase)


class Watch:
    """Follows an attempt from its beginning to its end, for what its exit code does not tell."""

    def __init__(self, log: Path) -> None:
        self.start = log.stat().st_size if log.is_file() else 0
        self.losses = LossWatch()
        self._kills = oom_kills()

    def trouble(self) -> str | None:
        """Why it is to be ended now."""
        return failures.known(self.losses.trouble).words if self.losses.trouble else None

    @property
    def killed_for_memory(self) -> bool | None:
        """Whether Linux ended a process for want of memory meanwhile, None where it does not say."""
        now = oom_kills()
        return None if now is None or self._kills is None else now > self._kills


def judged(directory: Path, log: Path, config: Config, outcome: Outcome, watch: Watch) -> Ended:
    """How the attempt ended whose child had this outcome.

    A training that stops when it is asked to exits with 0, as one that is done; its steps tell them apart.
    """
    code = outcome.exit_code
    reached = progress.reached(directory, ended=code == 0)
    cut = code == 0 and reached is not None and reached[0] < reached[1]
    spoilt = watch.losses.trouble if outcome.reason else watch.losses.at_the_end if code == 0 else None
    if outcome.interrupted is not None and (code != 0 or cut):
        by = f"stopped by {signal.Signals(outcome.interrupted).name}"
    elif spoilt is not None:
        return Ended.failed(code, failures.known(spoilt))
    elif cut and not config.get("train", "early_stopping_steps"):
        by = "stopped by SIGTERM to its workers"
    elif code != 0 and outcome.reason:
        return Ended("failed", code, outcome.reason)
    elif code != 0:
        lines = failures.tail(log, watch.start)
        why = failures.reason_in(lines, code, killed_for_memory=watch.killed_for_memory)
        if (apart := why_not(config, why.words)) is not None:
            return Ended("failed", code, apart)
        free = read_volume(directory).free
        if why.failure is None and free is not None and free < _LITTLE:
            why = failures.known(failures.FULL)  # of which the log could not tell
        return Ended.failed(code, why, phase(lines))
    elif (logged := progress.losses(directory)) and not any(logged):
        return Ended.failed(code, failures.known(ZERO))
    else:
        return Ended("finished", code, None)
    at = f"at step {reached[0]} of {reached[1]}" if reached else "before its first step"
    return Ended("stopped", code, f"{by} {at}")
