"""Sources: where the presets and templates of each entry of `presets:` lie, and what may be read there.

What a git source means is pinned in qtune.lock and lies in the cache: reading it starts no git.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qtune import resources
from qtune.config import lock_file
from qtune.config.entries import BUILT_IN, PRESETS, Entry, GitSource
from qtune.config.lock_file import Pin
from qtune.config.names import is_name
from qtune.errors import QtuneError

TEMPLATES = "templates"


@dataclass(frozen=True)
class Source:
    """A source that can be read.

    directory: of the presets; templates: of the templates, None where it has none.
    base, shown: messages show what lies below `base` with `shown` in its place, None: as any other file.
    inside: symbolic links may not lead out of these; empty for qtune's own files.
    own: belongs to this project or to qtune, so that its scripts are no stranger's.
    """

    name: str
    directory: Path
    templates: Path | None
    base: Path
    shown: str | None
    inside: tuple[Path, ...]
    own: bool
    pin: Pin | None = None

    @property
    def label(self) -> str:
        """`team@1a2b3c4d5e`, the name alone where no commit pins it."""
        return f"{self.name}@{self.pin.short}" if self.pin else self.name

    def display(self, path: Path, project_root: Path) -> str:
        """`path` as messages and rendered comments show it: the same on every machine where it can be."""
        if self.shown is None:
            return resources.display(path, project_root)
        return posixpath.normpath(f"{self.shown}/{Path(os.path.relpath(path, self.base)).as_posix()}")

    def holds(self, path: Path) -> bool:
        """Whether `path` leads to something inside the source, through links too."""
        if not self.inside or (path.parent == self.directory and not path.is_symlink()):
            return True  # the directory itself is resolved
        resolved = path.resolve()
        return any(resolved.is_relative_to(place) for place in self.inside)

    def has(self, path: Path, project_root: Path) -> bool:
        """Whether `path` is a file of this source; raises QtuneError for a link that leads out of it."""
        if not path.is_file():
            return False
        if not self.holds(path):
            raise QtuneError(
                "is a symbolic link that leads out of its source",
                where=self.display(path, project_root),
                fix="put the file itself there",
            )
        return True

    def presets(self) -> tuple[set[str], dict[Path, str]]:
        """The names of its presets, and what lies among them and is none, with what it is instead."""
        names: set[str] = set()
        odd: dict[Path, str] = {}
        with os.scandir(self.directory) as entries:
            for entry in entries:
                path = Path(entry.path)
                if path.suffix != ".yaml":
                    continue
                if wrong := self._oddity(path, entry):
                    odd[path] = wrong
                else:
                    names.add(path.stem)
        return names, odd

    def _oddity(self, path: Path, entry: os.DirEntry[str]) -> str:
        """Why an entry of the directory is no preset; empty where it is one. Nothing is opened."""
        if not is_name(path.stem):
            return "has a name that no preset can have"
        if entry.is_symlink():
            with suppress(OSError):  # it may lead into what is closed to us
                if path.is_file() and self.holds(path):
                    return ""
            return "is a link that leads to no file here"
        return "" if entry.is_file() else "is a directory" if entry.is_dir() else "is no regular file"


def built_in() -> Source:
    """qtune's own presets and templates, under all others."""
    root = resources.root()
    # installers may link the package's files to where they keep them, so links are not looked at
    return Source(BUILT_IN, root / PRESETS, root / TEMPLATES, root, None, (), own=True)


def open_source(entry: Entry, root: Path, pins: Mapping[str, Pin]) -> Source:
    """The source that `entry` of the project at `root` means, a git source as `pins` has it.

    Raises QtuneError where a git source is not pinned, or the cache has not exactly what is pinned.
    """
    if isinstance(entry, GitSource):
        return _open_git(entry, pins)
    directory = entry.directory.resolve()
    own = directory.is_relative_to(root)
    inside = (root,) if own else (directory, directory.parent / TEMPLATES)
    shown = None if own else entry.written
    return Source(entry.name, directory, _templates(directory, inside), directory, shown, inside, own)


def template_places(directory: Path) -> tuple[Path, Path]:
    """Where the templates of a directory of presets may lie: in it, or beside it."""
    return directory / TEMPLATES, directory.parent / TEMPLATES


def pin_of_file(displayed: str, pins: Mapping[str, Pin]) -> str | None:
    """The SHA-256 that is pinned for a file that `Source.display` showed, None where none is."""
    label, _, path = displayed.partition("/")
    name, at, _ = label.partition("@")
    pin = pins.get(name) if at else None
    return pin.files.get(path) if pin else None


def agreed_pin(entry: GitSource, pins: Mapping[str, Pin]) -> Pin:
    """The pin of a git source; raises QtuneError where there is none, or one of another address or ref."""
    pin = pins.get(entry.name)
    if pin is None:
        raise QtuneError(
            f"{lock_file.FILE} does not pin `{entry.name}`",
            where=entry.place,
            fix="fetch it: `qtune presets pull`",
        )
    for word in ("url", "ref", "subdir"):
        if getattr(pin, word) != getattr(entry, word):
            raise QtuneError(
                f"{lock_file.FILE} pins `{entry.name}` with {word} `{getattr(pin, word)}`, "
                f"and here it is `{getattr(entry, word)}`",
                where=entry.place,
                fix="fetch what stands here: `qtune presets pull`",
            )
    return pin


def _open_git(entry: GitSource, pins: Mapping[str, Pin]) -> Source:
    pin = agreed_pin(entry, pins)
    base = resources.cache_directory().resolve() / pin.directory
    fix = "fetch what is pinned: `qtune presets pull --locked`"
    if not base.is_dir():
        raise QtuneError(
            f"the cache on this machine lacks commit {pin.short} of `{entry.name}`",
            where=lock_file.FILE,
            fix=fix,
        )
    cached = lock_file.content(base)
    for path in sorted({*cached, *pin.files}):
        if cached.get(path) != pin.files.get(path):
            raise QtuneError(
                f"the cache and {lock_file.FILE} disagree: {path} is another file",
                where=f"{entry.name}@{pin.short}",
                fix=fix,
            )
    directory = base / entry.subdir
    shown = f"{entry.name}@{pin.short}"
    return Source(entry.name, directory, _templates(directory, (base,)), base, shown, (base,), False, pin)


def _templates(directory: Path, inside: tuple[Path, ...]) -> Path | None:
    """The templates of a directory of presets; what lies beside the top of a source is not in it."""
    for place in template_places(directory):
        if place.is_dir() and any(place.is_relative_to(top) for top in inside):
            return place
    return None
