"""Slurm: submitting a job, what became of it, and the nodes of the one that this process runs in."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from qtune.errors import QtuneError
from qtune.launch import process
from qtune.values import LaunchPlan

_SECONDS = 60.0
_INSTALL = "run it where Slurm's commands are, or choose another launcher with --launcher"


def in_job() -> bool:
    """Whether this process runs inside a Slurm job."""
    return "SLURM_JOB_ID" in os.environ


def job_id() -> str | None:
    """Of the job that this process runs in."""
    return os.environ.get("SLURM_JOB_ID")


def on_nodes(plan: LaunchPlan, nnodes: int) -> LaunchPlan:
    """The plan with where the nodes of this job meet: its first one, at a port that is free there now.

    The script of a job runs on its first node. Raises QtuneError outside a job.
    """
    if not in_job():
        fix = "`qtune train --launcher slurm` makes one"
        raise QtuneError("srun starts nodes inside a job only", fix=fix)
    first = _ask("scontrol", "show", "hostnames").split()[0] if nnodes > 1 else "127.0.0.1"
    with socket.socket() as taken:
        taken.bind(("", 0))
        port = str(taken.getsockname()[1])
    return replace(plan, environment={"MASTER_PORT": port, **plan.environment, "MASTER_ADDR": first})


def require() -> None:
    """Raises QtuneError where Slurm's commands are not installed."""
    for program in ("sbatch", "srun", "scontrol"):
        process.find_program(program, _INSTALL)


def submit(script: Path, arguments: Sequence[str], *, output: Path | None, directory: Path) -> str:
    """Submit `script` with `arguments`, to run in `directory`; the job's id.

    The job is held until `release`, so that its id can be written down before it starts. output: the file
    for what the script prints, None where its own options name one.
    Raises QtuneError where sbatch refuses it.
    """
    to = [f"--output={str(output).replace('%', '%%')}"] if output is not None else []
    beside = Path(process.find_program("qtune").parent)
    path = f"{beside}{os.pathsep}{os.environ.get('PATH', '')}"  # which the job inherits
    told = _ask(
        "sbatch",
        "--parsable",
        "--hold",
        *to,
        str(script),
        *arguments,
        directory=directory,
        also={"PATH": path},
    )
    return told.strip().partition(";")[0]


def release(job: str) -> None:
    """Let a submitted job start when Slurm finds room for it."""
    _ask("scontrol", "release", job)


def state(job: str) -> str | None:
    """A job's state and why it is in it, as `PENDING (Resources)`; None where Slurm knows it no longer."""
    answer = process.ask(
        [process.find_program("squeue", _INSTALL), "--noheader", f"--job={job}", "--format=%T %r"],
        os.environ,
        seconds=_SECONDS,
    )
    word, _, reason = answer.out.decode(errors="replace").strip().partition(" ")
    if answer.exit_code != 0 or not word:
        return None
    return word if reason in ("", "None") else f"{word} ({reason})"


def cancel_waiting(job: str) -> None:
    """Cancel a job that has not started; one that has is left alone."""
    _ask("scancel", "--state=PENDING", job)


def warn(job: str) -> None:
    """Send a running job's script the signal that comes before its time limit."""
    _ask("scancel", "--batch", "--signal=TERM", job)


def _ask(
    name: str, *arguments: str, directory: Path | None = None, also: Mapping[str, str] | None = None
) -> str:
    """What one of Slurm's programs answers. Raises QtuneError with its own words where it fails."""
    program = process.find_program(name, _INSTALL)
    environment = {**os.environ, **(also or {})}
    answer = process.ask([program, *arguments], environment, directory=directory, seconds=_SECONDS)
    if answer.exit_code != 0:
        said = " ".join(answer.error.decode(errors="replace").split()) or "no answer"
        raise QtuneError(
            f"{name}: {said.removeprefix(f'{name}: error: ')}", fix=_FIXES.get(name, "ask Slurm again")
        )
    return answer.out.decode(errors="replace")


_FIXES = {"sbatch": "correct launch.slurm, whose keys are sbatch's own options"}
