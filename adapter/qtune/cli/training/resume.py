"""`resume`: go on with a run that ended early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from qtune.cli.app import JsonOption, SetOption, here, override_layers
from qtune.cli.commands import command
from qtune.cli.complete import run_names
from qtune.cli.training import nodes, start
from qtune.cli.training.on_oom import OnOomOption
from qtune.cli.training.resume_view import announce_resumed, set_aside_broken, show_what_differs
from qtune.cli.training.slurm import as_options
from qtune.cli.training.start import DetachOption, DryRunOption, ForceOption, How
from qtune.errors import QtuneError
from qtune.prepare import records
from qtune.runs.checkpoints import bytes_of_complete
from qtune.training import resuming
from qtune.values import Layer


@command("resume", "qtune resume", "qtune resume lora -s num_train_epochs=6 --force")
def resume_command(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]", help="A run's name; else the newest unfinished one.", autocompletion=run_names
        ),
    ] = None,
    assignments: SetOption = None,
    on_oom: OnOomOption = None,
    detach: DetachOption = False,
    node_rank: nodes.NodeRankOption = None,
    force: ForceOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Go on with a run that ended early, from its newest complete checkpoint.

    It trains what the run recorded, whatever presets and rendered/ say today. Other values, edited presets
    and changed data are shown, and need --force. Of several nodes each takes part with its --node-rank.

    Exit code 1 where the training failed, 2 where it could only fail, 130 where Ctrl-C ended it.
    """
    how = How(force, detach, on_oom, dry_run, as_json)
    start.require_launcher(how)
    resume(run, override_layers(None, None, assignments), node_rank, how)


def resume(name: str | None, options: Sequence[Layer], node_rank: int | None, how: How) -> None:
    """Go on with a run, under the values of `options`; what differs from what was recorded has to be forced.

    A node other than the first joins it: from the checkpoint that both find, on a shared disk.
    """
    project = here()
    if node_rank and name is None:
        raise QtuneError(
            "needs the name of the run", where="--node-rank", fix="qtune resume RUN --node-rank …"
        )
    run = resuming.recorded(project, name) if node_rank and name else resuming.find(project, name)
    layers = [*resuming.layers(run, options), *nodes.node_layers(node_rank or None)]
    prepared = start.suited(
        lambda stack: records.read_record(project, run.directory, layers, stack=stack), how
    )
    found = resuming.look(run, prepared, options)
    if not node_rank and show_what_differs(found):
        start.stop("a new run takes any values: `qtune train PRESET`", how)
    words = ("resume", run.name, *as_options(options), *(["--force"] if how.force else []))
    if how.dry_run:
        start.tell_only(prepared, how, going_on=run, checkpoint=found.checkpoint, in_job=words)
        return
    start.look(prepared, how, held=0 if node_rank else bytes_of_complete(run.directory, prepared.config))
    if node_rank:
        nodes.join(prepared, name=run.name, again=True, detach=how.detach, checkpoint=found.checkpoint)
        return

    def begin() -> None:
        set_aside_broken(found)
        announce_resumed(found)

    start.carry_out(
        run, prepared, how, begin, checkpoint=found.checkpoint, changes=found.changes, in_job=words
    )
