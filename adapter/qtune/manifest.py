"""A config, where each value came from and what was made of it, as JSON that can be read back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from qtune import __version__
from qtune.errors import QtuneError
from qtune.machine.hardware import Hardware
from qtune.values import Config, Layer, Origin, RenderedFile, Value

FILE = "qtune.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """What a rendered directory was made from, and the SHA-256 of each of its files."""

    config: Config
    hardware: Hardware
    files: Mapping[str, str]


def make(config: Config, hardware: Hardware, files: Iterable[RenderedFile]) -> Manifest:
    return Manifest(config, hardware, {file.name: digest(file.text.encode()) for file in files})


def digest(content: bytes) -> str:
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
        "files": dict(manifest.files),
    }


def to_text(manifest: Manifest) -> str:
    return json.dumps(to_plain(manifest), indent=1, ensure_ascii=False) + "\n"


def from_text(text: str, display: str) -> Manifest:
    """Raises QtuneError where the text is no manifest of this schema version."""
    fix = "render it again: `qtune render PRESET`"
    try:
        plain = json.loads(text)
        version = plain["schema_version"]
        if version != SCHEMA_VERSION:
            raise QtuneError(f"was written by another qtune (schema {version})", where=display, fix=fix)
        values = {
            tuple(item["key"]): Value(item["value"], Origin(item["layer"], item["file"], item["line"]))
            for item in plain["config"]
        }
        layers = tuple(Layer(item["name"], {}, item["file"], item["sha256"]) for item in plain["layers"])
        return Manifest(
            Config(plain["preset"], values, layers), Hardware(**plain["hardware"]), plain["files"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise QtuneError(f"is not what qtune wrote ({error})", where=display, fix=fix) from None
