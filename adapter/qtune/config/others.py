"""What a preset of others may set: training values alone, key by key: the table others.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from qtune.errors import QtuneError
from qtune.files import Document, table_beside
from qtune.values import KeyPath, Layer

_WORD = re.compile(r"[\w.:=,%@+*|&-]+")
_PLACE = re.compile(r"(?!\.\.(?:/|$))[\w.][\w.@+=-]*(?:/(?!\.\.(?:/|$))[\w.@+=-]+)*/?")
_WRONG = {
    "words": "holds more than numbers and plain words",
    "inside": "names no hub's model and no place in the project",
    "auto": "names a place on a disk",
}
_UNDECIDED = "is no training value that qtune knows"


def refuse_more_than_training(document: Document, layer: Layer) -> None:
    """Raises QtuneError, with file and line, where a preset of others sets more than training values.

    What only turns something off (null, false, an empty mapping) is left alone.
    """
    for key in document.data:
        if key not in _table()["preset"]:
            raise _refused(key, _UNDECIDED, document.where(key))
    for path, value in layer.values.items():
        why = why_refused(path, value.value)
        if why is not None:
            shown = ".".join(path[1:] if path[0] == "train" else path)
            raise _refused(shown, why, value.origin.place)


def why_refused(path: KeyPath, value: Any) -> str | None:
    """Why a preset of others may not set the key at `path` to this value; None where it may."""
    if value is None or value is False or value == {}:
        return None
    decisions = _decisions(path[0])
    for end in range(len(path), 1, -1):
        decision = decisions.get(".".join(path[1:end]))
        if decision is not None:
            takes, why = decision
            return None if takes and _fits(takes, value) else why
    return _UNDECIDED


@cache
def _decisions(block: str) -> Mapping[str, tuple[str | None, str]]:
    """By key: what its values may be, None where it is refused, and why one that is not so is refused."""
    table = _table()
    decided: dict[str, tuple[str | None, str]] = {}
    for takes, keys in table["allowed"].get(block, {}).items():
        decided |= {key: (takes, _WRONG.get(takes, "")) for key in keys}
    for why, keys in table["refused"].get(block, {}).items():
        decided |= {key: (None, why) for key in keys}
    return decided


def _fits(takes: str, value: Any) -> bool:
    if takes == "anything":
        return True
    if takes == "auto":
        return bool(value == "auto")
    if isinstance(value, list):
        return all(_fits(takes, item) for item in value)
    if not isinstance(value, str):
        return not isinstance(value, Mapping)
    if takes == "words":
        return bool(_WORD.fullmatch(value))
    return all(_PLACE.fullmatch(part.strip()) for part in value.split(","))


def _refused(key: str, why: str, where: str) -> QtuneError:
    return QtuneError(
        f"`{key}` {why}, which presets from others may not ask for",
        where=where,
        fix="have it taken out, and set it in this project's qtune.yaml where you trust it",
    )


def _table() -> Any:
    return table_beside(__file__, "others.yaml")
