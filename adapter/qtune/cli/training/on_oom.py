"""`--on-oom`: whether a training that ran out of memory goes on with a smaller step."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from qtune.cli.options import OomChoice
from qtune.cli.output import complain, note
from qtune.cli.training.outcome import reason
from qtune.processes import signals
from qtune.runs.ending import Ended

if TYPE_CHECKING:
    from qtune.training.stepping import Step


def steps_down(on_oom: OomChoice | None, ended: Ended, step: Step) -> bool:
    """Whether to go on with `step`; asked for where nothing was said, and somebody is there."""
    if on_oom == "stop":
        return False
    if on_oom is None and not (sys.stdin.isatty() and sys.stderr.isatty()):
        note(f"--on-oom step-down would go on with {step.text}")
        return False
    complain(f"out of memory: {reason(ended.reason, ended.failure)}")
    if on_oom is None:
        try:
            with signals.asking():
                return typer.confirm(f"go on with {step.text}?", default=True, err=True)
        except (typer.Abort, KeyboardInterrupt):
            return False
    note(f"going on with {step.text}")
    return True
