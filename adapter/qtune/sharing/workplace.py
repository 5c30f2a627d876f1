"""The directory that a pull works in: locked while its process lives, removed with it or by the next pull."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PREFIX = ".pull-"


@contextmanager
def workplace(cache: Path) -> Iterator[Path]:
    """A new directory in the cache, once those are gone that killed pulls left there."""
    with ExitStack() as stack:
        with _holding(cache, wait=True) as alone:  # nobody sees a directory that its maker has not locked yet
            for directory in cache.glob(f"{PREFIX}*") if alone else ():
                with _holding(directory) as left:
                    if left:
                        shutil.rmtree(directory, ignore_errors=True)
            made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=cache))
            stack.enter_context(_holding(made))
            stack.callback(shutil.rmtree, made, ignore_errors=True)
        yield made


@contextmanager
def _holding(directory: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether the directory is this process's alone until the end; not where there are no locks."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # removed in the meantime, or no directory
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        held = True
    except OSError:
        held = False
    try:
        yield held
    finally:
        os.close(descriptor)
