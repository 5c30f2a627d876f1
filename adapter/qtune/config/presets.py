"""Presets: finding them in their sources, reading them, following `extends`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune import resources
from qtune.config.names import did_you_mean, valid_name
from qtune.errors import QtuneError
from qtune.files import Document, leaves, read_yaml
from qtune.values import Layer, Origin, Value

BASE = "base"
DEFAULT = "lora"
BLOCKS = ("train", "zero", "launch")
_TEXT_KEYS = ("about", "when", "speed", "fits", "step_down")
KEYS = (*_TEXT_KEYS, "extends", *BLOCKS)


@dataclass(frozen=True)
class Preset:
    """One preset file: its words for the catalogue, its parents and the layer of its own values."""

    name: str
    extends: tuple[str, ...]
    extends_at: str
    layer: Layer
    about: str = ""
    when: str = ""
    speed: str = ""
    fits: str = ""
    step_down: str | None = None


class PresetStore:
    """The presets of an ordered list of directories; the first directory that has a name wins.

    sources: the project's preset directories, in order; the built-in ones come after them.
    """

    def __init__(self, sources: Sequence[Path], project_root: Path) -> None:
        self._sources = [*sources, resources.root() / "presets"]
        self._project_root = project_root
        self._read: dict[str, Preset] = {}

    def names(self) -> list[str]:
        """Every preset but `base`, which lies under all of them and is none itself."""
        found = {path.stem for source in self._sources for path in source.iterdir() if path.suffix == ".yaml"}
        return sorted(found - {BASE})

    def catalogue(self) -> list[Preset]:
        """All presets, those that need the most memory first, then those that do not say, by name."""
        return sorted((self.load(name) for name in self.names()), key=lambda preset: _memory_order(preset))

    def load(self, name: str, asked_by: str | None = None) -> Preset:
        """The preset called `name`.

        asked_by: the place (`file:line`) whose `extends` or `step_down` names it, for the error.
        Raises QtuneError for an unknown or broken preset.
        """
        if name not in self._read:
            self._read[name] = self._load(name, asked_by)
        return self._read[name]

    def chain(self, name: str) -> list[Preset]:
        """`base`, then the presets along `extends`, lowest precedence first, `name` itself last.

        Where two parents share an ancestor, that ancestor counts once, at its first place.
        Raises QtuneError that names a circle.
        """
        ordered: dict[str, Preset] = {BASE: self.load(BASE)}
        self._follow(self.load(name), (), ordered)
        return list(ordered.values())

    def _follow(self, preset: Preset, path: tuple[str, ...], ordered: dict[str, Preset]) -> None:
        path = (*path, preset.name)
        for parent in preset.extends:
            if parent in path:
                circle = " → ".join((*path[path.index(parent) :], parent))
                raise QtuneError(
                    f"`extends` runs in a circle: {circle}",
                    where=preset.extends_at,
                    fix="take one of these `extends` out",
                )
            if parent not in ordered:
                self._follow(self.load(parent, preset.extends_at), path, ordered)
        ordered.setdefault(preset.name, preset)

    def _load(self, name: str, asked_by: str | None) -> Preset:
        valid_name(name, "preset")
        for source in self._sources:
            path = source / f"{name}.yaml"
            if path.is_file():
                return self._parse(name, read_yaml(path, resources.display(path, self._project_root)))
        hint = did_you_mean(name, self.names())
        listing = "`qtune presets` lists them"
        raise QtuneError(
            f"there is no preset `{name}`", where=asked_by, fix=f"{hint} {listing}" if hint else listing
        )

    @staticmethod
    def _parse(name: str, document: Document) -> Preset:
        data = mapping(document, KEYS, "preset")
        extends = data.get("extends") or []
        parents = [extends] if isinstance(extends, str) else extends
        if not isinstance(parents, list) or not all(isinstance(parent, str) for parent in parents):
            raise QtuneError(
                "`extends` takes the name of a preset or a list of names", where=document.where("extends")
            )
        words: dict[str, Any] = {}
        for key in _TEXT_KEYS:
            value = data.get(key)
            if value is not None and not isinstance(value, str):
                raise QtuneError(f"`{key}` takes text", where=document.where(key), fix="put it in quotes")
            if value is not None:
                words[key] = " ".join(value.split())
        return Preset(name, tuple(parents), document.where("extends"), layer_of(name, document), **words)


def mapping(document: Document, keys: Sequence[str], kind: str) -> dict[str, Any]:
    """The document's top level; raises QtuneError where it is no mapping or holds a key of no meaning."""
    if not isinstance(document.data, dict):
        raise QtuneError(
            f"a {kind} is a mapping of keys", where=document.display, fix=f"start with `{keys[-1]}:`"
        )
    for key, value in document.data.items():
        if key not in keys:
            # the commonest slip: LLaMA-Factory's arguments at the top level, as in its own files
            fix = (
                did_you_mean(key, keys)
                or f"LLaMA-Factory's arguments go under `train:`; a {kind} has {_listed(keys)}"
            )
            raise QtuneError(f"unknown key `{key}`", where=document.where(key), fix=fix)
        if key in BLOCKS and value is not None and not isinstance(value, dict):
            raise QtuneError(
                f"`{key}` takes a mapping of keys",
                where=document.where(key),
                fix=f"indent its keys below `{key}:`",
            )
    return document.data


def layer_of(name: str, document: Document) -> Layer:
    """The blocks of a preset or project file as a layer, each leaf with its line."""
    blocks = {key: document.data[key] for key in BLOCKS if document.data.get(key)}
    values = {
        path: Value(value, Origin(name, document.display, document.lines.get(path)))
        for path, value in leaves(blocks)
    }
    return Layer(name, values, document.display, document.sha256)


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(f"`{key}`" for key in keys)


def _memory_order(preset: Preset) -> tuple[float, float, str]:
    """By `fits`: '>16 GB', '6-12 GB', '<4 GB'; the larger need first."""
    numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", preset.fits)]
    if not numbers:
        return (1.0, 0.0, preset.name)
    high = float("inf") if preset.fits.startswith(">") else numbers[-1]
    low = 0.0 if preset.fits.startswith("<") else numbers[0]
    return (-high, -low, preset.name)
