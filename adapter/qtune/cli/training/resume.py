"""`resume`: go on with a run that ended early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.options import How
from qtune.cli.output import left_out
from qtune.errors import QtuneError
from qtune.values import Layer


@command("resume", "qtune resume", "qtune resume lora -s num_train_epochs=6 --force")
def resume_command(
    run: Annotated[str | None, options.run_argument("A run's name; else the newest unfinished one.")] = None,
    assignments: options.Assignments = None,
    on_oom: options.OnOom = None,
    detach: options.Detach = False,
    node_rank: options.NodeRank = None,
    force: options.Force = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Go on with a run that ended early, from its newest complete checkpoint.

    It trains what the run recorded, whatever presets and rendered/ say today. Other values, edited presets
    and changed data are shown, and need --force. Of several nodes each takes part with its --node-rank.

    Exit code 1 where the training failed, 2 where it could only fail, 130 where Ctrl-C ended it.
    """
    from qtune.cli.training import start

    how = How(force, detach, on_oom, dry_run, as_json)
    start.require_launcher(how)
    resume(run, options.override_layers(None, None, assignments), node_rank, how)


def resume(name: str | None, changes: Sequence[Layer], node_rank: int | None, how: How) -> None:
    """Go on with a run, under the values of `changes`; what differs from what was recorded has to be forced.

    A node other than the first joins it: from the checkpoint that both find, on a shared disk.
    """
    from qtune.cli.training import nodes, start
    from qtune.cli.training.resume_view import announce_resumed, set_aside_broken, show_what_differs
    from qtune.cli.training.slurm import as_options
    from qtune.prepare import records
    from qtune.runs.checkpoints import bytes_of_complete
    from qtune.training import resuming

    project = here()
    if node_rank and name is None:
        raise QtuneError(
            "needs the name of the run", where="--node-rank", fix="qtune resume RUN --node-rank …"
        )
    run = resuming.recorded(project, name) if node_rank and name else resuming.find(project, name, left_out)
    layers = [*resuming.layers(run, changes), *options.node_layers(node_rank or None)]
    prepared = start.suited(
        lambda stack: records.read_record(project, run.directory, layers, stack=stack), how
    )
    found = resuming.look(run, prepared, changes)
    if not node_rank and show_what_differs(found):
        start.stop("a new run takes any values: `qtune train PRESET`", how)
    words = ("resume", run.name, *as_options(changes), *(["--force"] if how.force else []))
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
