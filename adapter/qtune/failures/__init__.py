"""What a child's last words mean, by the table of known failures."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qtune.failures.table import Failure, row, rows
from qtune.failures.words import error_line, own_words, shortened, tail, whose

__all__ = ["FULL", "Reason", "known", "last", "reason_in", "reason_of", "rows", "tail", "told"]

FULL = "disk-full"
"""The id of the failure that a disk is full."""

_TOLD_LINES = 10
# as Python gives it, and as a shell does
_BY_SIGKILL = (-signal.SIGKILL, 128 + signal.SIGKILL)


@dataclass(frozen=True)
class Reason:
    """Why a child failed: its own words, and where it is a known failure, which, its cause and what helps.

    maybe_memory: whether memory may have run out.
    """

    words: str
    failure: Failure | None = None
    cause: str | None = None
    fix: str | None = None
    maybe_memory: bool = False

    def __str__(self) -> str:
        return self.words if self.cause is None else f"{self.words}\n  cause: {self.cause}\n  fix: {self.fix}"


def known(id: str) -> Reason:
    """The reason that a row of the table is which qtune noticed by itself."""
    failure = row(id)
    return Reason(failure.words, failure, failure.cause, failure.fix, failure.out_of_memory)


def reason_of(log: Path, exit_code: int, *, start: int = 0, killed_for_memory: bool | None = None) -> Reason:
    """Why a child failed that wrote into this log from `start` on; see `reason_in`."""
    return reason_in(tail(log, start), exit_code, killed_for_memory=killed_for_memory)


def reason_in(lines: Sequence[str], exit_code: int, *, killed_for_memory: bool | None = None) -> Reason:
    """Why a child failed: the first of its lines that is known, else its last error line, else how it ended.

    Several processes print their errors one over the other, and DeepSpeed's compiler the true one first.
    killed_for_memory: whether the system ended processes for memory meanwhile, None where nothing tells.
    """
    lines = own_words(lines)
    found = _first_known(lines)
    if (found is None or found[0].follows) and exit_code in _BY_SIGKILL:
        found = row("killed"), {}, "ended by SIGKILL"
    if found is None:
        return Reason(error_line(lines) or _ended_by(exit_code))
    failure, names, words = found
    killed = failure.id == "killed"
    if killed:
        words = f"local_rank {names['rank']} ended by SIGKILL" if names.get("rank") else words
        failure = row("killed-for-memory") if killed_for_memory else failure
    maybe = failure.out_of_memory or (killed and killed_for_memory is None)
    return Reason(words, failure, failure.cause.format(**names), failure.fix.format(**names), maybe)


def told(what: str, lines: Sequence[str], exit_code: int) -> str:
    """What failed and why, the child's last lines below it, and what helps."""
    reason = reason_in(lines, exit_code)
    return "\n".join([f"{what}: {reason.words}", last(lines), *str(reason).split("\n")[1:]])


def last(lines: Sequence[str]) -> str:
    """The last lines that hold anything, as they are shown below a message."""
    return "\n".join(f"  | {line}" for line in [line for line in lines if line][-_TOLD_LINES:])


def _first_known(lines: Sequence[str]) -> tuple[Failure, dict[str, str], str] | None:
    follower = None
    for line in lines:
        text = whose(line)[1]
        for failure in rows():
            match = next(filter(None, (pattern.search(text) for pattern in failure.patterns)), None)
            if match is None or (failure.follows and follower is not None):
                continue
            names = {name: "" for other in failure.patterns for name in other.groupindex}
            names |= {name: value for name, value in match.groupdict().items() if value is not None}
            found = failure, names, shortened(text)
            if not failure.follows:
                return found
            follower = found
    return follower


def _ended_by(exit_code: int) -> str:
    return f"ended by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit code {exit_code}"
