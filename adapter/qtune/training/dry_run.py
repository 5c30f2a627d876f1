"""A dry run: what a training would write and start, node by node. Nothing is written and nothing started."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from qtune.config.names import valid_name
from qtune.launch.plan import CLI
from qtune.predict.steps import Steps
from qtune.prepare.pipeline import CURRENT, RENDERED, Prepared
from qtune.prepare.records import within
from qtune.processes import node, process
from qtune.render import manifest as manifests
from qtune.runs import lock, record, reserve
from qtune.runs.checkpoints import Checkpoint
from qtune.secrets.names import known
from qtune.secrets.text import redacted, without
from qtune.training.attempts import launch_of, require_replaceable
from qtune.training.operations import compiling_ahead
from qtune.training.submitting import is_submission, submission
from qtune.values import CLUSTERS, Finding, Origin, RenderedFile, Value

if TYPE_CHECKING:
    from qtune.predict.memory.estimate import Estimate

_ADDRESS, _PORT = "<address of the first node>", "<a port that is free on the first node>"


@dataclass(frozen=True)
class PlannedStart:
    """A command that would be started.

    where: on which node, or what it is; files: those that qtune itself would write there, from the project's
    root; environment: the variables that are added to qtune's own for it.
    """

    where: str
    files: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class DryRun:
    """What a training would be; no secret is in it.

    run: its directory, from the project's root; removed: whether the run that lies there is.
    estimate and steps: None where nothing tells; texts: those of the rendered files.
    """

    preset: str
    hardware: str
    run: str
    removed: bool
    findings: tuple[Finding, ...]
    estimate: Estimate | None
    steps: Steps | None
    starts: tuple[PlannedStart, ...]
    texts: tuple[RenderedFile, ...]


def dry_run(
    prepared: Prepared,
    estimate: Estimate | None,
    environment: Mapping[str, str],
    in_job: Callable[[str], Sequence[str]],
    *,
    name: str | None = None,
    overwrite: bool = False,
    renders: bool = False,
    going_on: record.Run | None = None,
    checkpoint: Checkpoint | None = None,
) -> DryRun:
    """What training `prepared`, which has no errors, would write and start.

    environment: qtune's own; in_job: what a Slurm job would call qtune with, for a run of that name.
    name, overwrite: as `attempts.claim` takes them; renders: whether rendered/ would be written first.
    going_on: the run that would go on, from `checkpoint`.
    Raises QtuneError where no run of that name can be begun.
    """
    project, config = prepared.project, prepared.config
    directory = going_on.directory if going_on else _free(prepared, name, overwrite)
    rendered = _shared(prepared) if renders else ()
    if going_on is None:
        prepared = within(prepared, directory)
    hidden = known(environment)
    hub = {key: environment.get(key, value) for key, value in project.hub.items()}
    again = going_on is not None and bool(going_on.attempts)
    starts = _starts(prepared, directory, checkpoint, again, rendered, in_job(directory.name))
    return DryRun(
        config.name,
        str(prepared.hardware),
        project.from_root(directory),
        overwrite and directory.exists(),
        prepared.findings,
        estimate,
        prepared.steps,
        tuple(
            replace(
                start,
                command=tuple(redacted(start.command, hidden)),
                environment=redacted({**hub, **start.environment}, hidden),
            )
            for start in starts
        ),
        tuple(replace(file, text=without(file.text, hidden)) for file in prepared.files),
    )


def _free(prepared: Prepared, name: str | None, overwrite: bool) -> Path:
    """The directory that `attempts.claim` would take; raises QtuneError as it does."""
    runs = prepared.project.runs_directory
    name = prepared.config.name if name is None else valid_name(name, "run")
    if overwrite:
        require_replaceable(runs / name)
        return runs / name
    return (record.free_for_nodes if prepared.config.nodes_by_hand else record.free)(runs, name)


def _files(prepared: Prepared) -> tuple[str, ...]:
    """The files that `write_files` would write."""
    links = () if prepared.named is None else (prepared.named,)
    return (*(f"{prepared.rendered}/{file.name}" for file in prepared.files), *links)


def _shared(prepared: Prepared) -> tuple[str, ...]:
    """The files that `pipeline.write` would write."""
    return (*_files(prepared), f"{prepared.rendered}/{manifests.FILE}", f"{RENDERED}/{CURRENT}")


def _starts(
    prepared: Prepared,
    directory: Path,
    checkpoint: Checkpoint | None,
    again: bool,
    rendered: Sequence[str],
    in_job: Sequence[str],
) -> Iterator[PlannedStart]:
    """In the order of starting, each with the plan's own variables; no secret is taken out yet.

    rendered: the files that qtune writes before the run's own.
    """
    config, run = prepared.config, prepared.project.from_root(directory)
    written = (*rendered, *_files(prepared), f"{run}/{record.RECORD}")
    kept = tuple(f"{run}/{name}" for name in (lock.LOCK, lock.TRAINERS, reserve.FILE, record.LOG))
    if is_submission(prepared):
        yield PlannedStart("this machine", written, submission(prepared, directory, in_job), {})
        written = (*_files(prepared), f"{run}/{record.RECORD}")
        yield PlannedStart("the job, on its first node", (*written, *kept), ("qtune", *in_job), {})
        written = kept = ()
    plan = launch_of(prepared, directory, checkpoint, again=again)
    variables = {**plan.environment, **process.UNBUFFERED}
    compiling = compiling_ahead(config, prepared.hardware, plan)
    if compiling is not None:
        yield PlannedStart("this machine, to compile first", (), compiling.argv, variables)
    if config.nodes_by_hand:
        for rank in range(config.nnodes):
            there = _on_node(prepared, rank)
            if rank > 0:
                there = within(there, directory, record.NODE_FILES.replace("*", str(rank)))
            own = launch_of(there, directory, checkpoint, again=again and rank == 0)
            log = f"{run}/{record.NODE_LOGS.replace('*', str(rank))}"
            files = (*written, *kept) if rank == 0 else (*rendered, *_files(there), log)
            yield PlannedStart(f"node {rank}", files, own.argv, {**own.environment, **process.UNBUFFERED})
    elif config.launcher not in CLUSTERS:
        yield PlannedStart("this machine", (*written, *kept), plan.argv, variables)
    else:
        on_node = plan.argv[plan.argv.index(CLI) :]
        meeting = {"MASTER_PORT": _PORT, **variables, "MASTER_ADDR": _ADDRESS}
        if config.launcher == "ray":
            yield PlannedStart("the driver, on this machine", (*written, *kept), plan.argv, variables)
            on_node = ("python3", "-P", "-m", node.__name__, *on_node)
        else:
            meeting |= {} if config.nnodes > 1 else {"MASTER_ADDR": "127.0.0.1"}
            yield PlannedStart("the job's step", (*written, *kept), plan.argv, meeting)
        for rank in range(config.nnodes):
            yield PlannedStart(f"node {rank}", (), on_node, {**meeting, "NODE_RANK": str(rank)})


def _on_node(prepared: Prepared, rank: int) -> Prepared:
    value = Value(rank, Origin("--node-rank"))
    values = {**prepared.config.values, ("launch", "node_rank"): value}
    return replace(prepared, config=replace(prepared.config, values=values))
