"""Writing registrations into `data/datasets.yaml`, whose other lines stay as they are, byte for byte."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from qtune.config.edit import end_line, says
from qtune.config.names import is_name
from qtune.config.project import Project
from qtune.data.registrations import Registration, read_registrations
from qtune.errors import QtuneError
from qtune.files import Document, block_lines, parse_yaml, write_atomic
from qtune.secrets.text import holds

Entries = Mapping[str, Mapping[str, Any]]
"""Registrations by name, in dataset_info.json's keys; relative paths start at data/."""

_HEADER = """\
# The datasets that runs may name. Each entry is one registration, and its keys are those of
# LLaMA-Factory's dataset_info.json, written as they are there. file_name is relative to this file.
"""


def add_entries(project: Project, entries: Entries, *, force: bool = False) -> Path:
    """Register `entries`; with `force` also where a name is taken, in the place of what is there.

    Returns the file. Raises QtuneError, with nothing written, where a name is taken, where an entry holds
    a secret, or where the file is written in a way that leaves no room for more.
    """
    refuse_taken(project, list(entries), force=force)
    for name in entries:
        if holds(entries[name]):
            fix = "take it out: HF_TOKEN or the hub's own login answers where it trains"
            raise QtuneError(f"`{name}` holds a password or token, and registrations are shared", fix=fix)
    path = project.registrations
    # bytes, because reading text would turn the file's own line ends into others
    text = path.read_bytes().decode("utf-8") if path.is_file() else _HEADER
    write_atomic(path.resolve(), with_entries(text, entries, path.relative_to(project.root).as_posix()))
    return path


_OTHERWISE = "give another name with -n, or replace what is there with --force"


def refuse_taken(project: Project, names: Sequence[str], *, force: bool, fix: str = _OTHERWISE) -> None:
    """Raises QtuneError where names are registered already, unless `force`."""
    registered = read_registrations(project)
    taken = [registered[name] for name in names if name in registered]
    if force or not taken:
        return
    shown = ", ".join(f"`{registration.name}`" for registration in taken)
    are = "is" if len(taken) == 1 else "are"
    raise QtuneError(
        f"{shown} {are} registered already",
        where=", ".join(registration.origin().place for registration in taken),
        fix=fix,
    )


def name_of(source: str) -> str:
    """The dataset's name where none is given: the source's own, without what no name may hold."""
    path = Path(source).expanduser()
    stem = path.stem if path.is_file() else path.resolve().name
    return name_from(stem, source, "give one with -n, e.g. -n my_data")


def name_from(stem: str, where: str, fix: str) -> str:
    """`stem` without what no name may hold; raises QtuneError where nothing is left of it."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip("._-")
    if not is_name(name):
        raise QtuneError(f"`{stem}` is no name for a dataset", where=where, fix=fix)
    return name


def file_name(path: Path, project: Project, start: Path | None = None) -> str:
    """`path` as data/datasets.yaml names it, or as what starts from another directory of the project does.

    From there where the file moves along with the project: in it, or in the git repository that holds it.
    In full elsewhere, because the project may move alone.
    """
    root, directory = project.root.resolve(), (start or project.registrations.parent).resolve()
    home = next((parent for parent in (root, *root.parents) if (parent / ".git").exists()), root)
    # a link inside the project is named as the link, so that its target may differ from machine to machine
    named = Path(os.path.normpath(path.absolute()))
    for candidate in (named, path.resolve()):
        if candidate.is_relative_to(home):
            return Path(os.path.relpath(candidate, directory)).as_posix()
    return str(named)


def as_registration(name: str, entry: Mapping[str, Any], project: Project) -> Registration:
    """An entry as if it were written already."""
    display = project.registrations.relative_to(project.root).as_posix()
    return Registration(name, entry, Document({name: entry}, {}, project.registrations, display, ""))


def entries_text(entries: Entries) -> str:
    """Entries as data/datasets.yaml has them."""
    return "\n".join("".join(f"{line}\n" for line in block_lines({name: entries[name]})) for name in entries)


def with_entries(text: str, entries: Entries, display: str) -> str:
    """The text of a data/datasets.yaml with `entries`: where a name is taken in its place, else at the end.

    Raises QtuneError where the result would not say just that.
    """
    before = parse_yaml(text.removeprefix("\ufeff"), display)[0] or {}
    ends = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    spans = {name: span for name, span in _spans(text).items() if name in entries}
    for name, (start, end) in sorted(spans.items(), key=lambda span: span[1], reverse=True):
        lines[start:end] = [f"{line}{ends}" for line in block_lines({name: entries[name]})]
    added = {name: entry for name, entry in entries.items() if name not in spans}
    if added:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += ends
        if lines and lines[-1].strip():
            lines.append(ends)
        lines += [line.replace("\n", ends) for line in entries_text(added).splitlines(keepends=True)]
    new = "".join(lines)
    if not says(new, {**before, **entries}, display):
        names = ", ".join(f"`{name}`" for name in entries)
        taken = "in place of" if spans else "at its end for"
        raise QtuneError(
            f"has no room {taken} {names}",
            where=display,
            fix="write its entries one below the other, each starting at the left margin; or paste this:\n"
            + entries_text(entries),
        )
    return new


def _spans(text: str) -> dict[str, tuple[int, int]]:
    """The lines [start, end) of each entry, its comments before and after it left out."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return {}
    return {key.value: (key.start_mark.line, end_line(value)) for key, value in root.value}
