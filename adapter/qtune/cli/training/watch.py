"""`watch`: a training that runs elsewhere, in the background or at another terminal."""

from __future__ import annotations

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import note


@command("watch", "qtune watch", "qtune watch lora-2")
def watch_command(name: options.NewestRun = None) -> None:
    """Follow a training that runs in the background or at another terminal, to its end.

    Ctrl-C leaves the training alone. Exit code as that of `qtune train`: 0 where it finished, 1 where it
    failed or was killed, 130 where it was stopped.
    """
    from qtune.cli.training.follow import follow, found, log_reader
    from qtune.cli.training.outcome import tell
    from qtune.cli.training.slurm import wait_for_job

    run = found(here(), name)
    try:
        wait_for_job(run)
        follow(run, log_reader(run.log))
    except KeyboardInterrupt:
        note(f"\n{run.name} goes on; `qtune stop {run.name}` stops it")
        raise typer.Exit(0) from None
    tell(run)
