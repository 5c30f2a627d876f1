"""Submits a run as a Slurm job, and says how the job stands until it begins."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import NoReturn

import typer

from qtune.cli.output import note
from qtune.prepare.pipeline import Prepared
from qtune.runs.find import SUBMITTED
from qtune.runs.record import Run
from qtune.training import submitting
from qtune.training.submitting import Standing
from qtune.values import Layer

_ASK_SECONDS = 5.0  # of Slurm's controller, which answers everybody


def submit(run: Run, prepared: Prepared, arguments: Sequence[str]) -> NoReturn:
    """Submit a job that calls qtune with `arguments`, say what to watch, and leave with exit code 0."""
    job = submitting.submit(run, prepared, arguments)
    note(f"submitted as Slurm job {job}")
    note(f"`qtune watch {run.name}` follows it, `qtune stop {run.name}` stops it")
    typer.echo(str(run.directory))
    raise typer.Exit


def as_options(layers: Sequence[Layer]) -> list[str]:
    """The command line's values as --set takes them."""
    values = {path: value for layer in layers for path, value in layer.values.items()}
    settings = (
        f"{'.'.join(path[1:] if path[0] == 'train' else path)}={json.dumps(value.value)}"
        for path, value in values.items()
    )
    return [word for setting in settings for word in ("--set", setting)]


def wait_for_job(run: Run) -> None:
    """Tell how a submitted run's job stands, until it begins or is gone."""
    shown = None
    while run.record["status"] == SUBMITTED:
        standing, state = submitting.standing(run)
        if standing is Standing.WAITS:
            if state != shown:
                note(f"Slurm job {run.record['job_id']}: {state}")
                shown = state
            time.sleep(_ASK_SECONDS)
