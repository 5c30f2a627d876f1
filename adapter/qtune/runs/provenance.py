"""What a training was made with, for its record: package versions, the project's commit, machine and data."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qtune.data.digests import sha256
from qtune.data.file_types import data_files
from qtune.data.sources import DataSource
from qtune.machine.hardware import detect_hardware
from qtune.machine.host import read_host
from qtune.machine.makers import other_accelerators
from qtune.machine.stack import version
from qtune.processes import process

_STACK = (
    "llamafactory",
    "torch",
    "transformers",
    "peft",
    "deepspeed",
    "bitsandbytes",
    "accelerate",
    "datasets",
    "trl",
)
_GIT_SECONDS = 10.0


def gather(root: Path, sources: Sequence[DataSource], rows: Mapping[str, int]) -> dict[str, Any]:
    """The facts as plain JSON values.

    root: the project's; sources: its datasets of local files; rows: how many each has, where that is known.
    """
    return {name: read(root) for name, read in HERE.items()} | {"data": data(root, sources, rows)}


def _versions(root: Path) -> dict[str, str]:
    found = {package: number for package in _STACK if (number := version(package)) is not None}
    return {"python": platform.python_version(), **found}


def _git(root: Path) -> dict[str, Any] | None:
    """The commit that is checked out, and whether a tracked file differs; None outside a repository."""
    git = shutil.which("git")
    if git is None:
        return None
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def ask(*words: str) -> process.Output:
        # a repository's own settings could start programs
        argv = [git, "-c", "core.fsmonitor=false", "-C", str(root), *words]
        return process.ask(argv, environment, seconds=_GIT_SECONDS)

    commit = ask("rev-parse", "HEAD")
    if commit.exit_code != 0:
        return None
    changed = ask("status", "--porcelain", "--untracked-files=no")
    dirty = bool(changed.out.strip()) if changed.exit_code == 0 else None
    return {"commit": commit.out.decode().strip(), "dirty": dirty}


def _machine(root: Path) -> dict[str, Any]:
    """This machine, whatever --hardware says."""
    hardware = detect_hardware()
    others = other_accelerators() if hardware.is_cpu else None
    return {
        "hardware": str(others or hardware),
        "cores": hardware.cores,
        "memory_gb": round(read_host().memory_total / 1e9, 1),
        "platform": platform.platform(),
    }


HERE: Mapping[str, Callable[[Path], Any]] = {"versions": _versions, "git": _git, "machine": _machine}
"""What tells each fact as it is now, given the project's root, by the fact's name in the record."""


def data(root: Path, sources: Sequence[DataSource], rows: Mapping[str, int]) -> list[dict[str, Any]]:
    """Of each dataset its name, its number of rows where `rows` has it, and its files' SHA-256 by path."""
    return [
        {
            "name": source.registration.name,
            "rows": rows.get(source.registration.name),
            "files": {
                Path(os.path.relpath(file, root)).as_posix(): sha256(file)
                for file in data_files(source.path)
                if file.is_file()
            },
        }
        for source in sources
    ]
