"""Everything known about one key of a config: its value, the layers that set it, and the library's words."""

from __future__ import annotations

from typing import Any

from qtune.config.aliases import aliases
from qtune.config.names import did_you_mean
from qtune.config.presets import BLOCKS
from qtune.errors import QtuneError
from qtune.schema import known_argument, known_keys
from qtune.values import Config, KeyPath


def explain(config: Config, key: str) -> dict[str, Any]:
    """The key as plain values; raises QtuneError for a key that nobody knows."""
    path = _path_of(key)
    argument = known_argument(path)
    if argument is None:
        block = path[0] if path[0] in BLOCKS else "train"
        fix = did_you_mean(path[-1], known_keys(block)) or f"`qtune show {config.name}` lists what it sets"
        raise QtuneError(f"there is no argument `{key}`", fix=fix)
    found = config.find(*path)
    return {
        "key": ".".join(path[1:] if path[0] == "train" else path),
        "set": found is not None,
        "value": found.value if found else (config.block(path[0]).get(path[1]) if len(path) == 2 else None),
        "origin": str(found.origin) if found else None,
        "layers": [
            {"layer": layer.name, "value": value.value, "origin": str(value.origin)}
            for layer in config.layers
            for layer_path, value in layer.values.items()
            if layer_path == path
        ],
        "help": argument.help,
        "types": list(argument.types),
        "default": argument.default,
        "choices": list(argument.choices) if argument.choices else None,
    }


def _path_of(key: str) -> KeyPath:
    parts = tuple(key.split("."))
    return parts if parts[0] in BLOCKS else ("train", aliases().get(parts[0], parts[0]), *parts[1:])
