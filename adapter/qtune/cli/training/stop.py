"""`stop`: end a training that runs elsewhere, in the background or at another terminal."""

from __future__ import annotations

import os
import signal
from typing import Annotated

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import note
from qtune.errors import QtuneError


@command("stop", "qtune stop", "qtune stop lora-2 --now")
def stop_command(
    name: options.NewestRun = None,
    now: Annotated[
        bool, typer.Option("--now", help="End it at once, without a checkpoint of where it is.")
    ] = False,
) -> None:
    """Stop a training cleanly, at its next step and with a checkpoint, as Ctrl-C at its terminal does."""
    from qtune.cli.training.follow import ENDED, follow, found
    from qtune.cli.training.outcome import tell, tell_how_to_go_on
    from qtune.launch import slurm
    from qtune.processes import marks, signals
    from qtune.runs.find import SUBMITTED, is_its_qtune, shown, under_way
    from qtune.training import submitting

    run = found(here(), name)
    if run.record["status"] == SUBMITTED and submitting.take_back(run):
        note(f"{run.name}: {run.record['reason']}")
        return
    holder = under_way(run.directory, run.record)
    if holder is None and marks.of_run(run.directory):
        marks.end_run(run.directory)
        note(f"{run.name}: its qtune was killed; what was left of its training is ended")
        tell_how_to_go_on(run)
        return
    if holder is None:
        what = run.record["status"] if run.record["status"] in ENDED else "no longer running: it was killed"
        raise QtuneError(f"is {what}", where=shown(run.directory), fix="`qtune watch` tells how it ended")
    number = signals.END if now else signal.SIGTERM
    if holder.is_here:
        if not is_its_qtune(holder, run.directory):
            what = f"is held by what is no qtune that trains it ({holder})"
            raise QtuneError(what, where=shown(run.directory), fix="look at that process yourself")
        try:
            os.kill(holder.pid, number)
        except PermissionError:
            what = f"is another user's ({holder})"
            raise QtuneError(what, where=shown(run.directory), fix="ask them") from None
    elif (job := run.record.get("job_id")) is not None:
        submitting.require_own(run)
        slurm.tell(job, number)
    else:
        fix = f"stop it there: `qtune stop {run.name}`"
        raise QtuneError(f"trains on another computer ({holder})", where=shown(run.directory), fix=fix)
    note(f"{run.name}: " + ("ending it" if now else "stopping at the next step, with a checkpoint"))
    follow(run, lambda: None)
    if run.record["status"] == "stopped":
        note(f"{run.name}: {run.record['reason']}")
        tell_how_to_go_on(run)
    else:
        tell(run)
