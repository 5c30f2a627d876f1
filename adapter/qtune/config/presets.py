"""Presets: finding them in their sources, reading them, following `extends`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from qtune.config.entries import PRESETS
from qtune.config.names import did_you_mean, quoted, valid_name
from qtune.config.sources import Source, built_in
from qtune.errors import QtuneError, printable
from qtune.files import Document, leaves, read_yaml
from qtune.machine.cards import find_card, near_cards
from qtune.values import KeyPath, Layer, Origin, Value

BASE = "base"
MAX_EXTENDS = 100
DEFAULT = "lora"
BLOCKS = ("train", "zero", "deepspeed", "launch")
_TEXT_KEYS = ("about", "group", "when", "speed", "fits", "step_down")
# The groups of the built-in presets in the order in which they are listed; others' own come after them.
_GROUPS = ("everyday", "style", "sft", "memory", "stages", "methods")
# What gives a terminal orders, wherever such a text is shown; tabs and line breaks do not.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
KEYS = (*_TEXT_KEYS, "extends", *BLOCKS)


@dataclass(frozen=True)
class Preset:
    """One preset file: its words for the catalogue, its parents and the layer of its own values.

    name: by which it is reached, `team/lora` where another source's `lora` comes first.
    """

    name: str
    source: Source
    extends: tuple[str, ...]
    extends_at: str
    layer: Layer
    about: str = ""
    group: str = ""
    when: str = ""
    speed: str = ""
    fits: str = ""
    step_down: str | None = None

    def fits_in(self, memory: float) -> bool:
        """Whether `fits` is within `memory` GB of GPU memory: all of '6-12 GB', more than the 16 of '>16 GB'.

        A preset that does not say is in none.
        """
        numbers = _gigabytes(self.fits)
        if not numbers:
            return False
        return memory > numbers[-1] if self.fits.startswith(">") else memory >= numbers[-1]


class PresetStore:
    """The presets of an ordered list of sources; the first source that has a name wins.

    `team/lora` is the one of the source `team`, whichever wins.

    sources: the project's, in order; the built-in ones come after them, as the source `qtune`.
    """

    def __init__(self, sources: Sequence[Source], project_root: Path) -> None:
        self._sources = {source.name: source for source in (*sources, built_in())}
        self._project_root = project_root
        self._read: dict[str, Preset] = {}

    @cached_property
    def _listed(self) -> dict[str, tuple[set[str], dict[Path, str]]]:
        """By source, what `Source.presets` finds there."""
        return {source.name: source.presets() for source in self._sources.values()}

    @cached_property
    def _names(self) -> dict[str, set[str]]:
        """By source, the names of its presets."""
        return {source: names - {BASE} for source, (names, _) in self._listed.items()}

    def names(self) -> list[str]:
        """Every preset but `base`, which lies under all of them and is none itself."""
        return sorted({name for names in self._names.values() for name in names})

    def odd_files(self) -> list[QtuneError]:
        """What lies among the presets of a source and is none, a line for each."""
        return [
            QtuneError(
                f"{what}, and is no preset",
                where=source.display(path, self._project_root).replace("\n", "\\n"),
                fix="take it out, or give it another name",
            )
            for source in self._sources.values()
            for path, what in sorted(self._listed[source.name][1].items())
        ]

    def shadowed(self) -> list[str]:
        """The presets that only their source's name reaches: `team/lora`, in the order of the sources."""
        first: set[str] = set()
        found = []
        for source, names in self._names.items():
            found += [f"{source}/{name}" for name in sorted(names & first)]
            first |= names
        return found

    def knows(self, name: str) -> bool:
        """Whether `name`, or `source/name`, is a preset's."""
        source, slash, bare = name.rpartition("/")
        if not slash:
            return name in self.names()
        return source in self._sources and bare in self._names[source]

    def catalogue(self) -> list[Preset]:
        """All presets that can be read, in the order of the catalogue."""
        good = (self.load(name) for name in self.names() if name not in self.broken)
        return sorted(good, key=catalogue_order)

    @cached_property
    def broken(self) -> dict[str, QtuneError]:
        """By name, the presets that cannot be read, or of which one that they extend cannot."""
        found = {}
        for name in self.names():
            try:
                self.chain(name)
            except QtuneError as error:
                found[name] = error
        return found

    def load(self, name: str, asked_by: str | None = None) -> Preset:
        """The preset called `name`, or `source/name`.

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
        if len(path) > MAX_EXTENDS:
            raise QtuneError(
                f"`extends` is followed further than {MAX_EXTENDS} presets",
                where=preset.extends_at,
                fix="extend one that comes earlier",
            )
        for named in preset.extends:
            parent = self.load(named, preset.extends_at)
            if parent.name in path:
                circle = " → ".join((*path[path.index(parent.name) :], parent.name))
                shadowed = [other for other in self.shadowed() if other.endswith(f"/{parent.name}")]
                fix = f", or extend {' or '.join(f'`{other}`' for other in shadowed)}" if shadowed else ""
                raise QtuneError(
                    f"`extends` runs in a circle: {circle}",
                    where=preset.extends_at,
                    fix=f"take one of these `extends` out{fix}",
                )
            if parent.name not in ordered:
                self._follow(parent, path, ordered)
        ordered.setdefault(preset.name, preset)

    def _load(self, name: str, asked_by: str | None) -> Preset:
        asked, slash, bare = name.rpartition("/")
        for part in (asked, bare) if slash else (bare,):
            valid_name(part, "preset")
        if slash and asked not in self._sources:
            raise QtuneError(
                f"there is no source `{asked}` of presets",
                where=asked_by,
                fix=did_you_mean(asked, self._sources) or f"there are {quoted(self._sources)}",
            )
        first = None
        for source in self._sources.values():
            path = source.directory / f"{bare}.yaml"
            if not source.has(path, self._project_root):
                continue
            first = first or source
            if not slash or source.name == asked:
                reached = bare if source is first else name
                if reached in self._read:
                    return self._read[reached]
                document = self._document(source, path)
                preset = self._parse(reached, source, document)
                if not source.own:
                    from qtune.config.others import refuse_more_than_training  # most have none of others

                    refuse_more_than_training(document, preset.layer)
                return preset
        names = self._names[asked] if slash else self.names()
        hint = did_you_mean(bare, names)
        unlisted = self._project_root / PRESETS / f"{bare}.yaml"
        if not slash and unlisted.is_file():
            hint = f"list its directory in qtune.yaml: `presets: [{PRESETS}, …]`."
        listing = "`qtune presets` lists them"
        raise QtuneError(
            f"there is no preset `{name}`", where=asked_by, fix=f"{hint} {listing}" if hint else listing
        )

    def _document(self, source: Source, path: Path) -> Document:
        display = source.display(path, self._project_root)
        try:
            return read_yaml(path, display)
        except OSError as error:
            fix = "see to it that you may read it, or take it out"
            raise QtuneError(f"cannot be read ({error.strerror})", where=display, fix=fix) from None

    @staticmethod
    def _parse(name: str, source: Source, document: Document) -> Preset:
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
        layer = layer_of(name, document)
        return Preset(name, source, tuple(parents), document.where("extends"), layer, **words)


def mapping(document: Document, keys: Sequence[str], kind: str) -> dict[str, Any]:
    """The document's top level.

    Raises QtuneError where it is no mapping, or holds a key of no meaning or a control character.
    """
    if not isinstance(document.data, dict):
        raise QtuneError(
            f"a {kind} is a mapping of keys", where=document.display, fix=f"start with `{keys[-1]}:`"
        )
    for key, value in document.data.items():
        if key not in keys:
            # the commonest slip: LLaMA-Factory's arguments at the top level, as in its own files
            fix = (
                _of_nested_configs(key, value)
                or did_you_mean(key, keys)
                or f"LLaMA-Factory's arguments go under `train:`; a {kind} has {quoted(keys)}"
            )
            raise QtuneError(f"unknown key `{key}`", where=document.where(key), fix=fix)
        if key in BLOCKS and value is not None and not isinstance(value, dict):
            raise QtuneError(
                f"`{key}` takes a mapping of keys",
                where=document.where(key),
                fix="make its file a preset with `qtune import FILE -n NAME`, and extend that"
                if key == "deepspeed" and isinstance(value, str)
                else f"indent its keys below `{key}:`",
            )
    for path, text in _texts(document.data):
        if found := _CONTROL.search(text):
            raise QtuneError(
                f"holds a control character ({printable(found[0])})",
                where=document.where(*path),
                fix="take that character out",
            )
    return document.data


def _of_nested_configs(key: str, value: Any) -> str | None:
    """What to do about `lora: {r: 8}` or `model.name: x`; None where it is no such block."""
    from qtune.config.blocks import argument_of

    paths = [(key, name) for name in value] if isinstance(value, dict) else [tuple(key.split("."))]
    meant = {path: argument_of(path) for path in paths if len(path) > 1}
    said = [f"`{'.'.join(path)}` is `{argument}`" for path, argument in meant.items() if argument]
    return f"{', '.join(said)}: write that under `train:`" if said else None


def _texts(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Each text in a plain value, keys too, with where it stands."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inside in value.items():
            yield (*path, key), key
            yield from _texts(inside, (*path, key))
    elif isinstance(value, list):
        for index, inside in enumerate(value):
            yield from _texts(inside, (*path, str(index)))


def layer_of(name: str, document: Document) -> Layer:
    """The blocks of a preset or project file as a layer, each leaf with its line."""
    blocks = {key: document.data[key] for key in BLOCKS if document.data.get(key)}
    values = {
        path: Value(value, Origin(name, document.display, document.lines.get(path)))
        for path, value in leaves(blocks)
    }
    return Layer(name, values, document.display, document.sha256)


def fitting(presets: Sequence[Preset], memory: str) -> list[Preset]:
    """Those within one GPU, such as `24GB` or `A10G`, by their own words. Raises as `memory_size` does."""
    size = memory_size(memory)
    return [preset for preset in presets if preset.fits_in(size)]


def memory_size(memory: str) -> float:
    """The GB of `24GB`, or those that a card is sold as; raises QtuneError where that is neither, or 0."""
    size = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:GB)?", memory, re.IGNORECASE)
    if size is not None and float(size[1]):
        return float(size[1])
    if size is None and (card := find_card(memory)):
        return card.sold
    like = "".join(f" or {name}" for name in near_cards(memory))
    raise QtuneError(f"`{memory}` is no size of memory", where="--fits", fix=f"write e.g. --fits 24GB{like}")


def catalogue_order(preset: Preset) -> tuple[int, str, tuple[float, float, str]]:
    """By group; in each those that need the most memory first, those that do not say last."""
    known = _GROUPS.index(preset.group) if preset.group in _GROUPS else len(_GROUPS) + (not preset.group)
    return known, preset.group, _memory_order(preset)


def _gigabytes(fits: str) -> list[float]:
    """The numbers of '6-12 GB'; of a card's name what it is sold as."""
    if fits[:1].isalpha() and (card := find_card(fits)):
        return [card.sold]
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", fits)]


def _memory_order(preset: Preset) -> tuple[float, float, str]:
    """By `fits`: '>16 GB', '6-12 GB', '<4 GB'; the larger need first."""
    numbers = _gigabytes(preset.fits)
    if not numbers:
        return (1.0, 0.0, preset.name)
    high = float("inf") if preset.fits.startswith(">") else numbers[-1]
    low = 0.0 if preset.fits.startswith("<") else numbers[0]
    return (-high, -low, preset.name)
