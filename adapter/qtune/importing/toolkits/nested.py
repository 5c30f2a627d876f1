"""Translating other toolkits' configs, flat or with `model`, `training` and `data` blocks, to arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.config.aliases import aliases
from qtune.config.kl import KL_BETA
from qtune.config.project import Project
from qtune.files import dump_yaml
from qtune.importing.datasets import register_file
from qtune.importing.parts import Translation, noted, refused
from qtune.importing.source import ImportedFile
from qtune.values import Origin, Value

# The blocks that a nested config may have.
_BLOCKS = ("model", "training", "data", "lora", "train", "dataset", "optimizer")
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
_OWN = (*_DATA, *_LORA, *_BITS, *_ZERO, KL_BETA)
# The same in both, but known to LLaMA-Factory under another name.
_RENAMED = {"validation_split": "val_size", "deepspeed_config": "deepspeed"}


def has_its_own(keys: Mapping[str, Any]) -> bool:
    """Whether one of these keys or blocks is another toolkit's, and none of LLaMA-Factory's."""
    nested = any(isinstance(keys.get(block), dict) for block in ("model", "training"))
    return nested or any(key in keys for key in _OWN)


def flatten(source: ImportedFile) -> dict[str, Value]:
    """The keys of every block side by side, each with its place."""
    keys: dict[str, Value] = {}
    for block, value in (source.keys or {}).items():
        if block in _BLOCKS and isinstance(value, dict):
            keys |= {key: Value(item, source.origin(block, key)) for key, item in value.items()}
        else:
            keys[block] = Value(value, source.origin(block))
    return keys


def translate(
    keys: Mapping[str, Value], source: ImportedFile, project: Project
) -> tuple[dict[str, Value], Translation]:
    """(what is LLaMA-Factory's argument under its own name or an alias, the part for everything else).

    `kl_beta` is in neither: it depends on both, see `qtune.importing.kl`.
    """
    left: dict[str, Value] = {}
    part = Translation()
    names = {**aliases(), **_RENAMED}
    for key, value in keys.items():
        given, origin = value.value, value.origin
        if given is None:
            part += noted(key, "left out: it is null", origin)
        elif key in _DATA:
            part += register_file(key, value, source, project, _DATA[key])
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
