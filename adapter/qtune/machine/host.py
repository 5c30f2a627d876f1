"""What the machine around the GPUs has: memory, shared memory, open files, disk."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_UNLIMITED = 1 << 60  # cgroup v1 writes the largest multiple of a page for no limit
_SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Host:
    """Memory that a training may take, in bytes; open_files: the soft and the hard limit of a process.

    limit: the control group's bound on memory, None where there is none; shared_memory: of /dev/shm, None
    where there is no such file system.
    """

    memory_total: int
    memory_available: int
    limit: int | None = None
    shared_memory: int | None = None
    open_files: tuple[int, int] = (1024, 1024)


@dataclass(frozen=True)
class Volume:
    """The file system that a path is on: its free bytes for this user, or why it could not be asked."""

    path: Path
    free: int | None = None
    writable: bool = True


def read_host(root: Path = Path("/")) -> Host:
    """What this machine has, within the limits of qtune's control groups, which psutil leaves out.

    root: where /proc and /sys lie.
    """
    import psutil

    memory = psutil.virtual_memory()
    limits = list(_memory_limits(root))
    limit = min((limit for limit, _ in limits), default=None)
    return Host(
        memory.total if limit is None else min(limit, memory.total),
        max(0, min([memory.available, *(limit - used for limit, used in limits)])),
        limit,
        _size(_SHARED_MEMORY),
        resource.getrlimit(resource.RLIMIT_NOFILE),
    )


def oom_kills(root: Path = Path("/")) -> int | None:
    """How many processes Linux has ended for want of memory since it started, None where nothing tells.

    For want of a control group's memory too (mm/oom_kill.c, __oom_kill_process). root: where /proc lies.
    """
    return _number(fields(root / "proc/vmstat").get("oom_kill", ""))


def read_volume(path: Path) -> Volume:
    """The file system that `path` is on, or will be once it is made; a link's is where it leads."""
    there = path.resolve()
    existing = next(item for item in (there, *there.parents) if item.exists())
    try:
        free = shutil.disk_usage(existing).free
    except OSError:
        free = None
    return Volume(existing, free, os.access(existing, os.W_OK))


def _size(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path).total
    except OSError:
        return None


def _memory_limits(root: Path) -> Iterator[tuple[int, int]]:
    """(limit, bytes in use that cannot be taken back) of each control group that bounds this process.

    Version 2 has one tree for all controllers, version 1 a tree for memory. In a container the own path may
    not be there; then the tree's root is the container's.
    Source: Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
    """
    tree = root / "sys" / "fs" / "cgroup"
    for line in text_of(root / "proc" / "self" / "cgroup").splitlines():
        number, controllers, own = line.split(":", 2)
        if number == "0" and not controllers:
            yield from _limits_in(tree, own, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _limits_in(tree / "memory", own, *names)


def _limits_in(tree: Path, own: str, limit: str, usage: str, cached: str) -> Iterator[tuple[int, int]]:
    path = PurePosixPath(own.lstrip("/"))
    for group in (tree / path, *(tree / parent for parent in path.parents if path.name)):
        bound = _number(text_of(group / limit))
        if bound is None or bound >= _UNLIMITED:
            continue
        reclaimable = _number(fields(group / "memory.stat").get(cached, "")) or 0
        yield bound, max(0, (_number(text_of(group / usage)) or 0) - reclaimable)


def fields(path: Path) -> dict[str, str]:
    """The numbers by name of a file with one of them a line."""
    return dict(line.split(" ", 1) for line in text_of(path).splitlines() if " " in line)


def text_of(path: Path) -> str:
    """What a file of /proc or /sys holds, nothing where it is not there."""
    with suppress(OSError):
        return path.read_text(encoding="utf-8")
    return ""


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdigit() else None
