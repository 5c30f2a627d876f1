"""Training what was prepared: claim a run, record it, run the child, and record how it ended."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from qtune.config.names import valid_name
from qtune.data import tokenized
from qtune.errors import QtuneError
from qtune.launch import failures, process
from qtune.launch.plan import CLI, into, with_tokens
from qtune.pipeline import Prepared
from qtune.runs import record
from qtune.runs.record import Run


def require_launcher(name: str | None = None) -> None:
    """Raises QtuneError, before anything is written, where no training can start here or under this name."""
    if name is not None:
        valid_name(name, "run")
    process.find_program(CLI)


def launch(
    prepared: Prepared,
    *,
    name: str | None = None,
    begin: Callable[[Run], None],
    show: Callable[[bytes], None],
) -> Run:
    """Train what was written: claim a run, record it, run the child to its end, and record how that was.

    name: of the run, where it is not the config's; one in use gets the next free suffix.
    begin: called once the run is recorded, before the child starts; show: called with the child's output.
    """
    require_launcher(name)
    root, runs_directory = prepared.project.root, Path(prepared.project.runs).expanduser()
    tokens = _tokens(prepared)
    directory = record.claim(root / runs_directory, name or prepared.config.name)
    plan = into(prepared.plan, f"{prepared.project.runs}/{directory.name}")
    made = runs_directory / directory.name / "tokenized"
    if tokens is not None:
        plan = with_tokens(plan, tokens if tokenized.is_complete(root / tokens) else made.as_posix())
    predicted = prepared.steps
    run = record.start(directory, prepared.manifest, plan, predicted.total if predicted else None)
    try:
        begin(run)
        outcome = process.run(plan, prepared.project.root, run.log, show)
    except BaseException as error:
        run.end("failed", 1, str(error) or type(error).__name__)
        raise
    finally:
        if tokens is not None:
            tokenized.keep(root / made, root / tokens)
    if outcome.interrupted is not None:
        run.end("interrupted", outcome.exit_code, f"ended by {signal.Signals(outcome.interrupted).name}")
    elif outcome.exit_code != 0:
        run.end("failed", outcome.exit_code, failures.reason_of(run.log, outcome.exit_code))
    elif (logged := record.losses(directory)) and not any(logged):
        run.end("failed", outcome.exit_code, "every logged loss is exactly 0: the model trained on nothing")
    else:
        run.end("finished", outcome.exit_code, None)
    return run


def _tokens(prepared: Prepared) -> str | None:
    """Where its tokens belong, by the data and values as they are now; None where that is not qtune's."""
    if not tokenized.is_automatic(prepared.config):
        return None
    directory = tokenized.tokens_directory(prepared.config, prepared.project)
    if directory is None:
        fix = f"render it again: `qtune render {prepared.config.name}`"
        raise QtuneError("its data is no longer what tokenized_path: auto can follow", fix=fix)
    return directory
