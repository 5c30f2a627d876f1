"""Slurm: submitting a job, what became of it, and the nodes of the one that this process runs in."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from qtune.errors import QtuneError
from qtune.processes import process
from qtune.values import LaunchPlan

_SECONDS = 60.0
_INSTALL = "run it where Slurm's commands are, or choose another launcher with --launcher"
_REFUSED = "correct launch.slurm, whose keys are sbatch's own options"
_UNKNOWN = "Invalid job id"


def job_id() -> str | None:
    """The id of the Slurm job that this process runs in, None outside of one."""
    return os.environ.get("SLURM_JOB_ID")


def on_nodes(plan: LaunchPlan, nnodes: int) -> LaunchPlan:
    """The plan with where the nodes of this job meet: its first one, at a port that is free there now.

    The script of a job runs on its first node. Raises QtuneError outside a job.
    """
    if job_id() is None:
        fix = "`qtune train --launcher slurm` makes one"
        raise QtuneError("srun starts nodes inside a job only", fix=fix)
    first = _address(_ask("scontrol", "show", "hostnames").split()[0]) if nnodes > 1 else "127.0.0.1"
    with socket.socket() as taken:
        taken.bind(("", 0))
        port = str(taken.getsockname()[1])
    return replace(plan, environment={"MASTER_PORT": port, **plan.environment, "MASTER_ADDR": first})


def _address(name: str) -> str:
    """The address by which Slurm itself reaches a node, whose name others may be unable to look up."""
    told = _ask("scontrol", "--oneliner", "show", "node", name)
    return next((word[9:] for word in told.split() if word.startswith("NodeAddr=")), name)


def test(script: str, directory: Path) -> None:
    """Raises QtuneError where sbatch would refuse this script; nothing is submitted."""
    _ask("sbatch", "--test-only", given=script.encode(), directory=directory, fix=_REFUSED)


def submission(script: Path, arguments: Sequence[str], output: Path) -> tuple[str, ...]:
    """The command that submits `script` with `arguments`, as a job that is held until `release`.

    output: the file for what the script prints, where sbatch's patterns hold in the last part.
    """
    told = f"--output={str(output.parent).replace('%', '%%')}/{output.name}"
    return ("sbatch", "--parsable", "--hold", told, str(script), *arguments)


def submit(command: Sequence[str], directory: Path) -> str:
    """Run a `submission` in `directory`; the id of its job, which can be written down before it starts.

    Raises QtuneError where sbatch refuses it.
    """
    # the job inherits it, and finds qtune there
    path = f"{process.find_program('qtune').parent}{os.pathsep}{os.environ.get('PATH', '')}"
    told = _ask(*command, directory=directory, also={"PATH": path}, fix=_REFUSED)
    return told.strip().partition(";")[0]  # a cluster's name may follow


def release(job: str) -> None:
    """Let a submitted job start when Slurm finds room for it."""
    _ask("scontrol", "release", job)


def state(job: str) -> str | None:
    """A job's state and why it is in it, as `PENDING (Resources)`; None where it has left the queue."""
    try:
        told = _ask("squeue", "--noheader", f"--job={job}", "--format=%T %r").strip()
    except QtuneError as error:
        if _UNKNOWN in error.what:
            return None
        raise
    word, _, reason = told.partition(" ")
    return word + (f" ({reason})" if reason not in ("", "None") else "") if word else None


def output_of(job: str) -> Path | None:
    """The file that a job prints to; None where it has left the queue."""
    try:
        told = _ask("scontrol", "show", "job", job)
    except QtuneError as error:
        if _UNKNOWN in error.what:
            return None
        raise
    lines = (line.strip() for line in told.splitlines())
    return next((Path(line[7:]) for line in lines if line.startswith("StdOut=")), None)


def cancel_waiting(job: str) -> None:
    """Cancel a job that has not started; one that has is left alone."""
    _ask("scancel", "--state=PENDING", job)


def tell(job: str, number: int) -> None:
    """Send a signal to a running job's script, which is qtune."""
    _ask("scancel", "--batch", f"--signal={number}", job)


def _ask(
    name: str,
    *arguments: str,
    given: bytes = b"",
    directory: Path | None = None,
    also: Mapping[str, str] | None = None,
    fix: str = "see whether Slurm answers: `sinfo`",
) -> str:
    """What one of Slurm's programs answers. Raises QtuneError with its own words where it fails."""
    program = process.find_program(name, _INSTALL)
    environment = {**os.environ, **(also or {})}
    answer = process.ask(
        [program, *arguments], environment, given=given, directory=directory, seconds=_SECONDS
    )
    if answer.exit_code != 0:
        said = " ".join(answer.error.decode(errors="replace").split()) or f"no answer in {_SECONDS:g} s"
        raise QtuneError(f"{name}: {said.removeprefix(f'{name}: error: ')}", fix=fix)
    return answer.out.decode(errors="replace")
