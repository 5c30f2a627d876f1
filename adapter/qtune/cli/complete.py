"""What the shell offers for an unfinished word. Completing never fails: at worst it offers nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from qtune.schema import launch_keys

if TYPE_CHECKING:
    from qtune.config.project import Project

Completer = Callable[[str], list[str]]


def _completer(names: Callable[[Project], Iterable[str]]) -> Completer:
    def complete(incomplete: str) -> list[str]:
        from qtune.config.project import find_project

        try:
            return [name for name in names(find_project(Path.cwd())) if name.startswith(incomplete)]
        except Exception:  # a broken project has nothing to offer, and a shell no use for its error
            return []

    return complete


@_completer
def preset_names(project: Project) -> Iterable[str]:
    return project.store.names()


@_completer
def run_names(project: Project) -> Iterable[str]:
    runs = (path for path in (project.root / project.runs).iterdir() if path.is_dir())
    return sorted(path.name for path in runs if not path.name.startswith("."))


@_completer
def argument_names(project: Project) -> Iterable[str]:
    """Keys as `show KEY` takes them."""
    from qtune.config.presets import BLOCKS
    from qtune.schema import known_keys

    nested = [f"{block}.{key}" for block in BLOCKS if block != "train" for key in known_keys(block)]
    return [*known_keys("train"), *nested]


def dataset_names(incomplete: str) -> list[str]:
    """Names with commas between: the last one is unfinished."""
    from qtune.data.registrations import read_registrations

    given, comma, last = incomplete.rpartition(",")
    names = _completer(read_registrations)(last)
    return [f"{given}{comma}{name}" for name in names]


def assignments(incomplete: str) -> list[str]:
    """`KEY=` for --set."""
    return [] if "=" in incomplete else [f"{name}=" for name in argument_names(incomplete)]


def launchers(incomplete: str) -> list[str]:
    names = map(str, launch_keys()["launcher"].choices or ())
    return [name for name in names if name.startswith(incomplete)]


def sides(incomplete: str) -> list[str]:
    """What `diff` takes by name."""
    return [*preset_names(incomplete), *run_names(incomplete)]
