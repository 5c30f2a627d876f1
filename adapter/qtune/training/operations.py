"""DeepSpeed's operations compiled ahead of a training, past locks whose holders were killed."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from qtune.errors import QtuneError
from qtune.launch import extensions
from qtune.launch.operations import missing_operations, needed_operations
from qtune.launch.plan import CLI
from qtune.machine.hardware import Hardware
from qtune.processes import child, process, signals
from qtune.processes.process import Outcome
from qtune.values import Config, LaunchPlan

_POLL_SECONDS = 0.5


def make_ready(
    config: Config,
    hardware: Hardware,
    plan: LaunchPlan,
    start: Callable[[LaunchPlan], Outcome],
    say: Callable[[str], object],
) -> Outcome | None:
    """Remove left-over locks, wait for who compiles what `plan` needs, and compile what is missing then.

    How it ended where a signal ended it, else None: what cannot be compiled the training itself will tell.
    start: runs a child as the training's; say: is told what is removed, and who is waited for.
    A cluster's nodes compile for themselves.
    """
    needed = [] if plan.has_supervisors else needed_operations(config, hardware)
    if (number := _waited(needed, say)) is not None:
        return Outcome(-number, number)
    if (compiling := compiling_ahead(config, hardware, plan)) is not None:
        outcome = start(compiling)
        if outcome.interrupted is not None:
            return outcome
    return None


def compiling_ahead(config: Config, hardware: Hardware, plan: LaunchPlan) -> LaunchPlan | None:
    """What compiles before `plan`; None where nothing is missing, and for clusters, whose nodes compile."""
    missing = [] if plan.has_supervisors else missing_operations(config, hardware)
    if not missing:
        return None
    lock = extensions.extensions_directory().resolve() / extensions.LOCK
    argv = *map(str, child.script("compile.py", _python())), str(lock), *missing
    return LaunchPlan(argv, plan.environment)


def _python() -> Path:
    """The training's, by the name that its launcher begins it with.

    The paths of all headers follow from it: by another way to it, everything would be compiled once more.
    Where LLaMA-Factory is not installed, the one that it would be installed for.
    """
    with suppress(QtuneError), process.find_program(CLI).open("rb") as launcher:
        named = Path(os.fsdecode(launcher.readline().removeprefix(b"#!").strip()))
        if named.name.startswith("python") and named.is_file():
            return named
    return process.likely_python()


def clear(
    say: Callable[[str], object], needed: Collection[str] = (), *, made_since: float = math.inf
) -> str | None:
    """As `extensions.clear`, saying what was removed; who holds another lock."""
    removed, holder = extensions.clear(needed, made_since=made_since)
    for lock in removed:
        say(f"removed the lock of a compile that is no more: {lock}")
    return holder


def _waited(needed: Collection[str], say: Callable[[str], object]) -> int | None:
    """Wait while somebody compiles one of `needed`; the signal that came meanwhile, None where none did."""
    told = None
    with signals.collected() as received:
        while not received and (holder := clear(say, needed)) is not None:
            if holder != told:
                say(f"waiting for another compile: {holder}")
            told = holder
            time.sleep(_POLL_SECONDS)
        return received[0] if received else None
