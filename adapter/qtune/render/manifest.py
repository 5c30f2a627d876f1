"""The manifest of a rendered directory: its config with all origins, and its files, as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qtune import __version__
from qtune.errors import QtuneError
from qtune.files import from_json
from qtune.machine.hardware import Hardware
from qtune.values import DATASETS, Config, Layer, Origin, RenderedFile, Value

FILE = "qtune.json"
SCHEMA_VERSION = 1


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


def from_text(text: str, display: str) -> Manifest:
    """The manifest that `to_text` wrote; raises QtuneError where the text is none of this schema version.

    display: the file, as the error shows it. The layers come back without their values.
    """
    fix = "render it again with `qtune render`, or leave out that run"
    try:
        plain = from_json(text)
        version = plain["schema_version"]
        if version != SCHEMA_VERSION:
            raise QtuneError(f"was written by another qtune (schema {version})", where=display, fix=fix)
        values = {
            tuple(item["key"]): Value(item["value"], Origin(item["layer"], item["file"], item["line"]))
            for item in plain["config"]
        }
        layers = tuple(Layer(item["name"], {}, item["file"], item["sha256"]) for item in plain["layers"])
        config = Config(plain["preset"], values, layers)
        return Manifest(config, Hardware(**plain["hardware"]), plain["files"], plain["datasets"])
    except (ValueError, KeyError, TypeError) as error:
        raise QtuneError(f"is not what qtune wrote ({error})", where=display, fix=fix) from None
