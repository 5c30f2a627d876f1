"""`replay`: train once more what a run recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from qtune.cli.app import DatasetOption, JsonOption, ModelOption, SetOption, here, override_layers
from qtune.cli.commands import command
from qtune.cli.complete import run_names
from qtune.cli.output import note
from qtune.cli.training import start
from qtune.cli.training.on_oom import OnOomOption
from qtune.cli.training.start import DetachOption, DryRunOption, ForceOption, How, RunNameOption
from qtune.prepare import records
from qtune.training import resuming
from qtune.values import Layer


@command("replay", "qtune replay lora", "qtune replay lora -n again -s seed=7")
def replay_command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's name.", autocompletion=run_names)],
    name: RunNameOption = None,
    model: ModelOption = None,
    dataset: DatasetOption = None,
    assignments: SetOption = None,
    on_oom: OnOomOption = None,
    detach: DetachOption = False,
    force: ForceOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train what a run recorded once more, in a new run, and say what differs today.

    That is versions, commit, machine, data and presets.

    Exit code 1 where the training failed, 2 where it could only fail, 130 where Ctrl-C ended it.
    """
    how = How(force, detach, on_oom, dry_run, as_json)
    start.require_launcher(how, name)
    replay(run, override_layers(model, dataset, assignments), name, how)


def replay(first: str, options: Sequence[Layer], name: str | None, how: How) -> None:
    """Train what the run `first` recorded, under the values of `options`; name: of the new run."""
    project = here()
    run = resuming.recorded(project, first)
    prepared = start.suited(
        lambda stack: records.read_record(project, run.directory, options, stack=stack), how
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
