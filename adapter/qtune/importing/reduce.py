"""An import reduced to what its preset has to say beside the preset `base`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.importing.parts import Translation, refused
from qtune.schema import NULL_IS_A_VALUE, arguments
from qtune.values import KeyPath, Value

# What `base` adds to any training: a stop saves a checkpoint, and what is learnt stays the same.
_HARMLESS = ("train", "enable_jit_checkpoint")


def reduce(part: Translation, base: Mapping[KeyPath, Value], *, complete: bool, unset: Value) -> Translation:
    """`part` without what holds anyway, and with null for what `base` sets and the original does not.

    complete: whether the original is a whole LLaMA-Factory config, in which what it leaves out has the
    library's default; else `base` keeps its say. unset: a null with the origin of such a value.
    """
    values: dict[KeyPath, Value] = {}
    problems = Translation()
    for path, value in part.values.items():
        if value.value is None and path[-1] not in NULL_IS_A_VALUE:
            problems += _lost_null(path, value)
            if path in base and not _is_default(path, base[path].value):
                values[path] = value
        elif not _holds_anyway(path, value.value, base):
            values[path] = value
    if complete:
        for path, value in base.items():
            if path[0] != "train" or path in part.values or path == _HARMLESS:
                continue
            if not _is_default(path, value.value):
                values[path] = unset
    return Translation(values, part.datasets, part.notes, (*part.findings, *problems.findings))


def _holds_anyway(path: KeyPath, value: Any, base: Mapping[KeyPath, Value]) -> bool:
    if path in base:
        return _same(base[path].value, value)
    return _is_default(path, value)


def _is_default(path: KeyPath, value: Any) -> bool:
    return path[0] == "train" and _same(arguments()[path[1]].default, value)


def _same(one: Any, other: Any) -> bool:
    """Equal, and not merely as 1 and true are."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _lost_null(path: KeyPath, value: Value) -> Translation:
    """A null that says something else than leaving the argument out, which is what null is in a preset."""
    argument = arguments()[path[1]]
    if argument.default is None:
        return Translation()
    fix = "take the line out of the original, or write the value"
    message = "is null; in a preset that leaves it out, and the library's default is "
    return refused(path[1], f"{message}{argument.default!r}", fix, value.origin)
