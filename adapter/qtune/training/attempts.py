"""A run and its attempts: claim it, record it, run the child, and record how it ended."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtune.config.names import valid_name
from qtune.data import token_cache
from qtune.errors import QtuneError
from qtune.launch import slurm
from qtune.launch.plan import CLI, continuing, from_the_beginning, growing, logging_to, with_argument
from qtune.prepare.pipeline import Prepared, write_files
from qtune.prepare.records import within
from qtune.prepare.renderings import render_again
from qtune.processes import process, signals
from qtune.runs import curves, lock, provenance, record, written
from qtune.runs.checkpoints import Checkpoint, at_home, in_order, set_aside, verified
from qtune.runs.ending import Ended, Watch, judged
from qtune.runs.find import plain_record, require_ended, require_writable, shown
from qtune.runs.joint_stop import JointStop
from qtune.runs.record import Run
from qtune.training import operations, stall
from qtune.use.exporting.spelling import make_readable
from qtune.values import LaunchPlan

if TYPE_CHECKING:
    from qtune.training.stepping import Step

_MADE = "tokenized"  # in a run's directory, until the tokens are complete


@dataclass(frozen=True)
class Observer:
    """Who is told of a training while it is carried out.

    begin: called once the run is recorded and held, before its child starts, with whether its file system
    keeps locks; show: with the child's output; stopping: with the signal that asks for a clean stop;
    steps_down: with how an attempt ended that ran out of memory and what would be tried next, whether it is.
    """

    begin: Callable[[Run, bool], None] = lambda run, kept: None
    show: Callable[[bytes], None] = lambda output: None
    stopping: Callable[[int], None] = lambda number: None
    steps_down: Callable[[Ended, Step], bool] = lambda ended, step: False


def require_launcher(name: str | None = None) -> None:
    """Raises QtuneError, before anything is written, where no training can start here or under this name."""
    if name is not None:
        valid_name(name, "run")
    process.find_program(CLI)


def claim(
    prepared: Prepared,
    *,
    name: str | None = None,
    overwrite: bool = False,
    command: Sequence[str] = (),
    rows: Mapping[str, int] | None = None,
) -> tuple[Run, Prepared]:
    """Make the run that will train what was prepared, and record it; what to carry out in it.

    name: of the run, where it is not the config's; one in use gets the next free suffix, is refused where
    several nodes have to agree on it, or with `overwrite` loses its place to this one.
    command: qtune's own command line, and rows: how many each dataset has, both for the record.
    """
    require_launcher(name)
    project = prepared.project
    runs, name = project.runs_directory, name or prepared.config.name
    if overwrite:
        require_replaceable(runs / name)
    _tokens(prepared)  # what it refuses is refused before anything is written
    steps, facts = prepared.steps, provenance.gather(project.root, prepared.sources, rows or {})
    directory_for = record.claim_for_nodes if prepared.config.nodes_by_hand else record.claim
    with _replaced(runs / name) if overwrite else nullcontext():
        directory = directory_for(runs, name)
        with _emptied(directory):
            prepared = within(prepared, directory)
        run = record.start(
            directory,
            prepared.manifest,
            command=command,
            predicted_steps=steps.total if steps else None,
            facts=facts,
        )
    return run, prepared


def carry_out(
    run: Run,
    prepared: Prepared,
    observer: Observer,
    *,
    checkpoint: Checkpoint | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Run:
    """Train a claimed run, or go on with one, to its end, and record how that was; it holds the run's lock.

    prepared: as `claim` gave it, or `records.read_record` made it, with `changes` in it.
    checkpoint: from which it goes on, None for the beginning; changes: of the recorded config, by key.
    Raises QtuneError where somebody else holds the run.
    """
    require_launcher()
    _tokens(prepared)
    with lock.held(run.directory) as kept, signals.collected():  # until the record tells of the end
        run.record = record.read(run.directory).record  # as who held it before left it
        try:
            observer.begin(run, kept)
            write_files(prepared)
            ended = attempt(run, prepared, observer, checkpoint=checkpoint, changes=changes)
            if ended.maybe_memory:
                ended = _stepped_down(ended, run, prepared, observer)
            if ended.status == "finished":
                _hand_on(run, prepared)
            run.end(ended.status, ended.exit_code, ended.reason, ended.failure)
        except BaseException as error:  # what goes wrong in qtune itself is the run's end too
            run.end("failed", 1, str(error) or type(error).__name__)
            raise
    return run


def _hand_on(run: Run, prepared: Prepared) -> None:
    """Let others read the model or adapter that lies in the run's directory, where many take it from."""
    try:
        make_readable(run.directory, prepared.config.block("train"), prepared.project.root)
    except (OSError, QtuneError) as error:  # the training is done all the same
        _write(run.log, f"its configs stay as transformers 5 wrote them: {error}")


def launch_of(
    prepared: Prepared, directory: Path, checkpoint: Checkpoint | None = None, *, again: bool = False
) -> LaunchPlan:
    """What an attempt in the run's `directory` starts; the address of a Slurm job's nodes comes with the job.

    checkpoint: from which it goes on; again: whether it starts anew where another attempt has trained.
    """
    project, output_dir = prepared.project, prepared.project.from_root(directory)
    plan, tokens = growing(prepared.plan, os.environ), _tokens(prepared)
    plan = with_argument(plan, "output_dir", output_dir)
    if tokens is not None:
        complete = token_cache.is_complete(project.root / tokens)
        plan = with_argument(plan, "tokenized_path", tokens if complete else f"{output_dir}/{_MADE}")
    if checkpoint is None and not again:
        return plan
    if (events := curves.logged_to(directory)) is not None:
        plan = logging_to(plan, project.from_root(events))
    return continuing(plan, project.from_root(checkpoint.path)) if checkpoint else from_the_beginning(plan)


def attempt(
    run: Run,
    prepared: Prepared,
    observer: Observer,
    *,
    checkpoint: Checkpoint | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Ended:
    """Run the child once, to its end, as an attempt of `run`; how it ended.

    checkpoint: from which it goes on, None for the beginning; changes: of the recorded config, by key.
    """
    root, output_dir = prepared.project.root, prepared.project.from_root(run.directory)
    tokens = _tokens(prepared)
    plan = launch_of(prepared, run.directory, checkpoint, again=bool(run.attempts))
    if checkpoint is not None:
        at_home(checkpoint, output_dir)
        in_order(run.directory)
    curves.go_on(run.directory, checkpoint.step + 1 if checkpoint else 0)
    if prepared.config.launcher == "slurm":
        plan = slurm.on_nodes(plan, prepared.config.nnodes)
        run.update(job_id=slurm.job_id())
    elif "job_id" in run.record:
        run.update(job_id=None)
    run.begin_attempt(
        plan,
        resume_from_checkpoint=prepared.project.from_root(checkpoint.path) if checkpoint else None,
        from_step=checkpoint.step if checkpoint else 0,
        changes=changes,
    )
    watch = Watch(run.log)
    joint_stop = JointStop(run.directory) if prepared.config.nodes_by_hand else None
    stalls, began = stall.Stall(run.log), time.time()

    def say(words: str) -> None:
        observer.show(_write(run.log, words))

    def trouble() -> str | None:
        if joint_stop is not None:
            joint_stop.listen()
        if not plan.has_supervisors and stalls.look():
            _write(run.log, stall.told(prepared.config, run.directory))  # which is shown as the child's
            operations.clear(partial(_write, run.log))
        return watch.trouble()

    def stopping(number: int) -> None:
        if joint_stop is not None:
            joint_stop.say()
        observer.stopping(number)

    def show(output: bytes) -> None:
        watch.losses.feed(output)
        observer.show(output)

    before = written.times(run.directory)

    def start(plan: LaunchPlan) -> process.Outcome:
        return process.run(
            plan, root, run.log, show, run_directory=run.directory, watch=trouble, stopping=stopping
        )

    try:
        interrupted = operations.make_ready(prepared.config, prepared.hardware, plan, start, say)
        outcome = interrupted or start(plan)
    finally:
        if not plan.has_supervisors:
            operations.clear(say, made_since=began)
        if tokens is not None:
            token_cache.keep(root / output_dir / _MADE, root / tokens)
    ended = judged(run.directory, run.log, prepared.config, outcome, watch)
    if ended.status == "failed":
        return ended
    return _proved(ended, run, prepared, written.since(run.directory, before))


def _proved(ended: Ended, run: Run, prepared: Prepared, files: Sequence[Path]) -> Ended:
    """The same, where the library wrote into these files, newest first, that it trained what was recorded.

    Checkpoints of another training are set aside.
    """
    other = written.difference(files[0], prepared.config) if files else None
    if other is None:
        return ended
    for checkpoint in list(verified(run.directory, prepared.config)):
        if checkpoint.path / written.FILE in files:
            set_aside(checkpoint)
    what = f"it trained with {other}: somebody changed {prepared.rendered}, or its command"
    return Ended("failed", ended.exit_code, what)


def _write(log: Path, words: str) -> bytes:
    """The line by which qtune itself tells something in a training's log, written there."""
    line = f"qtune: {words}\n".encode()
    with log.open("ab") as file:
        file.write(line)
    return line


def _stepped_down(ended: Ended, run: Run, prepared: Prepared, observer: Observer) -> Ended:
    """What became of a training that ran out of memory, with smaller steps while the observer agrees."""
    from qtune.training import stepping  # and with it what estimates memory and speed

    while ended.maybe_memory:
        failure = dict(ended.failure or {})
        estimate = stepping.explained(prepared, failure["id"].startswith("cuda-"))
        failure["cause"] = "; ".join(filter(None, [failure["cause"], estimate]))
        ended = ended._replace(failure=failure)
        step = stepping.after(run, prepared, ended.phase)
        if step is None or not observer.steps_down(ended, step):
            break
        run.end_attempt(ended.status, ended.exit_code, ended.reason, ended.failure)
        prepared, checkpoint = step.prepared, stepping.take(step, run)
        write_files(prepared)
        ended = attempt(run, prepared, observer, checkpoint=checkpoint, changes=step.changes)
    return ended


def require_replaceable(directory: Path) -> None:
    """Raises QtuneError where something else than a run that has ended is in the place of a new one."""
    if not directory.exists():
        return
    if not (directory / record.RECORD).is_file():
        raise QtuneError("is no run of qtune", where=shown(directory), fix="take another --name")
    require_ended(directory, plain_record(directory))
    require_writable(directory)


@contextmanager
def _replaced(directory: Path) -> Iterator[None]:
    """Free the place of a run for the block, which puts another there; only then is the old one gone."""
    aside = directory.with_name(f".{directory.name}-{uuid.uuid4().hex}")
    there = directory.exists()
    if there:
        directory.rename(aside)
    try:
        yield
    except BaseException:
        if there:
            shutil.rmtree(directory, ignore_errors=True)
            aside.rename(directory)
        raise
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _emptied(directory: Path) -> Iterator[None]:
    """Take a directory that was claimed back where the block raises; one of other nodes stays."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            directory.rmdir()
        raise


def _tokens(prepared: Prepared) -> str | None:
    """Where its tokens belong, by the data and values as they are now; None where that is not qtune's."""
    if not token_cache.is_automatic(prepared.config):
        return None
    directory = token_cache.tokens_directory(prepared.config, prepared.project)
    if directory is None:
        fix = render_again(prepared.project, prepared.config.name)
        raise QtuneError("its data is no longer what tokenized_path: auto can follow", fix=fix)
    return directory
