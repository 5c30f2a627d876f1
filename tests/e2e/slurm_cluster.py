"""A private Slurm of two nodes on this machine, in one directory, for as long as the test needs it."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
_READY_SECONDS = 60


def missing() -> str | None:
    """Why no Slurm can run here, None where one can."""
    os.environ["PATH"] += f"{os.pathsep}/usr/sbin"  # where Debian puts the daemons
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"{', '.join(absent)} not installed: `make test-slurm` installs Slurm"
    return None if os.geteuid() == 0 else "Slurm's daemons need root here"


@contextmanager
def running(directory: Path) -> Iterator[dict[str, str]]:
    """The environment that Slurm's commands need, while its daemons run."""
    for name in ("state", "n0", "n1"):
        (directory / name).mkdir(parents=True)
    key = directory / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    first, second, controller = _ports()
    host = platform.node().partition(".")[0]
    (directory / "slurm.conf").write_text(
        f"""\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
AuthInfo=socket={directory}/munge.socket
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd-%n.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
MpiDefault=none
ReturnToService=2
NodeName=n[0-1] NodeHostName={host} NodeAddr=127.0.0.1 Port={first}-{second} CPUs=1
PartitionName=main Nodes=ALL Default=YES State=UP
""",
        encoding="utf-8",
    )
    environment = {"SLURM_CONF": str(directory / "slurm.conf")}
    munge = [f"--{name}={directory}/munge.{name}" for name in ("socket", "pid-file", "log-file", "seed-file")]
    daemons = [
        ["munged", "--foreground", "--force", f"--key-file={key}", *munge],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D", "-N", "n0"],
        ["slurmd", "-D", "-N", "n1"],
    ]
    started = []
    try:
        for number, daemon in enumerate(daemons):
            with (directory / f"daemon-{number}.log").open("wb") as log:
                started.append(
                    subprocess.Popen(
                        daemon,
                        env={**os.environ, **environment},
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
            if daemon[0] == "munged":
                _wait_for(lambda: (directory / "munge.socket").exists())
        _wait_for(lambda: _idle(environment) == 2)
        yield environment
        # a job that is just ending would leave a process that waits for its daemons
        subprocess.run(["scancel", "--me"], env={**os.environ, **environment}, check=True)
        _wait_for(lambda: _idle(environment) == 2)
    finally:
        for daemon in reversed(started):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _idle(environment: dict[str, str]) -> int:
    answer = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--states=idle"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    return len(answer.stdout.splitlines())


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            sys.exit("Slurm's daemons do not start")
        time.sleep(0.1)


def _ports() -> tuple[int, int, int]:
    """Two that follow each other, and another, all free now."""
    while True:
        with socket.socket() as one, socket.socket() as two, socket.socket() as three:
            one.bind(("127.0.0.1", 0))
            first = one.getsockname()[1]
            three.bind(("127.0.0.1", 0))
            try:
                two.bind(("127.0.0.1", first + 1))
            except OSError:
                continue
            return first, first + 1, three.getsockname()[1]
