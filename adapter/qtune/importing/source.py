"""Reading a file of an unknown shape: its text, its keys with their lines, and the files it names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from posixpath import normpath
from typing import Any

from qtune.errors import QtuneError
from qtune.files import MAX_BYTES, from_json, parse_yaml
from qtune.values import KeyPath, Origin, Value

LAYER = "original"
_KEY = re.compile(r"[A-Za-z_][\w.-]*")
_SHAPES = (
    "name a LLaMA-Factory train YAML or JSON, a script, program, notebook or container file that starts it, "
    "a DeepSpeed JSON, or another toolkit's training config"
)


@dataclass(frozen=True)
class ImportedFile:
    """A file as it was read.

    keys: its content where it is a mapping, else None; lines: the line of each key, by path.
    roots: the directories from which paths in it may start, the likeliest first; here: the working directory.
    mounts: (path in a container, path outside); written: files that it writes itself, by their normal paths.
    cells: where the text is that of a file's cells, (first line of it here, the cell's name) of each.
    """

    path: Path
    display: str
    text: str
    keys: Mapping[str, Any] | None
    lines: Mapping[KeyPath, int]
    roots: tuple[Path, ...]
    here: Path
    mounts: tuple[tuple[str, str], ...] = ()
    written: Mapping[str, ImportedFile] = field(default_factory=dict)
    cells: tuple[tuple[int, str], ...] = ()

    def origin(self, *path: str) -> Origin:
        return Origin(LAYER, self.display, self.lines.get(path))

    def at(self, line: int) -> Origin:
        """Where a line of the text stands: in its cell, where it has cells."""
        first, name = max((cell for cell in self.cells if cell[0] <= line), default=(1, self.display))
        return Origin(LAYER, name, line - first + 1)

    def line(self, number: int) -> str:
        """A line of the text in words, with its cell where it has cells."""
        origin = self.at(number)
        return f"line {origin.line} of {origin.file}" if self.cells else f"line {origin.line}"

    def values(self) -> dict[str, Value]:
        """The top-level keys, each with its place."""
        return {key: Value(value, self.origin(key)) for key, value in (self.keys or {}).items()}

    def find(self, name: str) -> Path | None:
        """The file or directory that a path in this file means, None where there is none."""
        return next(iter(self.finds(name)), None)

    def finds(self, name: str) -> dict[Path, Path]:
        """Every file or directory that a path could mean, with the first of `roots` from which it does."""
        found: dict[Path, Path] = {}
        for inside, outside in self.mounts:
            if f"{name}/".startswith(f"{inside.rstrip('/')}/"):
                name = f"{outside}/{name[len(inside) :]}"
                break
        try:
            for root in self.roots:
                path = root / Path(name).expanduser()
                if path.exists():
                    found.setdefault(path, root)
        except (OSError, RuntimeError, ValueError):  # too long, no such user, a null byte: nothing lies there
            return {}
        return found or (self.finds(name.replace("\\", "/")) if "\\" in name else {})

    def starting(self, directory: Path | None) -> ImportedFile:
        """The file with paths that start from `directory` first, where there is one."""
        return self if directory is None else replace(self, roots=_distinct(directory, *self.roots))

    def named(self, name: str) -> ImportedFile | None:
        """The file that a path in this file means, as this one writes it or else as it lies there.

        Raises QtuneError for one that cannot be read.
        """
        here = self.written.get(normpath(name))
        path = self.find(name) if here is None else None
        return here if path is None else read_source(path, self.here, self.roots)

    def writes(self, text: str, line: int) -> ImportedFile:
        """A file that this one writes; line: where its text begins in this one."""
        first = self.at(line)
        name, above = first.file or self.display, (first.line or 1) - 1
        keys, lines = _mapping(text, name)
        lines = {path: number + above for path, number in lines.items()}
        return ImportedFile(self.path, name, text, keys, lines, self.roots, self.here, self.mounts)


def read_source(path: Path, working_directory: Path, roots: tuple[Path, ...] = ()) -> ImportedFile:
    """Read any text file; a mapping in YAML or JSON is parsed, everything else is text.

    roots: further directories from which paths may start. Raises QtuneError for what is no text, empty, too
    large, or meant as YAML or JSON and broken.
    """
    display = _display(path, working_directory)
    text = _text(path, display)
    file = path.resolve()
    # a config is written for the directory in which the training starts, which mostly lies above it; not the
    # whole disk, on which `data` is something else
    around = (*roots, file.parent, *file.parents[:-1])
    inside = file.is_relative_to(working_directory)
    around = (working_directory, *around) if inside else (*around, working_directory)
    keys, lines = (None, {}) if _is_program(file) else _mapping(text, display)
    return ImportedFile(file, display, text, keys, lines, _distinct(*around), working_directory)


def _distinct(*roots: Path) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(roots))


def not_a_config(source: ImportedFile) -> QtuneError:
    """The error for a file of no known shape."""
    return QtuneError("is not a training config that qtune can read", where=source.display, fix=_SHAPES)


_PROGRAMS = re.compile(
    r".*\.(?:py|ipynb|md|markdown|bat|cmd|ps1|mk)|(?:Docker|Container)file.*|.*\.Dockerfile|(?:GNU)?[Mm]akefile"
)


def _is_program(file: Path) -> bool:
    """Whether the name tells that the text is no mapping, though it may be JSON or look like YAML."""
    return _PROGRAMS.fullmatch(file.name) is not None


def _display(path: Path, working_directory: Path) -> str:
    file = path.resolve()
    inside = file.is_relative_to(working_directory)
    return file.relative_to(working_directory).as_posix() if inside else str(path)


def _text(path: Path, display: str) -> str:
    if not path.exists():
        raise QtuneError("there is no such file", where=display, fix="correct the path")
    if not path.is_file():
        raise QtuneError("is not a file", where=display, fix=_SHAPES)
    # a notebook holds the pictures that its cells drew
    most = 20 * MAX_BYTES if path.suffix == ".ipynb" else MAX_BYTES
    with path.open("rb") as stream:
        raw = stream.read(most + 1)
    if len(raw) > most:
        raise QtuneError(f"is larger than {most:,} bytes, so it is no config", where=display, fix=_SHAPES)
    if b"\0" in raw:
        raise QtuneError("is not a text file", where=display, fix=_SHAPES)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise QtuneError("is not UTF-8 text", where=f"{display}:{line}", fix="save it as UTF-8") from None
    if not text.strip():
        raise QtuneError("is empty", where=display, fix=_SHAPES)
    return text


def _mapping(text: str, display: str) -> tuple[Mapping[str, Any] | None, Mapping[KeyPath, int]]:
    """The text as YAML or JSON; (None, {}) where it is neither and not meant to be."""
    try:
        from_json(text)
        # JSON may be indented with tabs, YAML may not; inside its strings there are none
        text = text.replace("\t", " ")
    except ValueError:
        pass
    try:
        data, lines = parse_yaml(text, display)
    except QtuneError:
        if _looks_like_commands(text) or _MANIFEST.search(text):
            return None, {}
        raise
    if not isinstance(data, dict) or not data:
        return None, {}
    if _looks_like_commands(text) and not all(_KEY.fullmatch(key) for key in data):
        return None, {}
    return data, lines


# of Kubernetes, which may hold several YAML documents
_MANIFEST = re.compile(r"(?m)^apiVersion:")
_STARTERS = re.compile(
    r"(?m)^(?!\s*#).*(?:\b(?:llamafactory-cli|lmf)\s+\w|\w+\.py\b|-m\s+\w+\.cli|-m\s+llamafactory|\b(?:torchrun|deepspeed)\s"
    r"|\b(?:swift|megatron|trl|axolotl|tune|xtuner)\s+(?:sft|rlhf|pt|dpo|kto|reward|train|run)\b)"
)


def _looks_like_commands(text: str) -> bool:
    """Whether it says so, or a line that is no comment could start a training."""
    return text.startswith("#!") or _STARTERS.search(text) is not None
