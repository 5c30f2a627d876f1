"""qtune.lock: the commit and the bytes that each git source means, and whether the cache has them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from qtune.errors import QtuneError
from qtune.files import Document, dump_yaml, read_yaml

FILE = "qtune.lock"
_HEAD = "# Written by `qtune presets pull`: what the git sources of qtune.yaml mean here. Commit it.\n"
_WORDS = ("url", "ref", "subdir", "commit")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Pin:
    """One git source as it was pulled.

    url, ref, subdir: as qtune.yaml has them; commit: what `ref` named then; files: SHA-256 by path in the
    repository, of the presets and templates alone.
    """

    url: str
    ref: str
    subdir: str
    commit: str
    files: Mapping[str, str]

    @property
    def directory(self) -> str:
        """The name of its directory in the cache, which follows from the commit and the files' content.

        So a commit that was edited in qtune.lock is in no cache, and has to be fetched.
        """
        lines = (f"{digest} {path}\n" for path, digest in sorted(self.files.items()))
        return hashlib.sha256(f"{self.commit}\n{''.join(lines)}".encode()).hexdigest()

    @property
    def short(self) -> str:
        """The commit as messages show it."""
        return self.commit[:10]


def read_lock(root: Path) -> dict[str, Pin]:
    """The pins of the project at `root` by the name of their source, none where it has no qtune.lock.

    Raises QtuneError with the line where the file is not what `qtune presets pull` writes.
    """
    path = root / FILE
    if not path.is_file():
        return {}
    document = read_yaml(path, FILE)
    if not isinstance(document.data, dict):
        raise _broken(document)
    return {name: _pin(document, name) for name in document.data}


def lock_text(pins: Mapping[str, Pin]) -> str:
    """The text of a qtune.lock: the same pins give the same bytes."""
    lines = []
    for name, pin in sorted(pins.items()):
        lines.append(f"{dump_yaml(name)}:")
        lines += [f"  {word}: {dump_yaml(getattr(pin, word))}" for word in _WORDS]
        lines.append("  files:")
        lines += [f"    {dump_yaml(path)}: {dump_yaml(digest)}" for path, digest in sorted(pin.files.items())]
    return _HEAD + "".join(f"{line}\n" for line in lines)


def content(directory: Path) -> dict[str, str]:
    """SHA-256 of every file below `directory` by relative path; a symbolic link counts as changed."""
    return {
        path.relative_to(directory).as_posix(): (
            "a link" if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in directory.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def stays_inside(path: str) -> bool:
    """Whether a relative path of a repository names something below its top, whatever lies there."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and path.isprintable()


def _pin(document: Document, name: str) -> Pin:
    entry: Any = document.data[name]
    if not isinstance(entry, dict) or set(entry) != {*_WORDS, "files"}:
        raise _broken(document, name)
    for word in _WORDS:
        if not isinstance(entry[word], str) or (word == "commit" and not _COMMIT.fullmatch(entry[word])):
            raise _broken(document, name, word)
    files = entry["files"]
    if not isinstance(files, dict):
        raise _broken(document, name, "files")
    for path, digest in files.items():
        if not stays_inside(path) or not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise _broken(document, name, "files", path)
    return Pin(files=files, **{word: entry[word] for word in _WORDS})


def _broken(document: Document, *path: str) -> QtuneError:
    return QtuneError(
        "is not what `qtune presets pull` writes",
        where=document.where(*path),
        fix="take the committed one back, or write it anew: `qtune presets pull`",
    )
