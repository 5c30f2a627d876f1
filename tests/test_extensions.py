"""Locks of torch's compiles: a left-over one holds up nobody, a living one is waited for and stays."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from trees import REPOSITORY

from qtune.config.project import find_project
from qtune.doctor import build_tools
from qtune.doctor.build_tools import Tools
from qtune.launch import extensions
from qtune.launch.plan import CLI
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.processes import process
from qtune.processes.process import Outcome
from qtune.training import operations
from qtune.values import LaunchPlan

OPERATION = "deepspeed_shm_comm"
COMPILE = REPOSITORY / "adapter" / "qtune" / "children" / "compile.py"
# As torch's FileBaton holds its lock.
HOLDER = "import os, sys; os.open(sys.argv[1], os.O_CREAT); print(1, flush=True); sys.stdin.read()"
# DeepSpeed's builders, one of which writes the operation and one of which never ends.
DEEPSPEED = """
import os, pathlib, time
class Builder:
    def __init__(self, name): self.name = name
    def load(self):
        directory = pathlib.Path(os.environ["TORCH_EXTENSIONS_DIR"], "deepspeed_shm_comm")
        directory.mkdir(exist_ok=True)
        held = os.open(directory / "lock", os.O_CREAT | os.O_EXCL)
        while os.environ.get("NEVER_ENDS"):
            time.sleep(0.01)
        (directory / f"deepspeed_shm_comm.so").write_text(self.name)
        (directory / "lock").unlink()
class Accelerator:
    def create_op_builder(self, name): return Builder(name)
def get_accelerator(): return Accelerator()
"""


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A left-over lock of torch's."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))
    left = tmp_path / "extensions" / "py311_cpu" / OPERATION / "lock"
    left.parent.mkdir(parents=True)
    left.touch()
    return left


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory is one that other computers share."""
    monkeypatch.setattr(extensions, "_is_local", lambda path: False)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not, whatever these tests run in."""
    monkeypatch.setattr(extensions, "_is_local", lambda path: True)


@contextmanager
def running(*argv: str | Path, directory: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has begun, until the block ends."""
    with subprocess.Popen(argv, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline()
        yield child
        child.kill()


def holding(lock: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return running(sys.executable, "-c", HOLDER, lock)


def test_a_left_over_lock_is_removed_and_said(lock: Path) -> None:
    said: list[str] = []
    assert extensions.left_over() == [lock]
    assert operations.clear(said.append, [OPERATION]) is None
    assert not lock.exists() and said == [f"removed the lock of a compile that is no more: {lock}"]


def test_a_living_compile_keeps_its_lock_and_is_named(lock: Path) -> None:
    with holding(lock) as child:
        removed, holder = extensions.clear([OPERATION], made_since=0)
        assert extensions.left_over() == removed == [] and lock.exists()
        assert holder is not None and holder.startswith(f"process {child.pid} (")
        assert extensions.clear().holder is None  # of nobody who needs it
    assert extensions.clear([OPERATION]) == ([lock], None)


@pytest.mark.parametrize(("name", "compiles"), [("ninja", True), ("shell", False)])
def test_a_compiler_that_outlived_who_started_it_keeps_the_lock(
    tmp_path: Path, lock: Path, name: str, compiles: bool
) -> None:
    """Not so who only looks around there."""
    program = tmp_path / name
    program.write_text("#!/bin/sh\necho works\nread line\n")
    program.chmod(0o755)
    with running(program, directory=lock.parent) as child:
        holder = extensions.clear([OPERATION]).holder
        assert lock.exists() == compiles
        assert (holder is not None and holder.startswith(f"process {child.pid} ({name})")) == compiles


def test_a_lock_that_another_computer_may_hold_stays_while_something_changes(
    lock: Path, elsewhere: None
) -> None:
    removed, holder = extensions.clear([OPERATION])
    assert removed == [] and holder is not None and str(lock) in holder
    long_ago = time.time() - 3600
    for path in (lock, lock.parent):
        os.utime(path, (long_ago, long_ago))
    assert extensions.clear([OPERATION]) == ([lock], None)


def test_a_lock_made_by_a_child_that_has_ended_is_removed_at_once(lock: Path, elsewhere: None) -> None:
    made = lock.stat().st_mtime
    assert extensions.clear(made_since=made + 1).removed == []
    assert extensions.clear(made_since=made).removed == [lock]


def test_where_a_compile_of_qtune_was_killed_its_lock_is_known(lock: Path, elsewhere: None) -> None:
    own = lock.parents[2] / extensions.LOCK
    own.write_text("process 1 of qtune on here, since now")
    made = own.stat().st_mtime
    os.utime(lock, (made, made))
    with own.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert extensions.clear([OPERATION]) == ([], own.read_text())
        assert extensions.clear(made_since=made) == ([], None)
    assert extensions.clear([OPERATION]) == ([lock], None)
    assert own.read_text() == ""


def test_a_lock_that_is_certainly_left_over_does_not_hold_up_a_compile_under_way(lock: Path) -> None:
    with (lock.parents[2] / extensions.LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert extensions.clear([OPERATION]) == ([lock], "another qtune")


@pytest.mark.usefixtures("lock")
def test_doctor_names_left_over_locks() -> None:
    [line] = build_tools.left_over_lines(Tools(left_over=extensions.left_over()))
    assert line.level == "warning" and line.fix is not None
    assert line.fix.startswith(f"rm {extensions.torch_locks()[0]};")
    assert build_tools.left_over_lines(Tools()) == []


@pytest.fixture
def make_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome | None]:
    """Makes ready a training that needs the operation, with a small library in DeepSpeed's place."""
    library = tmp_path / "library" / "deepspeed"
    library.mkdir(parents=True)
    (library / "__init__.py").touch()
    (library / "accelerator.py").write_text(DEEPSPEED)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))
    monkeypatch.setenv("PYTHONPATH", str(library.parent))
    launcher, find_program = tmp_path / CLI, process.find_program
    launcher.write_text(f"#!{sys.executable}\n")
    monkeypatch.setattr(process, "find_program", lambda name: launcher if name == CLI else find_program(name))
    hardware = Hardware()
    config = pipeline.resolve("deepspeed", find_project(Path("/")), hardware)

    def start(plan: LaunchPlan) -> Outcome:
        return process.run(plan, tmp_path, tmp_path / "train.log", lambda output: None)

    def make_ready(say: Callable[[str], None]) -> Outcome | None:
        return operations.make_ready(config, hardware, LaunchPlan((), {}), start, say)

    return make_ready


def test_what_is_missing_is_compiled_ahead_once(
    tmp_path: Path, make_ready: Callable[..., Outcome | None]
) -> None:
    built = tmp_path / "extensions" / OPERATION / f"{OPERATION}.so"
    assert make_ready(pytest.fail) is None
    assert built.read_text() == "ShareMemCommBuilder"
    assert (tmp_path / "extensions" / extensions.LOCK).read_text() == ""
    built.write_text("as it was compiled")
    assert make_ready(pytest.fail) is None
    assert built.read_text() == "as it was compiled"


def test_a_compile_whose_processes_are_all_killed_is_made_anew(
    tmp_path: Path, make_ready: Callable[..., Outcome | None]
) -> None:
    own, lock = tmp_path / "extensions" / extensions.LOCK, tmp_path / "extensions" / OPERATION / "lock"
    environment = {**os.environ, "NEVER_ENDS": "1"}
    with subprocess.Popen([sys.executable, COMPILE, own, OPERATION], env=environment) as compiling:
        wait_until(lock.exists)
        holder = extensions.clear([OPERATION]).holder
        assert holder is not None and holder.startswith(f"process {compiling.pid} of qtune on ")
        compiling.kill()
    said: list[str] = []
    assert lock.exists() and make_ready(said.append) is None
    assert said == [f"removed the lock of a compile that is no more: {lock}"]
    assert lock.with_name(f"{OPERATION}.so").exists() and not lock.exists()


def test_another_compile_is_waited_for_with_one_line_and_a_signal_ends_the_wait(
    lock: Path, make_ready: Callable[..., Outcome | None]
) -> None:
    said: list[str] = []
    number = signal.SIGTERM

    def say(words: str) -> None:
        said.append(words)
        os.kill(os.getpid(), number)

    with holding(lock) as child:
        assert make_ready(say) == Outcome(-number, number)
    assert len(said) == 1 and said[0].startswith(f"waiting for another compile: process {child.pid} (")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
