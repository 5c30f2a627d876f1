"""Which run a name means, and whether the process that its record names is still there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from qtune.config.names import MOST_NAMED, did_you_mean, few
from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.files import read_object
from qtune.runs import shape
from qtune.runs.lock import LOCK, Holder, holder
from qtune.runs.record import RECORD, load, refuse_newer

_CLOCK_SECONDS = 2.0  # a time in a record is a whole second, and a process's one of the system's ticks


def directory_of(project: Project, name: str) -> Path:
    """The directory of the run `name`, or of the run whose directory's path it is.

    Raises QtuneError where there is none.
    """
    directory = project.runs_directory / name
    if "/" not in name and has_record(directory):
        return directory
    path = Path(name).expanduser().resolve()
    if "/" in name and has_record(path):
        return path
    if directory.is_dir() or path.is_dir():
        raise QtuneError(
            f"has no {RECORD}, so nothing tells what was trained",
            where=shown(directory if directory.is_dir() else path),
            fix="name a run of `qtune train`",
        )
    runs = list(directories(project))
    names = [run.name for run in runs]
    if len(names) > MOST_NAMED:
        newest = [run.name for run in sorted(runs, key=_changed, reverse=True)]
        listed = f"`qtune runs` lists them; the newest: {few(newest)}"
    else:
        listed = f"the runs here: {few(sorted(names))}" if names else "train one: `qtune train`"
    raise QtuneError(f"there is no run `{name}`", fix=did_you_mean(name, names) or listed)


def _changed(directory: Path) -> float:
    """When something came into it or left it last, in seconds since 1970."""
    with suppress(OSError):
        return directory.stat().st_mtime
    return 0.0


def directories(project: Project) -> Iterator[Path]:
    """Every run's directory, also of one whose record cannot be read."""
    runs = project.runs_directory
    if runs.is_dir():
        yield from (path for path in runs.iterdir() if not path.name.startswith(".") and has_record(path))


def has_record(directory: Path) -> bool:
    """Whether it is a run's directory, be its record readable or not."""
    try:
        os.lstat(directory / RECORD)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass  # a directory that may not be looked into
    return True


def records_of(
    project: Project, left_out: Callable[[QtuneError], None]
) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Every run's directory with its record; `left_out` is called for each that cannot be read."""
    for directory in directories(project):
        try:
            yield directory, load(directory)
        except QtuneError as error:
            left_out(error)


def plain_record(directory: Path) -> Mapping[str, Any]:
    """What a run's record holds, nothing where it cannot be read; raises QtuneError for a newer qtune's."""
    record = read_object(directory / RECORD)
    refuse_newer(record, shown(directory / RECORD))
    return {} if shape.flaw(record) else record


SUBMITTED = "submitted"
"""The status of a run whose Slurm job has not begun."""


def under_way(directory: Path, record: Mapping[str, Any]) -> Holder | None:
    """Who trains this run now; None where its record says `running` and its qtune was killed, too."""
    said = None
    if record.get("status") == "running":
        said = Holder(int(record.get("pid") or 0), str(record.get("host")), begun(record))
        if said.is_here and not is_its_qtune(said, directory):
            said = None
    return holder(directory, said)


def begun(record: Mapping[str, Any]) -> str:
    """When its last attempt began; comparable as text."""
    attempts = record.get("attempts") or [record]
    return str(attempts[-1].get("started", ""))


def require_ended(directory: Path, record: Mapping[str, Any]) -> None:
    """Raises QtuneError while a run's training is under way, or waits for its job."""
    if (found := under_way(directory, record)) is not None:
        fix = f"wait for its end, or stop it: `qtune stop {directory.name}`"
        raise QtuneError(f"is still training ({found})", where=shown(directory), fix=fix)
    if record.get("status") == SUBMITTED and record.get("job_id") != os.environ.get("SLURM_JOB_ID"):
        what = f"waits to begin, as Slurm job {record.get('job_id')}"
        fix = f"`qtune watch {directory.name}` follows it, `qtune stop {directory.name}` takes it back"
        raise QtuneError(what, where=shown(directory), fix=fix)


def require_writable(directory: Path) -> None:
    """Raises QtuneError where nothing can be recorded in a run."""
    if not os.access(directory, os.W_OK | os.X_OK):
        fix = f"mend its permissions, or train anew what it recorded: `qtune replay {directory.name}`"
        raise QtuneError("may not be written to", where=shown(directory), fix=fix)


def is_its_qtune(named: Holder, directory: Path) -> bool:
    """Whether the process of this machine that is named trains the run in `directory`.

    The number may be another process's by now, and the record a copy of another run's: it has to have this
    run's lock open, or none yet and to have been there when it was named.
    """
    import psutil

    try:
        process = psutil.Process(named.pid)
        was_there = process.create_time() <= datetime.fromisoformat(named.since).timestamp() + _CLOCK_SECONDS
    except (psutil.Error, ValueError, OverflowError):
        return False
    try:
        locks = {file.path for file in process.open_files() if Path(file.path).name == LOCK}
    except psutil.Error:  # another user's
        locks = set()
    return str(directory.resolve() / LOCK) in locks if locks else was_there


def shown(path: Path) -> str:
    """A path as a message names it: from the current directory."""
    return os.path.relpath(path)
