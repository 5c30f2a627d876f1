"""Whether a training makes no progress at all, and what it waits for where that can be seen."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from qtune.launch import extensions
from qtune.runs import progress
from qtune.values import Config

if TYPE_CHECKING:
    import psutil

SECONDS = 300.0
"""Without output and processor time, after which a training has stalled."""
_LOOKS = 20  # until it counts
_BUSY_SHARE = 0.05  # of a processor, from which on it does something; who polls takes less


class Stall:
    """Watches the output and the processor time of a training's processes, all below this one."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._written = -1
        self._computed = 0.0
        self._looked_at = self._moved_at = time.monotonic()
        self._said = False

    def look(self) -> bool:
        """Whether it has stalled now, which is told once."""
        now = time.monotonic()
        if self._said or now - self._looked_at < SECONDS / _LOOKS:
            return False
        written, computed, waits = self._log.stat().st_size, *_computed()
        busy = computed - self._computed > _BUSY_SHARE * (now - self._looked_at)
        if busy or waits or written != self._written:
            self._moved_at = now
        self._looked_at, self._written, self._computed = now, written, computed
        self._said = now - self._moved_at >= SECONDS
        return self._said


def told(config: Config, run: Path) -> str:
    """What is said of a training that stalls. run: its directory."""
    waits = _awaited() or _rendezvous(config, run)
    return (
        f"no output and no processor time for {SECONDS / 60:g} minutes"
        + (f", waiting for {waits}" if waits else "")
        + f"; `qtune stop {run.name}` ends it"
    )


def _awaited() -> str | None:
    """One of torch's locks, or a locked file, that the training waits for; None where none is seen."""
    for lock in extensions.torch_locks():
        return f"{lock}, held by {extensions.holder_of(lock) or 'nobody on this machine'}"
    return next(filter(None, map(_locked_file, _below())), None)


def _rendezvous(config: Config, run: Path) -> str | None:
    if config.nnodes == 1 or progress.reached(run, ended=False) is not None:
        return None
    return f"the other nodes at {config.get('launch', 'master_addr')}:{config.get('launch', 'master_port')}"


def _below() -> list[psutil.Process]:
    import psutil

    return psutil.Process().children(recursive=True)


def _computed() -> tuple[float, bool]:
    """Seconds that the processes computed, and whether one waits for a disk."""
    import psutil

    seconds, waits = 0.0, False
    for process in _below():
        with suppress(psutil.Error):
            seconds += sum(process.cpu_times()[:4])
            waits |= process.status() == psutil.STATUS_DISK_SLEEP
    return seconds, waits


def _locked_file(process: psutil.Process) -> str | None:
    """The file whose lock a process waits for, by what Linux tells of locks (proc(5), /proc/locks)."""
    import psutil

    with suppress(psutil.Error, OSError):
        for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines():
            fields = line.split()
            if "->" in fields and fields[5] == str(process.pid):
                inode = int(fields[6].rpartition(":")[2])
                for file in process.open_files():
                    if Path(file.path).stat().st_ino == inode:
                        return f"the lock of {file.path}"
    return None
