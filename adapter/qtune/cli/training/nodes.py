"""Joins a training as one of several nodes, and says which nodes are awaited."""

from __future__ import annotations

import typer

from qtune.cli.output import complain, note, pass_on
from qtune.cli.training.outcome import reason
from qtune.prepare.pipeline import Prepared
from qtune.processes import background
from qtune.runs.checkpoints import Checkpoint
from qtune.runs.ending import Ended
from qtune.runs.record import Run
from qtune.training import joining
from qtune.training.joining import NodePart
from qtune.values import Config


def tell_who_is_awaited(run: Run, config: Config) -> None:
    """Say on node 0 what to start on the others."""
    if not config.nodes_by_hand:
        return
    place = f"{config.get('launch', 'master_addr')}:{config.get('launch', 'master_port')}"
    others = "1" if config.nnodes == 2 else f"1 to {config.nnodes - 1}"
    note(
        f"node 0 of {config.nnodes}, waiting at {place} for node {others}: the same command there, with "
        f"--name {run.name} and --node-rank"
    )


def join(
    prepared: Prepared, *, name: str | None, again: bool, detach: bool, checkpoint: Checkpoint | None = None
) -> None:
    """Train this node's part to its end, and say how it ended; with `detach` in the background.

    Leaves with exit code 1 where it failed, 130 where it was stopped.
    """

    def begin(part: NodePart) -> None:
        note(f"node {part.node_rank} of {part.nnodes}, joining {part.directory}; node 0 keeps the record")
        if not detach:
            return
        confirm_start = background.fork(part.log)
        if confirm_start is None:
            note(f"training in the background; its log is {part.log}")
            raise typer.Exit
        confirm_start()

    # in the background the log is the terminal
    show = (lambda output: None) if detach else pass_on
    _tell_part(*joining.join(prepared, name=name, again=again, checkpoint=checkpoint, begin=begin, show=show))


def _tell_part(part: NodePart, ended: Ended) -> None:
    who = f"node {part.node_rank} of {part.nnodes}"
    if ended.status == "finished":
        note(f"{who}: finished; the model and the record are node 0's")
    elif ended.status == "stopped":
        note(f"{who}: stopped {ended.reason}")
        raise typer.Exit(130)
    else:
        complain(f"{who} failed: {reason(ended.reason, ended.failure)}")
        note(f"  log: {part.log}")
        raise typer.Exit(1)
