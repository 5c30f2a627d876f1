"""The manifest of a rendered directory: its config with all origins, and its files, as JSON."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from qtune import __version__
from qtune.config.names import is_name
from qtune.errors import QtuneError
from qtune.files import from_json, read_text
from qtune.machine.hardware import Hardware
from qtune.values import (
    ACCELERATE,
    DATASETS,
    JOB,
    LAUNCH,
    TRAIN,
    ZERO,
    Config,
    KeyPath,
    Layer,
    Origin,
    RenderedFile,
    Value,
)

T = TypeVar("T")

FILE = "qtune.json"
SCHEMA_VERSION = 1
NAMES = frozenset({TRAIN, ZERO, DATASETS, ACCELERATE, JOB, LAUNCH})
"""The files that a rendered directory can have, beside its manifest."""
NEWER = "was written by a newer qtune"
_AGAIN = "render it again with `qtune render`, or leave out that run"


@dataclass(frozen=True)
class Manifest:
    """What a rendered directory was made from.

    files: the SHA-256 of each of its files; datasets: its dataset_info.json entries by name.
    """

    config: Config
    hardware: Hardware
    files: Mapping[str, str]
    datasets: Mapping[str, Any]


def make(config: Config, hardware: Hardware, files: Sequence[RenderedFile]) -> Manifest:
    """The manifest of the files that were rendered for `hardware`."""
    hashes = {file.name: digest(file.text.encode()) for file in files}
    datasets: dict[str, Any] = next((json.loads(file.text) for file in files if file.name == DATASETS), {})
    return Manifest(config, hardware, hashes, datasets)


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def to_plain(manifest: Manifest) -> dict[str, Any]:
    """The manifest as plain JSON values, without clock or machine in them."""
    return {
        "schema_version": SCHEMA_VERSION,
        "qtune": __version__,
        "preset": manifest.config.name,
        "hardware": asdict(manifest.hardware),
        "layers": [
            {"name": layer.name, "file": layer.file, "sha256": layer.sha256}
            for layer in manifest.config.layers
        ],
        "config": [
            {"key": list(path), "value": value.value, **asdict(value.origin)}
            for path, value in manifest.config.values.items()
        ],
        "datasets": dict(manifest.datasets),
        "files": dict(manifest.files),
    }


def to_text(manifest: Manifest) -> str:
    """The manifest as the text of its file."""
    return json.dumps(to_plain(manifest), indent=1, ensure_ascii=False) + "\n"


def is_newer(plain: Any, key: str = "schema_version", ours: int = SCHEMA_VERSION) -> bool:
    """Whether a newer qtune wrote it: the version that stands at `key` is above `ours`."""
    version = plain.get(key) if isinstance(plain, dict) else None
    return isinstance(version, int) and version > ours


def read(path: Path, display: str) -> Manifest:
    """The manifest in a file, as `from_text` has it; raises QtuneError as that does, and for no such file."""
    try:
        return from_text(read_text(path), display)
    except OSError as error:
        raise QtuneError(f"cannot be read ({error.strerror})", where=display, fix=_AGAIN) from None
    except UnicodeDecodeError as error:
        raise QtuneError(f"is not what qtune wrote ({error})", where=display, fix=_AGAIN) from None


def from_text(text: str, display: str) -> Manifest:
    """The manifest that `to_text` wrote; raises QtuneError where the text is none of this schema version.

    display: the file, as the error shows it. The layers come back without their values.
    """
    try:
        plain = from_json(text)
        if is_newer(plain):
            raise QtuneError(f"{NEWER} (schema {plain['schema_version']})", where=display, fix="update qtune")
        version = plain["schema_version"]
        if version != SCHEMA_VERSION:
            raise QtuneError(f"was written by another qtune (schema {version})", where=display, fix=_AGAIN)
        values = {
            _path(item["key"]): Value(item["value"], _origin(item["layer"], item["file"], item["line"]))
            for item in plain["config"]
        }
        if not set(_of(dict, plain["files"])) <= NAMES:
            raise ValueError(f"a file {min(set(plain['files']) - NAMES)!r}")
        layers = tuple(
            Layer(_of(str, item["name"]), {}, _or_none(str, item["file"]), _or_none(str, item["sha256"]))
            for item in plain["layers"]
        )
        if not is_name(name := _of(str, plain["preset"])):
            raise ValueError(f"{name!r} is no preset's name")
        config = Config(name, values, layers)
        datasets = {name: _of(dict, entry) for name, entry in _of(dict, plain["datasets"]).items()}
        return Manifest(config, _hardware(plain["hardware"]), plain["files"], datasets)
    except (ValueError, KeyError, TypeError) as error:
        raise QtuneError(f"is not what qtune wrote ({error})", where=display, fix=_AGAIN) from None


def _of(kind: type[T], value: Any) -> T:
    if type(value) is not kind:
        raise TypeError(f"{value!r} where {kind.__name__} belongs")
    return value


def _or_none(kind: type[T], value: Any) -> T | None:
    return None if value is None else _of(kind, value)


def _path(key: Any) -> KeyPath:
    path = tuple(_of(str, part) for part in _of(list, key))
    if len(path) < 2:
        raise ValueError(f"{key!r} is no key")
    return path


def _origin(layer: Any, file: Any, line: Any) -> Origin:
    return Origin(_of(str, layer), _or_none(str, file), _or_none(int, line))


def _hardware(plain: Any) -> Hardware:
    found = Hardware(**plain)
    for name, value in asdict(Hardware()).items():
        if not isinstance(getattr(found, name), (int, float) if isinstance(value, float) else type(value)):
            raise TypeError(f"hardware.{name} is {getattr(found, name)!r}")
    if not re.fullmatch(r"[\w.-]*", found.card, re.ASCII):
        raise ValueError(f"hardware.card is {found.card!r}")
    return found
