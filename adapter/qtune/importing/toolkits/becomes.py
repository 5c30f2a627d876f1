"""What a reader function makes of a key: arguments, with the note that names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.files import dump_yaml
from qtune.importing.parts import Translation, noted
from qtune.values import Origin, Value


def becomes(key: str, said: Mapping[str, Any], origin: Origin) -> Translation:
    """LLaMA-Factory's arguments that `key` is; none where what it says holds anyway."""
    words = ", ".join(f"`{name}: {dump_yaml(item)}`" for name, item in said.items())
    part = Translation({("train", name): Value(item, origin) for name, item in said.items()})
    return part + noted(key, words or "left out: it is what holds anyway", origin)


def becomes_zero(key: str, path: tuple[str, ...], value: Value) -> Translation:
    """A key of the preset's `zero` block, by its path in it."""
    part = Translation({("zero", *path): value})
    return part + noted(key, f"`{'.'.join(path)}: {dump_yaml(value.value)}` under `zero:`", value.origin)
