"""What a child's last words mean."""

from __future__ import annotations

import re
import signal
from pathlib import Path

_TAIL_BYTES = 200_000
_TOLD_LINES = 10
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# `ValueError: …`, `torch.OutOfMemoryError: …`, with torchrun's `[rank0]: ` before it
_ERROR = re.compile(
    r"^(?:\[rank\d+\]:\s*)?((?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit|Invalid)\b(?::.*)?)$"
)
# What launchers, and the datasets library over pyarrow, say of a failure below them: true, and no reason.
_WRAPPERS = (
    "ChildFailedError",
    "CalledProcessError",
    "SystemExit",
    "ProcessRaisedException",
    "DatasetGenerationError",
)


def tail(log: Path) -> list[str]:
    """The last lines of a log, without colours and without what a progress bar wrote over."""
    with log.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - _TAIL_BYTES))
        return lines_of(stream.read())


def lines_of(output: bytes) -> list[str]:
    """The lines of a program's output, as `tail` has them."""
    lines = _ANSI.sub("", output.decode("utf-8", errors="replace")).split("\n")
    return [line.rstrip("\r").rsplit("\r", 1)[-1].rstrip() for line in lines]


def told(what: str, lines: list[str], exit_code: int) -> str:
    """What failed and why, in one line, and the child's last lines below it."""
    lines = [line for line in lines if line]
    tail = "\n".join(f"  | {line}" for line in lines[-_TOLD_LINES:])
    return f"{what}: {reason_in(lines, exit_code)}\n{tail}"


def reason_of(log: Path, exit_code: int) -> str:
    """Why a child with this log failed; see `reason_in`."""
    return reason_in(tail(log), exit_code)


def reason_in(lines: list[str], exit_code: int) -> str:
    """Why a child failed: its last error line that has a reason in it, else how it ended."""
    for line in reversed(lines):
        match = _ERROR.match(line)
        if match and not any(wrapper in match[1] for wrapper in _WRAPPERS):
            return match[1]
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = " (the kernel ends so what needs more memory than there is)" if name == "SIGKILL" else ""
        return f"ended by {name}{hint}"
    return f"exit code {exit_code}"
