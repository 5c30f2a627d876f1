"""Limits that the system sets on a command and all its descendants: memory, and room on a disk."""

from __future__ import annotations

import os
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")
_SECOND = ("memory.max", "memory.swap.max")
_SECONDS = 0.02


class Group:
    """A memory cgroup of version 1 or 2."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first = (path / "memory.limit_in_bytes").exists()

    @property
    def within(self) -> tuple[str, ...]:
        """Put before a command, it runs in this group."""
        return ("sh", "-c", f'echo $$ > "{self.path}/cgroup.procs" && exec "$@"', "sh")

    def limit(self, size: int) -> None:
        """In bytes, swap included."""
        own, swap = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes") if self.first else _SECOND
        for name, value in (
            (swap, size if self.first else 0),
            (own, size),
            (swap, size if self.first else 0),
        ):
            with suppress(OSError):  # of version 1 the one with swap may never be the lower one
                (self.path / name).write_text(str(value))
        assert int((self.path / own).read_text()) >> 20 == size >> 20

    def used(self) -> int:
        """Bytes of its processes' own memory, without cached files."""
        wanted = "total_rss" if self.first else "anon"
        stat = dict(line.split() for line in (self.path / "memory.stat").read_text().splitlines())
        return int(stat[wanted])

    def largest_data(self) -> int:
        """Bytes of what RLIMIT_DATA bounds, of the process that has the most."""
        found = 0
        for pid in (self.path / "cgroup.procs").read_text().split():
            with suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("VmData:"):
                        found = max(found, int(line.split()[1]) << 10)
        return found


@contextmanager
def memory_group() -> Iterator[Group]:
    """A memory cgroup; the test is skipped where none may be made."""
    path = (_V1 if _V1.is_dir() else _V2) / f"qtune-{uuid.uuid4().hex[:8]}"
    try:
        if not _V1.is_dir():
            (_V2 / "cgroup.subtree_control").write_text("+memory")
        path.mkdir()
        (path / "memory.stat").read_text()
    except OSError as error:
        pytest.skip(f"no memory cgroup may be made here: {error}")
    try:
        yield Group(path)
    finally:
        path.rmdir()


class Peaks:
    """What a group took at most while inside: bytes in memory, and of RLIMIT_DATA's kind."""

    memory = 0
    data = 0


@contextmanager
def measured(group: Group) -> Iterator[Peaks]:
    peaks, done = Peaks(), threading.Event()

    def follow() -> None:
        while not done.wait(_SECONDS):
            peaks.memory = max(peaks.memory, group.used())
            peaks.data = max(peaks.data, group.largest_data())

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


def within_data(size: int) -> tuple[str, ...]:
    """Put before a command, it and each of its descendants may have `size` bytes (RLIMIT_DATA)."""
    return ("prlimit", f"--data={size}")


@contextmanager
def small_disk(path: Path, size: int) -> Iterator[None]:
    """A file system of `size` bytes at `path`; the test is skipped where none may be mounted."""
    path.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    result = subprocess.run(mount, capture_output=True, text=True) if os.geteuid() == 0 else None
    if result is None or result.returncode != 0:
        pytest.skip(f"no file system may be mounted here: {result.stderr if result else 'not root'}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
