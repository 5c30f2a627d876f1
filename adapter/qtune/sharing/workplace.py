"""The directory that a pull works in: locked while its process lives, removed with it or by the next pull."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from qtune.files import alone

PREFIX = ".pull-"


@contextmanager
def workplace(cache: Path) -> Iterator[Path]:
    """A new directory in the cache, once those are gone that killed pulls left there."""
    with ExitStack() as stack:
        with alone(cache) as first:  # nobody sees a directory that its maker has not locked yet
            for directory in cache.glob(f"{PREFIX}*") if first else ():
                with alone(directory, wait=False) as left:
                    if left:
                        shutil.rmtree(directory, ignore_errors=True)
            made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=cache))
            stack.enter_context(alone(made, wait=False))
            stack.callback(shutil.rmtree, made, ignore_errors=True)
        yield made
