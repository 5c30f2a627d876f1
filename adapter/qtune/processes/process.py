"""The only place that starts a process: run a plan, or ask a program, and leave nothing of it behind."""

from __future__ import annotations

import os
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from qtune.errors import QtuneError
from qtune.processes import marks, node
from qtune.processes.signals import END, collected
from qtune.values import LaunchPlan

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 10.0  # a server's, for its last answers


@dataclass(frozen=True)
class Outcome:
    """How a child ended: its exit code (minus the signal's number where one killed it), and by whose will.

    interrupted: the signal that qtune got and passed on; reason: why qtune ended it, or what ended its
    supervisor; both None where the child ended by itself.
    """

    exit_code: int
    interrupted: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Output:
    """What a program printed, and its exit code; None where it was ended for taking too long, with what it
    had printed until then."""

    exit_code: int | None
    out: bytes
    error: bytes


UNBUFFERED = {"PYTHONUNBUFFERED": "1"}
"""For every child of `run`, so that its words come when it says them."""
_TRAINING_STACK = "install the training stack: pip install 'qtune[train]' (rendering works without it)"


def find_program(name: str, fix: str = _TRAINING_STACK) -> Path:
    """`name` beside the running Python, else on PATH.

    Raises QtuneError with `fix` where there is none.
    """
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=str(beside)) or shutil.which(name)
    if found is None:
        raise QtuneError(f"`{name}` is not installed here", fix=fix)
    return Path(found)


def find_python() -> Path:
    """The Python that LLaMA-Factory is installed for.

    Raises QtuneError where it is not installed.
    """
    beside = find_program("llamafactory-cli").with_name("python3")
    return beside if beside.exists() else Path(sys.executable)


def likely_python() -> Path:
    """The same, and where LLaMA-Factory is not installed the one that it would be installed for: this one."""
    try:
        return find_python()
    except QtuneError:
        return Path(sys.executable)


def ask(
    argv: Sequence[str | Path],
    environment: Mapping[str, str],
    *,
    given: bytes = b"",
    directory: Path | None = None,
    seconds: float | None = None,
    largest_file: int | None = None,
) -> Output:
    """Run a program that asks nobody anything to its end, with `given` as its input.

    environment: all of it; directory: where it runs, if not here; seconds: after which it is ended;
    largest_file: bytes, of any file it may write.
    Its descendants end with it where it takes too long, or qtune is interrupted.
    """

    def bound() -> None:
        if largest_file is None:
            return
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that it says "File too large" itself

    with subprocess.Popen(
        argv,
        cwd=directory,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # away from the terminal, at which it could wait for an answer
        preexec_fn=bound,
    ) as child:
        try:
            out, error = child.communicate(given, timeout=seconds)
            return Output(child.returncode, out, error)
        except BaseException as ended:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            if isinstance(ended, subprocess.TimeoutExpired):
                return Output(None, ended.output or b"", ended.stderr or b"")
            raise


def run(
    plan: LaunchPlan,
    directory: Path,
    log: Path,
    show: Callable[[bytes], None],
    *,
    run_directory: Path | None = None,
    watch: Callable[[], str | None] = lambda: None,
    stopping: Callable[[int], None] = lambda number: None,
) -> Outcome:
    """Run `plan` in `directory` to its end, its output going to `log` and to `show` as it comes.

    SIGINT, SIGTERM and SIGHUP ask a training to stop cleanly, with a checkpoint, and end any other child; a
    second SIGINT or SIGTERM ends a training too, and so do SIGQUIT and any exception here. No descendant is
    left, also where this process is killed, or the supervisor below it (`qtune.processes.node`) is, or both.
    run_directory: of the run that its processes hold as long as they live (`qtune.runs.lock`).
    watch: called ten times a second; a reason that it returns ends the child. stopping: called with the
    signal that asked for a clean stop.
    """
    program = find_program(plan.argv[0])
    command, beside = [str(program), *plan.argv[1:]], program.parent
    if plan.has_supervisors:
        beside = find_program("llamafactory-cli").parent  # which srun, for one, is not
    else:
        command = [sys.executable, "-P", "-m", node.__name__, *command]
    mark = uuid.uuid4().hex
    environment = {
        **os.environ,
        **plan.environment,
        # the launcher finds torchrun by name, and DeepSpeed finds ninja so
        "PATH": f"{beside}{os.pathsep}{os.environ.get('PATH', '')}",
        **UNBUFFERED,
        marks.MARK: mark,
        **({} if run_directory is None else {marks.RUN: str(run_directory.resolve())}),
    }
    reason = None
    with log.open("ab") as output, log.open("rb") as shown, collected() as received:
        shown.seek(0, os.SEEK_END)  # a child before this one may have written to it
        supervisor = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the terminal's Ctrl-C reaches qtune alone, which asks for a stop
        )
        assert supervisor.stdin is not None
        handled = 0
        try:
            while _running(supervisor):
                _copy(shown, show)
                for number in received[handled:]:
                    if handled == 0:
                        stopping(number)
                    if number == END:
                        _say(supervisor.stdin, node.END)
                    elif handled == 0 or number != signal.SIGHUP:  # a terminal that closes is no second press
                        _say(supervisor.stdin, node.STOP)
                    handled += 1
                if reason is None and (reason := watch()) is not None:
                    _say(supervisor.stdin, node.END)
            _copy(shown, show)
        finally:
            with suppress(OSError):
                supervisor.stdin.close()  # at which it ends everything
            marks.end(mark)  # what is left where it was killed itself
            supervisor.wait()
    code = supervisor.returncode
    if code < 0:
        reason = reason or f"its supervisor was ended by {signal.Signals(-code).name}"
    elif code > node.SIGNALLED and code - node.SIGNALLED < signal.NSIG:
        code = node.SIGNALLED - code
    return Outcome(code, received[0] if received else None, reason)


def _say(supervisor: IO[bytes], word: bytes) -> None:
    with suppress(OSError):  # it has just ended
        supervisor.write(word + b"\n")
        supervisor.flush()


def converse(
    argv: Sequence[str | Path],
    environment: Mapping[str, str],
    given: bytes,
    hear: Callable[[bytes], None],
    show: Callable[[bytes], None],
    *,
    directory: Path | None = None,
    seconds: float | None = None,
    watch: Callable[[], None] | None = None,
) -> Outcome:
    """Give a program its input, and `hear` its output as it comes, until it ends by itself or is ended.

    SIGINT, SIGTERM and SIGHUP end it and all its descendants, and so do any exception here and its taking
    longer than `seconds`. show: called with what it prints to stderr.
    watch: of a server, called ten times a second. A server's input stays open as long as qtune lives: its end
    tells one whose qtune was killed to go too. It has some time for its last answers.
    """
    mark = uuid.uuid4().hex
    deadline = None if seconds is None else time.monotonic() + seconds
    reason = None
    with collected() as received:
        child = subprocess.Popen(
            argv,
            cwd=directory,
            env={**environment, marks.MARK: mark},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # the terminal's Ctrl-C reaches qtune alone, which then ends everything
        )
        with child, selectors.DefaultSelector() as ready:
            assert child.stdin is not None and child.stdout is not None and child.stderr is not None
            ready.register(child.stdout, selectors.EVENT_READ, hear)
            ready.register(child.stderr, selectors.EVENT_READ, show)

            def read() -> bool:
                found = ready.select(_POLL_SECONDS)
                for key, _ in found:
                    if chunk := os.read(key.fd, 1 << 16):
                        key.data(chunk)
                    else:
                        ready.unregister(key.fileobj)
                return bool(found)

            try:
                with suppress(BrokenPipeError):
                    while given:
                        given = given[child.stdin.write(given) :]
                if watch is None:
                    child.stdin.close()
                # by its own end: what outlives it may hold its output open
                while (read() or child.poll() is None) and not received and reason is None:
                    if watch is not None:
                        watch()
                    if deadline is not None and time.monotonic() > deadline:
                        reason = f"not done after {seconds:g} seconds"
            finally:
                marks.end(mark, None if watch is None else _GRACE_SECONDS)
                while ready.get_map() and read():
                    pass
    return Outcome(child.returncode, received[0] if received else None, reason)


def attach(argv: Sequence[str | Path], environment: Mapping[str, str], directory: Path) -> Outcome:
    """Run a program at this terminal to its end, as if it had been started there.

    Ctrl-C reaches it from the terminal itself, and what it makes of that is its own affair; SIGTERM and
    SIGHUP are passed on.
    """
    with collected() as received:
        child = subprocess.Popen(argv, cwd=directory, env=environment)
        while _running(child):
            if any(number != signal.SIGINT for number in received):
                child.terminate()
    return Outcome(child.returncode, received[0] if received else None)


def _running(child: subprocess.Popen[bytes]) -> bool:
    try:
        child.wait(_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def _copy(source: BinaryIO, show: Callable[[bytes], None]) -> None:
    while chunk := source.read(1 << 16):
        show(chunk)
