"""A fork into the background, where a training goes on without the terminal that it was started from."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from qtune.errors import QtuneError


def fork(log: Path) -> Callable[[], None] | None:
    """Go on as two: here, and in the background, in a session of its own with its words going to `log`.

    In the background it returns a function that says that all is well there. Here it returns None once that
    was called. Raises QtuneError here where the other one ended without.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    well, say = os.pipe()
    if os.fork() != 0:
        os.close(say)
        said = os.read(well, 1)
        os.close(well)
        if not said:
            raise QtuneError("ended in the background before it began", where=str(log), fix="read why there")
        return None
    os.close(well)
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, target)
    os.close(output)
    os.close(nothing)

    def is_well() -> None:
        os.write(say, b"well")
        os.close(say)

    return is_well
