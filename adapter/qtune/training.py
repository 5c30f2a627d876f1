"""Training what was prepared: claim a run, record it, run the child, and record how it ended."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from qtune.config.names import valid_name
from qtune.data import tokenized
from qtune.errors import QtuneError
from qtune.launch import failures, process
from qtune.launch.plan import CLI, into, with_tokens
from qtune.pipeline import Prepared
from qtune.runs import facts, progress, record
from qtune.runs.record import Run


class Ended(NamedTuple):
    """How an attempt ended, in the record's words."""

    status: str
    exit_code: int
    reason: str | None


def require_launcher(name: str | None = None) -> None:
    """Raises QtuneError, before anything is written, where no training can start here or under this name."""
    if name is not None:
        valid_name(name, "run")
    process.find_program(CLI)


def launch(
    prepared: Prepared,
    *,
    name: str | None = None,
    command: Sequence[str] = (),
    rows: Mapping[str, int] | None = None,
    begin: Callable[[Run], None],
    show: Callable[[bytes], None],
) -> Run:
    """Train what was written: claim a run, record it, run the child to its end, and record how that was.

    name: of the run, where it is not the config's; one in use gets the next free suffix.
    command: qtune's own command line, and rows: how many each dataset has, both for the record.
    begin: called once the run is recorded, before the child starts; show: called with the child's output.
    """
    require_launcher(name)
    project = prepared.project
    _tokens(prepared)  # what it refuses is refused before anything is written
    steps, found = prepared.steps, facts.gather(project.root, prepared.sources, rows or {})
    directory = record.claim(project.root / Path(project.runs).expanduser(), name or prepared.config.name)
    run = record.start(
        directory,
        prepared.manifest,
        command=command,
        predicted_steps=steps.total if steps else None,
        facts=found,
    )
    with _closing(run):
        begin(run)
        run.end(*attempt(run, prepared, show))
    return run


def attempt(run: Run, prepared: Prepared, show: Callable[[bytes], None]) -> Ended:
    """Run the child once, to its end, as an attempt of `run`; how it ended."""
    root, runs = prepared.project.root, prepared.project.runs
    tokens = _tokens(prepared)
    plan = into(prepared.plan, f"{runs}/{run.name}")
    made = f"{Path(runs).expanduser().as_posix()}/{run.name}/tokenized"
    if tokens is not None:
        plan = with_tokens(plan, tokens if tokenized.is_complete(root / tokens) else made)
    run.begin_attempt(plan)
    try:
        outcome = process.run(plan, root, run.log, show)
    finally:
        if tokens is not None:
            tokenized.keep(root / made, root / tokens)
    if outcome.interrupted is not None:
        reason = f"ended by {signal.Signals(outcome.interrupted).name}"
        return Ended("interrupted", outcome.exit_code, reason)
    if outcome.exit_code != 0:
        return Ended("failed", outcome.exit_code, failures.reason_of(run.log, outcome.exit_code))
    if (logged := progress.losses(run.directory)) and not any(logged):
        reason = "every logged loss is exactly 0: the model trained on nothing"
        return Ended("failed", outcome.exit_code, reason)
    return Ended("finished", outcome.exit_code, None)


@contextmanager
def _closing(run: Run) -> Iterator[None]:
    """What goes wrong in qtune itself is the run's end too."""
    try:
        yield
    except BaseException as error:
        run.end("failed", 1, str(error) or type(error).__name__)
        raise


def _tokens(prepared: Prepared) -> str | None:
    """Where its tokens belong, by the data and values as they are now; None where that is not qtune's."""
    if not tokenized.is_automatic(prepared.config):
        return None
    directory = tokenized.tokens_directory(prepared.config, prepared.project)
    if directory is None:
        fix = f"render it again: `qtune render {prepared.config.name}`"
        raise QtuneError("its data is no longer what tokenized_path: auto can follow", fix=fix)
    return directory
