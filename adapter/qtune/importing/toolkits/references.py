"""`${key}` in a config, as OmegaConf writes it, resolved from the config's other keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from qtune.values import KeyPath, Value

_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def resolved(keys: Mapping[KeyPath, Value]) -> dict[KeyPath, Value]:
    """The keys with each reference as what it refers to; one that refers to nothing stays as it is."""
    return {path: replace(value, value=_resolved(value.value, keys)) for path, value in keys.items()}


def referred(keys: Mapping[KeyPath, Value]) -> set[KeyPath]:
    """The paths that other keys refer to."""
    texts = " ".join(str(value.value) for value in keys.values())
    return {tuple(name.split(".")) for name in _REFERENCE.findall(texts)}


def _resolved(given: Any, keys: Mapping[KeyPath, Value], depth: int = 0) -> Any:
    if isinstance(given, dict):
        return {name: _resolved(item, keys, depth) for name, item in given.items()}
    if isinstance(given, list):
        return [_resolved(item, keys, depth) for item in given]
    if not isinstance(given, str) or depth > 9:  # a circle of references
        return given
    whole = _REFERENCE.fullmatch(given)
    if whole and (found := keys.get(tuple(whole[1].split(".")))):
        return _resolved(found.value, keys, depth + 1)

    def text(match: re.Match[str]) -> str:
        found = keys.get(tuple(match[1].split(".")))
        return match[0] if found is None else str(_resolved(found.value, keys, depth + 1))

    return _REFERENCE.sub(text, given)
