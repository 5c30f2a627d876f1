"""Shows a dry run as text or as JSON."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import typer

from qtune.cli.output import note, plain_finding, print_json
from qtune.cli.plan.estimate_view import WORDS, span
from qtune.cli.terminal import folded
from qtune.doctor import readiness
from qtune.machine.host import read_host
from qtune.prepare.pipeline import Prepared
from qtune.training.dry_run import DryRun, PlannedStart, dry_run
from qtune.units import counted, size_text
from qtune.values import JOB


def tell(
    prepared: Prepared,
    in_job: Callable[[str], Sequence[str]],
    *,
    as_json: bool,
    hardware: str | None = None,
    **more: Any,
) -> None:
    """Print what a training would write and start; in_job and more: as `dry_run` takes them."""
    # of a machine that --hardware names nobody knows what is free
    free = read_host().memory_available if hardware is None else None
    found = dry_run(prepared, readiness.estimated(prepared, free), os.environ, in_job, **more)
    if as_json:
        print_json(plain(found))
        return
    typer.echo("\n".join(_lines(found)))
    note("nothing was written or started (--dry-run)")


def plain(found: DryRun) -> dict[str, Any]:
    """A dry run as JSON for programs; memory and disk in bytes."""
    names = ("verdict", "gpu", "host", "checkpoint", "disk")
    estimate = None if found.estimate is None else asdict(found.estimate)
    return {
        "preset": found.preset,
        "hardware": found.hardware,
        "run": found.run,
        "removed": found.removed,
        "findings": [plain_finding(finding) for finding in found.findings],
        "estimate": None if estimate is None else {name: estimate[name] for name in names},
        "steps": None if found.steps is None else asdict(found.steps),
        "starts": [asdict(start) for start in found.starts],
        "texts": {file.name: file.text for file in found.texts},
    }


def _lines(found: DryRun) -> Iterator[str]:
    yield f"{found.preset} for {found.hardware} into {found.run}"
    if found.removed:
        yield "in the place of the run there, which would be removed"
    if found.estimate is not None:
        gpu = "" if found.hardware == "cpu" else f"{span(found.estimate.gpu)} of each GPU, "
        disk = f"{size_text(found.estimate.disk)} of disk for checkpoints"
        memory = f"{gpu}{span(found.estimate.host)} of host memory"
        yield folded(f"{WORDS[found.estimate.verdict]}: {memory}; {disk}")
    if found.steps is not None:
        yield f"{counted(found.steps.total, 'step')} of {counted(found.steps.effective_batch, 'row')}"
    for start in found.starts:
        yield from _start(start)
    for file in found.texts:
        if file.name == JOB:
            yield f"\n{file.name}\n  " + file.text.strip().replace("\n", "\n  ")


def _start(start: PlannedStart) -> Iterator[str]:
    yield f"\n{start.where}"
    variables = [f"{name}={shlex.quote(value)}" for name, value in sorted(start.environment.items())]
    parts = {"writes": start.files, "sets": variables, "starts": [shlex.join(start.command)]}
    for word, lines in parts.items():
        for number, line in enumerate(lines):
            yield f"  {word if not number else '':<8}{line}"
