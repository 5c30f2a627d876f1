"""Every Python process of a training runs this as it starts: it ends with its supervisor, and holds its run.

The node supervisor (`qtune.processes.node`) puts this directory first on PYTHONPATH. Whichever Python it is,
it needs the standard library alone. A `sitecustomize` that would have been loaded without it still is.
"""

import fcntl
import os
import signal
import sys
import threading
import time
from pathlib import Path

SUPERVISOR, RUN = "QTUNE_SUPERVISOR", "QTUNE_RUN"
_LOCK = "trainers.lock"
LOOK_SECONDS = 0.5
_HERE = Path(__file__).resolve().parent


def hold(directory: str) -> None:
    """Keep the run's lock, together with the others of its training, until this process is gone."""
    try:
        descriptor = os.open(Path(directory) / _LOCK, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # none is kept there
        pass


def end_with(supervisor: str) -> None:
    """Watch the process that `supervisor` names, by its number and when it started (/proc/PID/stat).

    It is looked at again and again: kernels before 5.3 tell of no other process's end. One that is over may
    still be listed.
    """
    number, _, started = supervisor.partition(" ")
    if not started:  # no /proc tells
        return
    if not is_there(number, started):
        end_all(supervisor)

    def watch() -> None:
        while is_there(number, started):
            time.sleep(LOOK_SECONDS)
        end_all(supervisor)

    threading.Thread(target=watch, name="qtune-guard", daemon=True).start()


def end_all(supervisor: str) -> None:
    """Kill what the supervisor started, programs that are no Python among it, and this process at last."""
    carried, own = f"{SUPERVISOR}={supervisor}".encode(), os.getpid()
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if carried in (directory / "environ").read_bytes().split(b"\0") and int(directory.name) != own:
                os.kill(int(directory.name), signal.SIGKILL)
        except OSError:  # another's, or gone
            continue
    os.kill(os.getpid(), signal.SIGKILL)


def is_there(number: str, started: str) -> bool:
    """Whether a process is neither gone nor over, and is the one that started then, in clock ticks."""
    try:
        state, *fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:  # such as too many open files
        return True
    return state not in ("Z", "X") and fields[18] == started


def give_way() -> None:
    """Load the `sitecustomize` that stands behind this one."""
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != _HERE]
    own = sys.modules.pop(__name__)
    try:
        __import__(__name__)
    except ModuleNotFoundError:
        pass
    finally:
        sys.modules.setdefault(__name__, own)


if __name__ == "sitecustomize":
    if os.environ.get(RUN):
        hold(os.environ[RUN])
    if os.environ.get(SUPERVISOR):
        end_with(os.environ[SUPERVISOR])
    give_way()
