"""Training on a node other than the first: run its part, keep its log, and leave the record to node 0."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qtune import failures
from qtune.errors import QtuneError
from qtune.launch.rendezvous import why_not
from qtune.prepare.pipeline import Prepared, write_files
from qtune.prepare.records import within
from qtune.processes import process
from qtune.runs.checkpoints import Checkpoint
from qtune.runs.ending import Ended
from qtune.runs.find import plain_record
from qtune.runs.joint_stop import JointStop
from qtune.runs.record import NODE_FILES, NODE_LOGS
from qtune.secrets.logs import clean
from qtune.secrets.names import known
from qtune.training.attempts import launch_of, require_launcher


@dataclass(frozen=True)
class NodePart:
    """One node's part of a run, which node 0 records: on the same file system, or on its own."""

    directory: Path
    node_rank: int
    nnodes: int

    @property
    def log(self) -> Path:
        return self.directory / NODE_LOGS.replace("*", str(self.node_rank))


def join(
    prepared: Prepared,
    *,
    name: str | None = None,
    again: bool = False,
    checkpoint: Checkpoint | None = None,
    begin: Callable[[NodePart], None],
    show: Callable[[bytes], None],
) -> tuple[NodePart, Ended]:
    """Train as the node that `launch.node_rank` names, to the end of its part; how that was.

    name: of the run, where it is not the config's; the same on all nodes, of which any may start first.
    again: whether node 0 goes on with a run, from `checkpoint`, or takes the place of one.
    begin: called before the child starts; show: called with the child's output.
    Raises QtuneError where a run of that name is over.
    """
    require_launcher(name)
    config, project = prepared.config, prepared.project
    directory = project.runs_directory / (name or config.name)
    status = plain_record(directory).get("status")
    if not again and status not in (None, "running"):
        raise QtuneError(
            f"{directory.name} is {status}: there is nothing to join",
            fix=f"give every node the same new --name, or go on with it: `qtune resume {directory.name}`",
        )
    directory.mkdir(parents=True, exist_ok=True)
    part = NodePart(directory, config.get("launch", "node_rank"), config.nnodes)
    prepared = within(prepared, directory, NODE_FILES.replace("*", str(part.node_rank)))
    begin(part)
    write_files(prepared)
    plan = launch_of(prepared, directory, checkpoint)
    joint_stop = JointStop(directory)
    start = part.log.stat().st_size if part.log.is_file() else 0
    outcome = process.run(
        plan,
        project.root,
        part.log,
        show,
        watch=joint_stop.listen,
        stopping=lambda number: joint_stop.say(),
    )
    clean(part.log, known(os.environ))
    code = outcome.exit_code
    if outcome.interrupted is not None:
        return part, Ended("stopped", code, f"by {signal.Signals(outcome.interrupted).name}")
    if code != 0 and outcome.reason:
        return part, Ended("failed", code, outcome.reason)
    if code != 0:
        why = failures.reason_of(part.log, code, start=start)
        apart = why_not(config, why.words)
        return part, Ended("failed", code, apart) if apart else Ended.failed(code, why)
    return part, Ended("finished", code, None)
