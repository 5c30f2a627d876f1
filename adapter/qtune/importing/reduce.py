"""An import reduced to what its preset has to say: what differs from `base`, and what names the method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qtune.importing.parts import Translation, refused
from qtune.render.files import section_of
from qtune.schema import NULL_IS_A_VALUE, arguments, known_argument
from qtune.values import KeyPath, Value

# What `base` adds to any training: a stop saves a checkpoint, and what is learnt stays the same.
_HARMLESS = ("train", "enable_jit_checkpoint")
# What qtune's own presets set beside the arguments of the method: one that is extended later changes it.
_SAID = (
    *("template", "cutoff_len", "packing", "neat_packing", "val_size"),
    *("quantization_bit", "quantization_method", "quantization_type", "double_quantization"),
    *("per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate", "num_train_epochs"),
)


def reduce(
    part: Translation,
    base: Mapping[KeyPath, Value],
    project: Mapping[KeyPath, Value],
    *,
    complete: bool,
    unset: Value,
) -> Translation:
    """`part` without what holds anyway, and with null for what `base` or the project set and it does not.

    What names the method is written although it holds anyway: so the preset reads as what it is, and what it
    extends later does not change that.

    base: its values; project: those of qtune.yaml, which others may change. complete: whether the original is
    a whole LLaMA-Factory config, in which what it leaves out has the library's default; else both keep their
    say. unset: a null with the origin of such a value.
    """
    below = {path[:2]: value.value for path, value in {**base, **project}.items()}
    values: dict[KeyPath, Value] = {}
    problems = Translation()
    for path, value in part.values.items():
        if value.value is None and path[-1] not in NULL_IS_A_VALUE:
            problems += _lost_null(path, value)
            if names_the_method(path) or (path in below and not _is_default(path, below[path])):
                values[path] = value
        elif path in project or names_the_method(path) or not _holds_anyway(path, value.value, base):
            values[path] = Value(_alone(path, value.value, project), value.origin)
    if complete:
        for path, value in below.items():
            if path[0] != "train" or path in part.values or path == _HARMLESS or not known_argument(path):
                continue
            if not _is_default(path, value):
                values[path] = (
                    Value(library_default(path), unset.origin) if path[1] in NULL_IS_A_VALUE else unset
                )
    return Translation(values, part.datasets, part.notes, (*part.findings, *problems.findings))


def names_the_method(path: KeyPath) -> bool:
    """Whether an argument is one by which a training is known, or that qtune's own presets set."""
    return path[0] == "train" and (path[1] in _SAID or section_of(path[1]) == "method")


def _holds_anyway(path: KeyPath, value: Any, base: Mapping[KeyPath, Value]) -> bool:
    if path in base:
        return _same(base[path].value, value)
    return _is_default(path, value)


def _alone(path: KeyPath, value: Any, project: Iterable[KeyPath]) -> Any:
    """A mapping with null for what the project has in it, since mappings merge; other values as they are."""
    if not isinstance(value, dict) or not value:
        return value
    theirs = (leaf[2] for leaf in project if leaf[:2] == path and len(leaf) == 3)
    return {**value, **{key: None for key in theirs if key not in value}}


def library_default(path: KeyPath) -> Any:
    """What the library takes where nothing is said; None for what is no argument."""
    argument = known_argument(path) if path[0] == "train" and len(path) == 2 else None
    return argument.default if argument else None


def _is_default(path: KeyPath, value: Any) -> bool:
    return path[0] == "train" and _same(library_default(path), value)


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
