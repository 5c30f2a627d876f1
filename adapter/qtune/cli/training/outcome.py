"""Says how a training ended, to whoever ran it or followed it."""

from __future__ import annotations

from collections.abc import Mapping

import typer

from qtune import failures
from qtune.cli.output import complain, note
from qtune.errors import QtuneError
from qtune.runs.checkpoints import checkpoints
from qtune.runs.find import shown
from qtune.runs.record import Run
from qtune.training import resuming
from qtune.units import counted


def tell(run: Run) -> None:
    """Say how it ended. Leaves with exit code 1 where it failed or was killed, 130 where it was stopped."""
    status = run.record["status"]
    if status == "finished":
        typer.echo(str(run.directory))
        loss = (run.record.get("metrics") or {}).get("train_loss")
        shown = f", train_loss {loss:.4f}" if isinstance(loss, float) else ""
        steps = run.record.get("global_step")
        note(f"finished: {counted(steps, 'step') if isinstance(steps, int) else 'no step'}{shown}")
        note(f"next: `qtune chat {run.name}`, `qtune eval {run.name}` or `qtune export {run.name}`")
    elif status == "stopped":
        note(f"{run.name}: {run.record.get('reason')}")
        tell_how_to_go_on(run)
        raise typer.Exit(130)
    elif status == "running":
        complain(f"{run.name} was killed, and its qtune with it\n  log: {run.log}")
        tell_how_to_go_on(run)
        raise typer.Exit(1)
    else:
        failure = run.record.get("failure")
        complain(f"the training failed: {reason(run.record.get('reason'), failure)}")
        if failure is None and run.log.is_file():
            note(failures.last(failures.tail(run.log)))
        note(f"  log: {run.log}")
        if checkpoints(run.directory):
            tell_how_to_go_on(run)
        raise typer.Exit(1)


def reason(words: str | None, failure: Mapping[str, str] | None) -> str:
    """Why a training failed, as its record has it; cause and fix below it where the failure is known."""
    known = [f"  {part}: {failure[part]}" for part in ("cause", "fix")] if failure else []
    return "\n".join([str(words), *known])


def tell_how_to_go_on(run: Run) -> None:
    """Say from which checkpoint a run goes on, and which newer ones are not complete."""
    try:
        checkpoint, broken = resuming.goes_on_from(run)
    except QtuneError as error:
        note(str(error))
        return
    for other in broken:
        note(f"{other.path.name} is not complete: {other.flaw}")
    if checkpoint is not None:
        start = f"goes on from {checkpoint.path.name}"
    else:
        start = "starts it anew: it has no complete checkpoint"
    note(f"`qtune resume {run.name}` {start}; what there is lies in {shown(run.directory)}")
