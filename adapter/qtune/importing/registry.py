"""LLaMA-Factory's dataset_info.json: the one that a config means, and its entries as registrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune.checks.datasets import SOURCES
from qtune.config.project import Project
from qtune.data.adding.register import file_name
from qtune.errors import QtuneError
from qtune.files import MAX_BYTES, from_json, leaves
from qtune.importing.parts import Registered
from qtune.importing.source import ImportedFile, read_source
from qtune.schema import column_keys, dataset_keys, problem, tag_keys
from qtune.secrets.text import holds
from qtune.values import DATASETS, Finding, Value

ONLINE, REMOTE = "ONLINE", "REMOTE:"
"""With these `dataset_dir` is no directory (llamafactory/data/parser.py, get_dataset_list)."""
_MEDIA = ("images", "videos", "audios")


@dataclass(frozen=True)
class Registry:
    """A dataset_info.json.

    directory: from which its files start. ran_in: the directory from which a config that means it ran, None
    where that is not told. guessed: whether it is not where the config has it, but beside the config.
    """

    file: ImportedFile
    directory: Path
    ran_in: Path | None = None
    guessed: bool = False

    @property
    def display(self) -> str:
        return self.file.display

    @property
    def entries(self) -> Mapping[str, Any]:
        return self.file.keys or {}

    def entry(self, name: str, project: Project) -> dict[str, Any] | None:
        """The registration of that name, in LLaMA-Factory's own keys; None where none there names data."""
        given = self.entries.get(name)
        if not isinstance(given, dict) or not _names_data(given):
            return None
        entry = {key: value for key, value in given.items() if key in dataset_keys()}
        for block, keys in (("columns", column_keys()), ("tags", tag_keys())):
            if isinstance(entry.get(block), dict):
                entry[block] = {key: value for key, value in entry[block].items() if key in keys}
        if isinstance(entry.get("file_name"), str):
            entry["file_name"] = file_name(self.directory / entry["file_name"], project)
        return entry

    def unread(self, name: str, entry: Mapping[str, Any]) -> list[str]:
        """The keys, as `name.key`, that `entry` does not have any more."""
        read = [path for path, _ in leaves(dict(entry))]
        return [".".join((name, *path)) for path, _ in leaves(self.entries[name]) if path not in read]

    def missing(self, name: str) -> Path | None:
        """The file that the entry names and that is not there."""
        given = self.entries[name].get("file_name")
        path = self.directory / given if isinstance(given, str) else None
        return path if path is not None and not path.exists() else None


def find_registry(dataset_dir: Value | None, names: Sequence[str], source: ImportedFile) -> Registry | None:
    """The dataset_info.json that a config with this `dataset_dir` means, None where there is none.

    Where several could be meant, it is the one that has most of `names`. A config that does not say its
    directory, or says one that is gone, means none without any of them; that may then lie beside the config.
    """
    directory = str(dataset_dir.value) if dataset_dir is not None else "data"
    if directory.startswith((ONLINE, REMOTE)):
        return None
    found = [
        Registry(read_source(path, source.here), path.parent, root)
        for path, root in source.finds(str(Path(directory, DATASETS))).items()
    ]
    sure = bool(found) and (dataset_dir is not None or not names)
    found = found or [
        Registry(read_source(path, source.here), root, root, guessed=True)
        for path, root in source.finds(DATASETS).items()
    ]
    if not sure:
        found = [registry for registry in found if any(name in registry.entries for name in names)]
    return max(found, key=lambda registry: sum(name in registry.entries for name in names), default=None)


def has_media(entry: Mapping[str, Any]) -> bool:
    """Whether rows of a local file name pictures, videos or sounds, which lie in files of their own."""
    columns = entry.get("columns")
    named = isinstance(columns, dict) and any(columns.get(column) for column in _MEDIA)
    return named and "file_name" in entry


@dataclass(frozen=True)
class TakenOver:
    """A whole dataset_info.json as registrations of a project.

    missing: names whose file is not there; ignored: keys that LLaMA-Factory does not have, as `name.key`,
    left out; with_media: names of data with pictures, videos or sounds, which start from media_dir.
    findings: what is left out, and values that are wrong.
    """

    datasets: Registered
    missing: tuple[str, ...]
    ignored: tuple[str, ...]
    with_media: tuple[str, ...]
    media_dir: str
    findings: tuple[Finding, ...]


def registry_at(path: Path) -> Path | None:
    """The dataset_info.json that `path` is, or that lies in that directory; None where it is none."""
    if (path / DATASETS).is_file():
        return path / DATASETS
    return path if _is_registry(path) else None


def _is_registry(path: Path) -> bool:
    """Whether a file is one, by its name or, whatever its name, by what most of its entries say."""
    if path.name == DATASETS:
        return True
    if path.suffix != ".json" or not path.is_file() or path.stat().st_size > MAX_BYTES:
        return False
    try:
        data = from_json(path.read_bytes())
    except ValueError:
        return False
    entries = list(data.values()) if isinstance(data, dict) else []
    good = sum(isinstance(entry, dict) and _names_data(entry) for entry in entries)
    return 0 < len(entries) <= 2 * good


def take_over(path: Path, project: Project) -> TakenOver:
    """The registrations of a dataset_info.json, for `project`; what is no dataset is a finding.

    Raises QtuneError where the file is no registry, or no entry of it is a dataset.
    """
    file = read_source(path, Path.cwd())
    fix = f"name LLaMA-Factory's own {DATASETS}, or a data file"
    if file.keys is None:
        raise QtuneError("is not a mapping of names", where=file.display, fix=fix)
    registry = Registry(file, path.absolute().parent)
    read = {name: registry.entry(name, project) for name in registry.entries}
    entries = {name: entry for name, entry in read.items() if entry is not None and not holds(entry)}
    if not entries:
        raise QtuneError("no entry of it names data", where=file.display, fix=fix)
    left_out = [_left_out(name, read[name] is not None, file) for name in read if name not in entries]
    wrong = [finding for name, entry in entries.items() for finding in _wrong_values(name, entry, file)]
    return TakenOver(
        entries,
        missing=tuple(name for name in entries if registry.missing(name)),
        ignored=tuple(key for name, entry in entries.items() for key in registry.unread(name, entry)),
        with_media=tuple(name for name, entry in entries.items() if has_media(entry)),
        media_dir=file_name(registry.directory, project, project.root),
        findings=(*left_out, *wrong),
    )


def _left_out(name: str, secret: bool, file: ImportedFile) -> Finding:
    message, fix = "is left out: it names no data", "give it a file_name, if it should be a dataset"
    if secret:
        message = "is left out: it holds a password or token, and registrations are shared"
        fix = "take that out: HF_TOKEN or the hub's own login answers where it trains"
    return Finding("warning", name, message, fix, file.origin(name))


def _names_data(entry: Mapping[str, Any]) -> bool:
    return any(isinstance(entry.get(key), str) for key in SOURCES)


def _wrong_values(name: str, entry: Mapping[str, Any], file: ImportedFile) -> list[Finding]:
    fix = "correct it in data/datasets.yaml"
    return [
        Finding("warning", f"{name}.{key}", wrong, fix, file.origin(name, key))
        for key, value in entry.items()
        if value is not None and (wrong := problem(dataset_keys()[key], value))
    ]
