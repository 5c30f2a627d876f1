"""The built-in table of common models' config.json, for use with no network and no files.

models.json holds, for each shape, the hub ids that have it (instruct and chat variants left out where only
the ending differs) and the fields that bear on shapes. A checkpoint that is stored in another precision than
its variants comes after them, and is found only by its whole id.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# Words of a name that say how a model was trained on or stored, never its shape.
_VARIANTS = {"instruct", "chat", "it", "pt", "base", "hf", "thinking", "unsloth", "128k", "32k", "bf16"}
_METHODS = {"awq": "awq", "gptq": "gptq", "bnb": "bitsandbytes", "fp8": "fp8"}
_BITS = {"4bit": 4, "int4": 4, "8bit": 8, "int8": 8, "fp8": 8, "awq": 4}


@dataclass(frozen=True)
class Entry:
    """One model of the table. id: of the hub; quantization and its bits: as the name asked for says."""

    id: str
    config: Mapping[str, Any]
    quantization: str | None = None
    bits: int | None = None


def find(name: str) -> Entry | None:
    """The entry of a hub's id, whatever its owner, capitals and words such as `-Instruct`, `-bnb-4bit`."""
    words = _words(name)
    found = _by_id().get(name.lower()) or _table().get(_key(words))
    if found is None:
        return None
    hub_id, config = found
    method = next((method for word, method in _METHODS.items() if word in words), None)
    bits = next((_BITS[word] for word in words if word in _BITS), None) if method else None
    return Entry(hub_id, config, method, bits)


def near(name: str) -> str | None:
    """The hub id of the table that `name` most resembles, None where none is near."""
    found = difflib.get_close_matches(_key(_words(name)), _table(), n=1, cutoff=0.6)
    return _table()[found[0]][0] if found else None


@cache
def _by_id() -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    text = Path(__file__).with_name("models.json").read_text(encoding="utf-8")
    return {
        hub_id.lower(): (hub_id, entry["config"]) for entry in json.loads(text) for hub_id in entry["ids"]
    }


@cache
def _table() -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    """By what a name comes to without its variants; the first of a kind counts."""
    table: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for hub_id, config in _by_id().values():
        table.setdefault(_key(_words(hub_id)), (hub_id, config))
    return table


def _words(name: str) -> list[str]:
    """`qwen2.5`, `7b`, `instruct` of `Qwen/Qwen2.5-7B-Instruct`; ModelScope's cache has `___` for dots."""
    last = name.rstrip("/").rpartition("/")[2].lower().replace("___", ".")
    return [word for word in re.split(r"[-\s]", last) if word]


def _key(words: list[str]) -> str:
    return "-".join(
        word for word in words if word not in _VARIANTS and word not in _METHODS and word not in _BITS
    )
