"""Translating other toolkits' configs, flat or with `model`, `training` and `data` blocks, to arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from qtune.config.aliases import aliases
from qtune.config.blocks import blocks
from qtune.config.kl import KL_BETA
from qtune.config.project import Project
from qtune.files import dump_yaml
from qtune.importing.datasets import register_file
from qtune.importing.parts import Translation, noted, refused
from qtune.importing.source import ImportedFile
from qtune.importing.toolkits.data import NamedData, registered
from qtune.importing.toolkits.table import Reading
from qtune.values import KeyPath, Origin, Value

_DATA = {
    "data_path": "dataset",
    "train_file": "dataset",
    "train_path": "dataset",
    "eval_data_path": "eval_dataset",
    "validation_file": "eval_dataset",
    "eval_file": "eval_dataset",
}
_LORA = ("use_lora", "use_peft")
_BITS = {"load_in_4bit": 4, "load_in_8bit": 8}
_ZERO = ("use_deepspeed", "deepspeed_stage")
_NAME = "dataset_name"
_OWN = (*_DATA, *_LORA, *_BITS, *_ZERO, KL_BETA)
# The same in both, but known to LLaMA-Factory under another name.
_RENAMED = {"validation_split": "val_size", "deepspeed_config": "deepspeed"}


def has_its_own(keys: Mapping[str, Any]) -> bool:
    """Whether one of these keys or blocks is another toolkit's, and none of LLaMA-Factory's."""
    nested = any(isinstance(keys.get(block), dict) for block in ("model", "training", "lora", "peft"))
    return nested or any(key in keys for key in _OWN)


def flatten(source: ImportedFile) -> tuple[dict[str, Value], Translation]:
    """(the keys of every block side by side, each with its place; a note on each that was renamed).

    A name that two blocks have with one meaning stays with its block, so that none is lost.
    """
    keys: dict[str, Value] = {}
    part = Translation()
    for path, value in _inside(source.keys or {}, source):
        shown = ".".join(path)
        for name, item in _meant(path, value.value).items():
            if name in keys and keys[name].value != item:
                keys[shown] = value
                continue
            keys[name] = Value(item, value.origin)
            if name != path[-1]:
                part += noted(shown, f"`{name}: {dump_yaml(item)}`", value.origin)
        if not _meant(path, value.value):
            part += noted(shown, f"left out: {dump_yaml(value.value)} is what holds anyway", value.origin)
    return keys, part


def _inside(
    block: Mapping[str, Any], source: ImportedFile, above: KeyPath = ()
) -> Iterator[tuple[KeyPath, Value]]:
    """Each key by its path; blocks within blocks are entered too."""
    for key, item in block.items():
        path = (*above, key)
        if isinstance(item, dict) and key in blocks() and "zero_optimization" not in item:
            yield from _inside(item, source, path)
        else:
            yield path, Value(item, source.origin(*path))


def _meant(path: KeyPath, given: Any) -> dict[str, Any]:
    """What a key says by its block's table, under its own name where that has nothing on it."""
    name = path[-1]
    found = blocks()[path[-2]].get(name, name) if len(path) > 1 else name
    if not isinstance(found, dict):
        return {found: given}
    for value, says in found.items():
        if value == given and isinstance(value, bool) == isinstance(given, bool):
            return dict(says)
    return {".".join(path): given}


def translate(
    keys: Mapping[str, Value], source: ImportedFile, project: Project
) -> tuple[dict[str, Value], Translation]:
    """(what is LLaMA-Factory's argument under its own name or an alias, the part for everything else).

    `kl_beta` is in neither: it depends on both, see `qtune.importing.kl`.
    """
    left: dict[str, Value] = {}
    part = Translation()
    names = {**aliases(), **_RENAMED}
    reading = Reading({}, source, project)
    for key, value in keys.items():
        given, origin = value.value, value.origin
        if given is None:
            part += noted(key, "left out: it is null", origin)
        elif key in _DATA:
            part += _data(key, value, reading)
        elif key == _NAME:
            part += registered(key, [NamedData(str(given), origin)], reading)
        elif key in _LORA and isinstance(given, bool):
            left["finetuning_type"] = Value("lora" if given else "full", origin)
            part += noted(key, f"`finetuning_type: {left['finetuning_type'].value}`", origin)
        elif key in _BITS and isinstance(given, bool):
            part += _quantized(key, given, origin)
        elif key in names:
            # even where LLaMA-Factory has an argument of that name: its max_length is for generating
            left[names[key]] = value
            part += noted(key, f"`{names[key]}` in LLaMA-Factory", origin)
        elif key not in (*_ZERO, KL_BETA):
            left[key] = value
    return left, part + _zero(keys)


def _data(key: str, value: Value, reading: Reading) -> Translation:
    """One file, or several, or a hub's id, which is two words with a slash between."""
    given = value.value
    if isinstance(given, list) or re.fullmatch(r"[\w-][\w.-]*/[\w-]+", str(given)):
        names = given if isinstance(given, list) else [given]
        return registered(key, [NamedData(str(name), value.origin) for name in names], reading, _DATA[key])
    return register_file(key, value, reading.source, reading.project, _DATA[key])


def _quantized(key: str, given: bool, origin: Origin) -> Translation:
    if not given:
        return noted(key, "left out: it is off", origin)
    part = Translation({("train", "quantization_bit"): Value(_BITS[key], origin)})
    return part + noted(key, f"`quantization_bit: {_BITS[key]}`", origin)


def _zero(keys: Mapping[str, Value]) -> Translation:
    use, stage = (keys.get(key) for key in _ZERO)
    if use is not None and use.value is False:
        notes = [noted(key, "left out: DeepSpeed is off", keys[key].origin) for key in _ZERO if key in keys]
        return sum(notes, Translation())
    if stage is not None and stage.value in (0, 1, 2, 3):
        part = Translation({("zero", "stage"): Value(stage.value, stage.origin)})
        part += noted("deepspeed_stage", f"`stage: {stage.value}` under `zero:`", stage.origin)
        if use is not None:
            part += noted("use_deepspeed", "DeepSpeed is on where `zero:` has a stage", use.origin)
        return part
    given = stage or use
    if given is None:
        return Translation()
    message = f"DeepSpeed is on, but with no stage of 1, 2 or 3: {dump_yaml(given.value)}"
    return refused("deepspeed_stage", message, "set deepspeed_stage in the original", given.origin)
