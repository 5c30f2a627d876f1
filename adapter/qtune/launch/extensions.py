"""The lock files under which torch compiles extensions: who holds one, and the end of those left over.

torch's own (torch/utils/file_baton.py) is a bare file `lock` in the extension's directory, which who compiles
holds open. One whose holder was killed stays, and whoever loads the extension waits for ever. qtune's own
compiles (children/compile.py) hold LOCK beside those directories by flock, which dies with them, also on
another computer; who holds it stands in it, and stays there where that was killed.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import psutil

LOCK = "qtune.lock"
# A compiler writes when it is done with a file, which takes minutes for the largest.
_QUIET_SECONDS = 600.0
_LOCAL = {"apfs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"}
_ALL_PROCESSES = "pid:[4026531836]"  # PROC_PID_INIT_INO of Linux: in no container


class Cleared(NamedTuple):
    """What stood in the way of a compile: the left-over locks that were removed, and who holds another one.

    holder: in words, None where nobody does.
    """

    removed: list[Path]
    holder: str | None = None


def extensions_directory() -> Path:
    """TORCH_EXTENSIONS_DIR, by default below XDG_CACHE_HOME or the home directory.

    Source: torch/utils/cpp_extension.py, get_default_build_root; torch/_appdirs.py.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or caches / "torch_extensions")


def torch_locks() -> list[Path]:
    """torch's lock files; by default a directory for each Python and CUDA holds the extensions'."""
    directory = extensions_directory()
    return sorted([*directory.glob("*/lock"), *directory.glob("*/*/lock")])


def holder_of(lock: Path) -> str | None:
    """The process of this machine that compiles under a torch lock, in words; None where none is seen.

    The ninja that it started works in the directory, and may outlive it.
    """
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if _compiles(process, lock.resolve()):
                since = datetime.fromtimestamp(process.create_time(), UTC).isoformat(timespec="seconds")
                return f"process {process.pid} ({process.name()}), which runs since {since}"
    return None


def _compiles(process: psutil.Process, lock: Path) -> bool:
    if "ninja" in process.name() and Path(process.cwd()) == lock.parent:
        return True
    return any(Path(file.path) == lock for file in process.open_files())


def left_over() -> list[Path]:
    """The torch locks whose holder is gone for certain."""
    return [lock for lock in torch_locks() if holder_of(lock) is None and not _may_be_held(lock)]


def clear(names: Collection[str] = (), *, made_since: float = math.inf) -> Cleared:
    """Remove the torch locks whose holder is gone; who compiles one of the extensions `names`.

    made_since: seconds since 1970, from which on a child made them that has ended; of others a holder that
    cannot be seen from here is believed in while something changes in the directory.
    """
    directory = extensions_directory()
    if not directory.is_dir() or not (names or torch_locks()):
        return Cleared([])
    try:
        own = (directory / LOCK).open("a+", encoding="utf-8")
    except OSError:  # where nothing can be written, nobody can compile
        return Cleared([])
    with own:
        try:
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            own.seek(0)
            holder = (own.read() or "another qtune") if names else None
            return Cleared([*_removed(math.inf)], holder)  # at which that compile may be waiting
        except OSError:
            pass  # its file system keeps no locks: what is seen of the holders has to do
        status = os.fstat(own.fileno())
        known = min(made_since, status.st_mtime if status.st_size else math.inf)
        found = Cleared([*_removed(known)], _holder(names))
        own.truncate(0)
    return found


def _removed(known: float) -> Iterator[Path]:
    """Remove what is left over, and what was made since `known`, by who is gone."""
    for lock in torch_locks():
        with suppress(OSError):
            made = lock.stat()
            gone = holder_of(lock) is None and (made.st_mtime >= known or not _may_be_held(lock))
            if gone and lock.stat().st_mtime_ns == made.st_mtime_ns:  # else another one by now
                lock.unlink()
                yield lock


def _holder(names: Collection[str]) -> str | None:
    for lock in torch_locks():
        if lock.parent.name in names:
            return holder_of(lock) or f"somebody who cannot be seen from here, by {lock}"
    return None


def _may_be_held(lock: Path) -> bool:
    """Whether somebody may hold it who cannot be seen from here, and something has changed not long ago."""
    try:
        if os.geteuid() in (lock.stat().st_uid, 0) and _is_local(lock):
            return False
        changed = max(path.lstat().st_mtime for path in (lock.parent, *lock.parent.iterdir()))
        return time.time() - changed < _QUIET_SECONDS
    except OSError:
        return True


def _is_local(path: Path) -> bool:
    """Whether who holds it would be seen from here: no other computer or container has the directory."""
    import psutil

    namespace = Path("/proc/self/ns/pid")
    if namespace.is_symlink() and str(namespace.readlink()) != _ALL_PROCESSES:
        return False
    mounts = [
        (len(mount.mountpoint), mount.fstype)
        for mount in psutil.disk_partitions(all=True)
        if path.resolve().is_relative_to(mount.mountpoint)
    ]
    return bool(mounts) and max(mounts)[1] in _LOCAL
