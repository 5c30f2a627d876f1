"""One writer for each run: held, refused with who holds it, and free once that one is dead."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qtune.errors import QtuneError
from qtune.processes import marks
from qtune.runs import lock
from qtune.runs.find import under_way
from qtune.runs.lock import Holder

HOLD = """
import sys
from pathlib import Path
from qtune.runs import lock
with lock.held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def other(directory: Path) -> subprocess.Popen[bytes]:
    """Another process that holds the run until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    return process


def test_a_second_one_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with other(tmp_path) as process:
        holder = lock.holder(tmp_path)
        assert holder is not None and holder.is_here and holder[:2] == (process.pid, platform.node())
        with pytest.raises(QtuneError) as refused, lock.held(tmp_path):
            pass
        assert f"process {process.pid} on {platform.node()}, since {holder.since}" in str(refused.value)
        assert process.stdin is not None
        process.stdin.close()
    assert lock.holder(tmp_path) is None
    with lock.held(tmp_path) as kept:
        assert kept


def test_it_dies_with_who_holds_it(tmp_path: Path) -> None:
    with other(tmp_path) as process:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()
    assert lock.holder(tmp_path) is None
    with lock.held(tmp_path):
        assert lock.holder(tmp_path) == Holder(os.getpid(), platform.node(), lock.holder(tmp_path).since)  # type: ignore[union-attr]


def test_a_child_that_is_started_does_not_keep_it(tmp_path: Path) -> None:
    with lock.held(tmp_path):
        child = subprocess.Popen(["sleep", "600"], close_fds=False)
    try:
        assert lock.holder(tmp_path) is None
    finally:
        child.kill()
        child.wait()


RUNNING = {"status": "running", "started": datetime.now(UTC).isoformat(timespec="seconds")}


def test_the_lock_tells_who_trains_and_the_record_where_there_is_none(tmp_path: Path) -> None:
    here = {**RUNNING, "host": platform.node(), "pid": os.getpid()}
    elsewhere = {**RUNNING, "host": "elsewhere", "pid": 7}
    assert under_way(tmp_path, here) == Holder(os.getpid(), platform.node(), RUNNING["started"])
    assert under_way(tmp_path, elsewhere) == Holder(7, "elsewhere", RUNNING["started"])
    assert under_way(tmp_path, {**here, "pid": 2**22 + 1}) is None
    earlier = {**here, "started": "2026-01-01T00:00:00+00:00"}
    assert under_way(tmp_path, earlier) is None  # its number is a younger process's by now
    assert under_way(tmp_path, {**here, "status": "finished"}) is None
    with lock.held(tmp_path):
        pass
    assert under_way(tmp_path, here) is None  # its number is another process's by now
    assert under_way(tmp_path, elsewhere) is None
    with lock.held(tmp_path):
        assert under_way(tmp_path, {"status": "stopped"}) is not None


def test_a_copied_run_is_not_the_one_that_is_trained(tmp_path: Path) -> None:
    first, copy = tmp_path / "first", tmp_path / "copy"
    first.mkdir()
    copy.mkdir()
    with lock.held(first):
        here = {**RUNNING, "host": platform.node(), "pid": os.getpid()}
        assert under_way(first, here) is not None
        assert under_way(copy, here) is None


def test_a_training_that_outlived_its_qtune_is_named_and_keeps_another_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_ENDING_SECONDS", 0.0)
    with lock.held(tmp_path):
        pass  # makes the file
    guarded = {marks.RUN: str(tmp_path), "PYTHONPATH": marks.guarded({})["PYTHONPATH"]}
    wait = "import sys; print('there', flush=True); sys.stdin.read()"
    for known in (True, False):  # by its environment, and by the lock alone, as from another computer
        with subprocess.Popen(
            [sys.executable, "-c", wait],
            env={**os.environ, **guarded},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as trainer:
            assert trainer.stdout is not None and trainer.stdout.readline() == b"there\n"
            if not known:
                monkeypatch.setattr(marks, "of_run", lambda directory: [])
            with pytest.raises(QtuneError) as refused, lock.held(tmp_path):
                pass
            assert trainer.stdin is not None
            trainer.stdin.close()
        named = f"process {trainer.pid} (python" if known else "on another computer"
        assert f"still has a training whose qtune is gone: {named}" in str(refused.value)
    with lock.held(tmp_path) as kept:
        assert kept


def test_a_file_system_without_locks_is_told_and_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with lock.held(tmp_path) as kept:
        assert not kept
        assert under_way(tmp_path, {**RUNNING, "host": "elsewhere", "pid": 7}) is not None
