"""Dataset registrations: `data/datasets.yaml`, in dataset_info.json's own keys."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from qtune.config.names import did_you_mean
from qtune.config.project import Project
from qtune.data.file_types import SUFFIXES, data_files
from qtune.data.peek import has_column
from qtune.errors import QtuneError
from qtune.files import Document, read_yaml
from qtune.schema import column_keys, tag_keys
from qtune.values import Origin

LAYER = "datasets"
CONVERSATIONS = ("sharegpt", "openai")


@dataclass(frozen=True)
class Registration:
    """One dataset: its dataset_info.json entry and where it was registered."""

    name: str
    entry: Mapping[str, Any]
    document: Document

    @property
    def formatting(self) -> str:
        return str(self.entry.get("formatting") or "alpaca")

    @cached_property
    def path(self) -> Path | None:
        """The local file or directory, None for a dataset that lies elsewhere."""
        file_name = self.entry.get("file_name")
        return (
            self.document.path.parent / Path(file_name).expanduser() if isinstance(file_name, str) else None
        )

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The files that LLaMA-Factory reads of `path`, none where that is not there."""
        path = self.path
        if path is None or not path.exists():
            return ()
        return tuple(file for file in data_files(path) if file.suffix in SUFFIXES)

    def has_column(self, name: str) -> bool | None:
        """Whether any of the files has a column; None where that cannot be told."""
        told = [has_column(file, name) for file in self.files]
        return any(told) if None not in told and told else None

    def block(self, name: str) -> dict[str, Any]:
        """`columns` or `tags` as given, empty where there is none."""
        given = self.entry.get(name)
        return dict(given) if isinstance(given, Mapping) else {}

    def columns(self) -> dict[str, Any]:
        """The columns that hold for this data: the given ones, and the defaults that the file really has."""
        given = self.block("columns")
        if self.formatting in CONVERSATIONS:
            wanted = ["messages"]
        else:
            wanted = ["prompt", "query"] if self.entry.get("ranking") else ["prompt", "query", "response"]
        defaults = {name: column_keys()[name].default for name in wanted if name not in given}
        told = {name: self.has_column(default) for name, default in defaults.items()}
        if None in told.values():
            return given
        present = {name: defaults[name] for name, there in told.items() if there}
        return {**present, **{name: column for name, column in given.items() if column is not None}}

    @property
    def has_media(self) -> bool:
        """Whether rows name images, videos or audios, which lie in files of their own."""
        columns = self.columns()
        return any(columns.get(name) for name in ("images", "videos", "audios"))

    def tags(self) -> dict[str, Any]:
        """The tags that hold: the given ones over the library's defaults."""
        return {**{name: tag.default for name, tag in tag_keys().items()}, **self.block("tags")}

    def origin(self, *keys: str) -> Origin:
        """Where `keys` of this registration stand, or their nearest parent."""
        for end in range(len(keys), -1, -1):
            line = self.document.lines.get((self.name, *keys[:end]))
            if line is not None:
                return Origin(LAYER, self.document.display, line)
        return Origin(LAYER, self.document.display)


@cache
def read_registrations(project: Project) -> dict[str, Registration]:
    """The project's registrations by name, none where it has no `data/datasets.yaml`.

    Raises QtuneError where the file is broken or an entry is no mapping.
    """
    path = project.registrations
    if not path.is_file():
        return {}
    document = read_yaml(path, path.relative_to(project.root).as_posix())
    if not isinstance(document.data, dict):
        raise QtuneError(
            "registrations are a mapping of names",
            where=document.display,
            fix="write e.g. my_data: {file_name: my_data.jsonl}",
        )
    for name, entry in document.data.items():
        if not isinstance(entry, dict):
            raise QtuneError(
                f"dataset `{name}` is not a mapping of keys",
                where=document.where(name),
                fix=f"write e.g. {name}: {{file_name: {name}.jsonl}}",
            )
    return {name: Registration(name, entry, document) for name, entry in document.data.items()}


def registered(project: Project, name: str) -> Registration:
    """Raises QtuneError, with what comes near, where no dataset has this name."""
    registrations = read_registrations(project)
    if name not in registrations:
        fix = (
            did_you_mean(name, registrations) or "`qtune data list` shows what is, `qtune data add` adds one"
        )
        raise QtuneError(f"dataset `{name}` is not registered", fix=fix)
    return registrations[name]


def names_in(value: Any) -> list[str]:
    """The names of a `dataset` or `eval_dataset` argument: text with commas between, or a list."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return [str(part).strip() for part in parts if str(part).strip()]


def complete_entry(registration: Registration, directory: Path) -> dict[str, Any]:
    """The entry for a `dataset_info.json` in `directory`.

    Relative paths are rewritten to start there. `columns` and `tags` are written whole, because the library
    turns what a block omits into nothing, and because it reads the default columns of a missing block even
    from data that lacks them, which is a KeyError (llamafactory/data/parser.py, DatasetAttr.join;
    data/converter.py).
    """
    entry = {key: value for key, value in registration.entry.items() if value is not None}
    path = registration.path
    if path is not None and not Path(entry["file_name"]).expanduser().is_absolute():
        entry["file_name"] = Path(os.path.relpath(path, directory)).as_posix()
    elif path is not None:
        entry["file_name"] = str(path)
    columns = registration.columns()
    if columns:
        entry["columns"] = columns
    if registration.formatting in CONVERSATIONS:
        entry["tags"] = registration.tags()
    return entry
