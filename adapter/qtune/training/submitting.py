"""Handing a run to Slurm: a job that carries it out, and what became of one that waits."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from qtune.errors import QtuneError
from qtune.launch import slurm
from qtune.prepare.pipeline import Prepared, write_files
from qtune.runs import record
from qtune.runs.find import SUBMITTED, require_writable, shown
from qtune.runs.record import Run
from qtune.values import JOB

OUTPUT = "slurm-%j.out"
"""The file in the run's directory that the job prints to, which tells why it could not begin."""


class Standing(Enum):
    """Where a submitted run stands: its job waits, it has begun, or its job is gone without that."""

    WAITS = "waits"
    BEGAN = "began"
    LOST = "lost"


def is_submission(prepared: Prepared) -> bool:
    """Whether it trains in a Slurm job, and this process is in none."""
    return prepared.config.launcher == "slurm" and slurm.job_id() is None


def require_accepted(prepared: Prepared) -> None:
    """Raises QtuneError where sbatch would refuse the job; nothing is submitted."""
    slurm.test(next(file.text for file in prepared.files if file.name == JOB), prepared.project.root)


def submission(prepared: Prepared, directory: Path, arguments: Sequence[str]) -> tuple[str, ...]:
    """The command that submits a job which calls qtune with `arguments` for the run in `directory`."""
    return slurm.submission(
        prepared.project.root / prepared.rendered / JOB, arguments, output=directory / OUTPUT
    )


def submit(run: Run, prepared: Prepared, arguments: Sequence[str]) -> str:
    """Submit a job that calls qtune with `arguments` for this run, and record it; the job's id.

    Raises QtuneError where sbatch refuses it.
    """
    write_files(prepared)
    job = slurm.submit(submission(prepared, run.directory, arguments), prepared.project.root)
    run.update(status=SUBMITTED, job_id=job, pid=None, host=None, ended=None, exit_code=None, reason=None)
    slurm.release(job)
    return job


def standing(run: Run) -> tuple[Standing, str]:
    """Where a submitted run stands, with its job's state; its record is read again.

    One whose job is gone without having begun failed, and is recorded so.
    """
    job = run.record["job_id"]
    state = slurm.state(job)
    run.record = record.read(run.directory).record  # after the question: the job may have begun since
    if run.record["status"] != SUBMITTED:
        return Standing.BEGAN, state or ""
    if state is not None:
        return Standing.WAITS, state
    said = Path(OUTPUT.replace("%j", job)).name
    run.end("failed", 1, f"Slurm job {job} ended before the training began; {said} there tells why")
    return Standing.LOST, ""


def require_own(run: Run) -> None:
    """Raises QtuneError where the recorded job prints to another place than this run: it is a stranger's.

    The record may be a copy, and a cluster numbers its jobs anew one day.
    """
    output = slurm.output_of(run.record["job_id"])
    if output is not None and output.parent.resolve() != run.directory.resolve():
        raise QtuneError(
            f"Slurm job {run.record['job_id']} is not this run's: it prints to {output}",
            where=shown(run.directory),
            fix="stop it where it was submitted",
        )


def take_back(run: Run) -> bool:
    """Cancel the job of a submitted run and record that; False where it has begun meanwhile.

    Raises QtuneError as `require_own` does, and where it cannot be recorded.
    """
    require_own(run)
    require_writable(run.directory)
    slurm.cancel_waiting(run.record["job_id"])
    found, _ = standing(run)
    if found is Standing.BEGAN:
        return False
    run.end("stopped", 0, "taken back before its job began")
    return True
