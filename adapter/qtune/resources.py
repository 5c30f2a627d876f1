"""Where the built-in templates, presets and demo data lie: the only path guessing."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


@cache
def root() -> Path:
    """The directory that holds `templates/`, `presets/` and `data/`.

    A wheel carries them as `qtune/share`; in a checkout they are the repository's own top level.
    """
    package = Path(__file__).resolve().parent
    share = package / "share"
    return share if share.is_dir() else package.parents[1]


def cache_directory() -> Path:
    """Where pulled presets lie: below XDG_CACHE_HOME where that is an absolute path, else ~/.cache."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / _BUILT_IN


_BUILT_IN = "qtune"


def display(path: Path, project_root: Path) -> str:
    """`path` as messages and rendered comments show it: the same on every machine where it can be.

    Inside the project it is relative to the project's root; a built-in file reads `qtune/presets/…`
    wherever qtune is installed.
    """
    if root() != project_root:
        for part in ("presets", "templates", "data"):
            if path.is_relative_to(root() / part):
                return f"{_BUILT_IN}/{path.relative_to(root()).as_posix()}"
    if path.is_relative_to(project_root):
        return path.relative_to(project_root).as_posix()
    return str(path)


def find(displayed: str, project_root: Path) -> Path:
    """The path that `display` showed as `displayed`."""
    first, _, rest = displayed.partition("/")
    if first == _BUILT_IN and root() != project_root:
        return root() / rest
    return project_root / Path(displayed).expanduser()
