"""What `train`, `resume` and `replay` share: they check a training, run it, and say how it ended."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import typer

from qtune.cli.data.report_view import check_rows
from qtune.cli.options import How, OomChoice
from qtune.cli.output import complain, note, pass_on, plain_finding, print_json, report
from qtune.cli.plan import doctor
from qtune.cli.presets.render import stop_on_errors
from qtune.cli.training import nodes
from qtune.cli.training.outcome import reason, tell
from qtune.cli.training.slurm import submit
from qtune.doctor import readiness
from qtune.launch.operations import in_words, missing_operations
from qtune.machine.stack import Stack, installed_stack
from qtune.prepare.pipeline import Prepared
from qtune.processes import background, signals
from qtune.runs.checkpoints import Checkpoint
from qtune.runs.ending import Ended
from qtune.runs.record import Run
from qtune.training import attempts, submitting
from qtune.training.attempts import Observer
from qtune.training.stepping import Step
from qtune.units import counted

_FORCED = "going on all the same (--force)"


def require_launcher(how: How, name: str | None = None) -> None:
    """Raises QtuneError where no training can start here, or under this name; a dry run goes anywhere."""
    if not how.dry_run:
        attempts.require_launcher(name)


def suited(prepare: Callable[[Stack | None], Prepared], how: How) -> Prepared:
    """What `prepare` makes for the packages installed here; forced past their errors, for any packages.

    Leaves with exit code 2 where there is an error.
    """
    prepared = prepare(installed_stack())
    if prepared.errors and how.force:
        anywhere = prepare(None)
        if not anywhere.errors:
            report(prepared.findings)
            note(_FORCED)
            return anywhere
    if prepared.errors and how.as_json:
        print_json({"findings": [plain_finding(finding) for finding in prepared.findings]})
    stop_on_errors(prepared)
    return prepared


def look(prepared: Prepared, how: How, *, held: int = 0) -> dict[str, int]:
    """Check the machine, then the data's rows; returns how many rows each dataset has.

    held: bytes of its checkpoints that are there already. Leaves with exit code 2 where the training can only
    fail.
    """
    lines = readiness.preflight(prepared, held)
    doctor.show(lines, numbered=False, err=True)
    if any(line.level == "failure" for line in lines):
        stop("`qtune doctor` looks closer", how)
    reports = check_rows(prepared.sources, prepared.project.root, prepared.config)
    if any(item.errors for item in reports):
        stop("`qtune data check NAME --fix OUT` writes the good rows", how)
    return {item.name: item.rows for item in reports}


def stop(what_helps: str, how: How) -> None:
    """Leave with exit code 2, unless forced to go on."""
    if not how.force:
        note(f"nothing was started; {what_helps}, `--force` trains all the same")
        raise typer.Exit(2)
    note(_FORCED)


def tell_only(prepared: Prepared, how: How, *, in_job: Sequence[str] = (), **more: Any) -> None:
    """Print what the training would write and start; more: as `dry_run_view.tell` takes it."""
    from qtune.cli.training import dry_run_view  # and with it what estimates memory

    dry_run_view.tell(prepared, partial(how.in_job, words=in_job), as_json=how.as_json, **more)


def begin(
    prepared: Prepared, how: How, rows: Mapping[str, int], *, name: str | None, overwrite: bool = False
) -> None:
    """Train in a new run. rows: how many each dataset has, for the record."""
    command = ("qtune", *sys.argv[1:])
    if submitting.is_submission(prepared):
        submitting.require_accepted(prepared)
    run, prepared = attempts.claim(prepared, name=name, overwrite=overwrite, command=command, rows=rows)
    carry_out(run, prepared, how, partial(announce, run, prepared))


def carry_out(
    run: Run,
    prepared: Prepared,
    how: How,
    announcing: Callable[[], None],
    *,
    checkpoint: Checkpoint | None = None,
    changes: Mapping[str, Any] | None = None,
    in_job: Sequence[str] = (),
) -> None:
    """Train to the end, showing all output, and say how it ended; detached, leave with exit code 0.

    in_job: what to call qtune with in a Slurm job, where that has to give it nodes; else to carry it out.
    """
    if submitting.is_submission(prepared):
        submit(run, prepared, how.in_job(run.name, in_job))
    confirm_start = background.fork(run.log) if how.detach else None
    if how.detach and confirm_start is None:
        note("training in the background")
        note(f"`qtune watch {run.name}` follows it, `qtune stop {run.name}` stops it")
        typer.echo(str(run.directory))
        raise typer.Exit

    def begin(run: Run, kept: bool) -> None:
        announcing()
        if not kept:
            note("the file system of the run keeps no locks: nothing keeps another qtune from this run")
        if confirm_start is not None:
            confirm_start()

    # in the background the log is the terminal
    show = pass_on if confirm_start is None else lambda output: None
    observer = Observer(begin, show, _stopping, partial(steps_down, how.on_oom))
    tell(attempts.carry_out(run, prepared, observer, checkpoint=checkpoint, changes=changes))


def steps_down(on_oom: OomChoice | None, ended: Ended, step: Step) -> bool:
    """Whether to go on with `step` after memory ran out.

    Without --on-oom it asks at a terminal; elsewhere the answer is no.
    """
    if on_oom == "stop":
        return False
    if on_oom is None and not (sys.stdin.isatty() and sys.stderr.isatty()):
        note(f"--on-oom step-down would go on with {step.text}")
        return False
    complain(f"out of memory: {reason(ended.reason, ended.failure)}")
    if on_oom is None:
        try:
            with signals.asking():
                return typer.confirm(f"go on with {step.text}?", default=True, err=True)
        except (typer.Abort, KeyboardInterrupt):
            return False
    note(f"going on with {step.text}")
    return True


def announce(run: Run, prepared: Prepared) -> None:
    note(f"training {prepared.config.name} for {prepared.hardware} into {run.directory}")
    steps = prepared.steps
    if steps is not None:
        rows = counted(steps.effective_batch, "row")
        note(f"{counted(steps.total, 'step')} of {rows} (batch x processes x accumulation)")
    nodes.tell_who_is_awaited(run, prepared.config)
    missing = in_words(missing_operations(prepared.config, prepared.hardware))
    if missing:
        note(f"DeepSpeed compiles {' and '.join(missing)} first: a few minutes without output, this once")


def _stopping(number: int) -> None:
    name = signal.Signals(number).name
    note(f"{name}: stopping at the next step, with a checkpoint; Ctrl-C again ends it now, without")
