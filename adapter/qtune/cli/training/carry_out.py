"""`carry-out`: train a claimed run inside a scheduler's job."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command


@command("carry-out")
def carry_out_command(
    name: Annotated[str, typer.Argument(metavar="RUN")], on_oom: options.OnOom = None
) -> None:
    """Train a run that was claimed before, from its record alone: what a scheduler's job calls."""
    from qtune.cli.presets.render import stop_on_errors
    from qtune.cli.training import start
    from qtune.machine.stack import installed_stack
    from qtune.prepare import records
    from qtune.training import resuming

    project = here()
    run = resuming.recorded(project, name)
    prepared = records.read_record(project, run.directory, resuming.layers(run), stack=installed_stack())
    stop_on_errors(prepared)
    start.carry_out(run, prepared, options.How(on_oom=on_oom), partial(start.announce, run, prepared))
