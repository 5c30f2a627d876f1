"""`replay`: train once more what a run recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.options import How
from qtune.cli.output import note
from qtune.values import Layer


@command("replay", "qtune replay lora", "qtune replay lora -n again -s seed=7")
def replay_command(
    run: Annotated[str, options.run_argument("A run's name.", "RUN")],
    name: options.RunName = None,
    model: options.Model = None,
    dataset: options.Dataset = None,
    assignments: options.Assignments = None,
    on_oom: options.OnOom = None,
    detach: options.Detach = False,
    force: options.Force = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Train what a run recorded once more, in a new run, and say what differs today.

    That is versions, commit, machine, data and presets.

    Exit code 1 where the training failed, 2 where it could only fail, 130 where Ctrl-C ended it.
    """
    from qtune.cli.training import start

    how = How(force, detach, on_oom, dry_run, as_json)
    start.require_launcher(how, name)
    replay(run, options.override_layers(model, dataset, assignments), name, how)


def replay(first: str, changes: Sequence[Layer], name: str | None, how: How) -> None:
    """Train what the run `first` recorded, under the values of `changes`; name: of the new run."""
    from qtune.cli.training import start
    from qtune.prepare import records
    from qtune.training import resuming

    project = here()
    run = resuming.recorded(project, first)
    prepared = start.suited(
        lambda stack: records.read_record(project, run.directory, changes, stack=stack), how
    )
    if how.dry_run:
        start.tell_only(prepared, how, name=name or run.name)
        return
    rows = start.look(prepared, how)
    differing = resuming.differing_facts(run, prepared)
    note(f"replaying {run.name}; " + ("differing today:" if differing else "nothing differs today"))
    for line in differing:
        note(f"  {line}")
    start.begin(prepared, how, rows, name=name or run.name)
