"""Translating DeepSpeed's keys beside zero_optimization to the `deepspeed` block and to arguments.

What is an argument too stands there alone, since transformers refuses a DeepSpeed config that says otherwise;
all else is kept as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qtune.config.names import did_you_mean
from qtune.files import dump_yaml, leaves
from qtune.importing.deepspeed.file import AUTO, TABLES, Beside, DeepSpeedFile, agreed
from qtune.importing.parts import Translation, noted, refused, warned
from qtune.importing.retype import retyped
from qtune.schema import Argument, deepspeed_keys, known_argument, problem
from qtune.secrets.text import holds
from qtune.units import counted
from qtune.values import KeyPath, Origin, Value

_REPLACES = {
    "optimizer": "takes the place of the Trainer's optimizer: `optim` counts for nothing",
    "scheduler": "takes the place of the Trainer's schedule: `lr_scheduler_type` counts for nothing",
}
_UNTYPED = "left out: nobody fills this auto in, so that DeepSpeed's default holds"


def key(file: DeepSpeedFile, name: str, value: Any, beside: Beside) -> Translation:
    """One top-level key."""
    origin = file.origin(name)
    if name in TABLES["arguments"]:
        return agreed(name, TABLES["arguments"][name], value, beside, origin)
    if name == "train_batch_size":
        return _train_batch_size(file, value, beside, origin)
    if name in ("bf16", "bfloat16", "fp16") and isinstance(value, dict):
        return _precision(file, name, value, beside)
    if name not in deepspeed_keys():
        return _unread(name, name, deepspeed_keys(), origin)
    if value == TABLES["written_anyway"].get(name, deepspeed_keys()[name].default):
        return noted(name, f"left out: {dump_yaml(value)} holds anyway", origin)
    if isinstance(value, dict) and _is_off(value, deepspeed_keys()[name].keys or {}):
        return noted(name, "left out: it is off", origin)
    if name in TABLES["printing"] and (name == "steps_per_print" or not file.stage):
        return noted(name, "left out: it changes what DeepSpeed prints, not the training", origin)
    if name in _REPLACES and isinstance(value, dict):
        return noted(name, _REPLACES[name], origin) + _replacing(file, name, value, beside)
    return _kept(file, (name,), value)


def _kept(file: DeepSpeedFile, path: KeyPath, value: Any) -> Translation:
    """A key, or a block of them, as it is."""
    part = Translation()
    for keys, inside in leaves({path[-1]: value}, path[:-1]):
        if inside is not None:
            part += _leaf(keys, inside, file.origin(*keys))
    return part


def _leaf(path: KeyPath, value: Any, origin: Origin) -> Translation:
    shown = ".".join(path)
    argument = known_argument(("deepspeed", *path))
    if argument is None:
        above = known_argument(("deepspeed", *path[:-1]))
        return _unread(shown, path[-1], above.keys if above and above.keys else {}, origin)
    if holds({path[-1]: value}):
        message = "is a secret, which has no place in a preset: it is not copied"
        return warned(shown, message, "give it to the training through its own environment variable", origin)
    own = argument.name == path[-1]  # below a mapping of the library's own anything may stand
    if own and value == "auto" and problem(argument, value):
        return noted(shown, _UNTYPED, origin)
    new = retyped(argument, value) if own else value
    wrong = problem(argument, new if own else {path[-1]: new})
    if wrong:
        return refused(shown, wrong, "correct it in the original", origin)
    part = Translation({("deepspeed", *path): Value(new, origin)})
    if path[-1] in TABLES["paths"] and not Path(str(new)).is_absolute():
        part += noted(shown, "starts from the project's directory", origin)
    return part


def _unread(shown: str, name: str, known: Mapping[str, Any], origin: Origin) -> Translation:
    """A key that DeepSpeed takes without a word and does nothing with."""
    message = "left out: DeepSpeed reads no such key"
    near = None if name.startswith("_") or name in TABLES["unread"] else did_you_mean(name, known)
    return warned(shown, message, near, origin) if near else noted(shown, message, origin)


def _train_batch_size(file: DeepSpeedFile, value: Any, beside: Beside, origin: Origin) -> Translation:
    name = "train_batch_size"
    if value == "auto":
        return noted(name, AUTO, origin)
    micro, accumulation = (
        file.data.get(theirs) if beside.says(argument) is None else beside.says(argument)
        for theirs, argument in list(TABLES["arguments"].items())[:2]
    )
    step = micro * accumulation if isinstance(micro, int) and isinstance(accumulation, int) else 0
    if isinstance(value, int) and isinstance(micro, int) and step and value % step == 0:
        made = f"{counted(micro, 'row')}, {accumulation} accumulated, on {counted(value // step, 'process')}"
        return noted(name, f"left out: it follows from {made}", origin)
    fix = "write auto there, and set per_device_train_batch_size and gradient_accumulation_steps"
    return refused(name, f"{dump_yaml(value)} does not follow from the batch of one process", fix, origin)


def _precision(file: DeepSpeedFile, key: str, value: Mapping[str, Any], beside: Beside) -> Translation:
    name, origin = "fp16" if key == "fp16" else "bf16", file.origin(key)
    enabled = value.get("enabled", False)
    if beside.says(name) is None and enabled is not True:
        part = noted(f"{key}.enabled", f"left out: qtune decides `{name}` for each machine", origin)
    else:
        part = agreed(f"{key}.enabled", name, enabled, beside, origin)
    if enabled is False or beside.says(name) is False:
        return part  # the rest counts for nothing
    other = "bf16" if name == "fp16" else "fp16"
    if enabled is True and beside.says(other) is None:
        part += Translation({("train", other): Value(False, origin)})  # base's auto may decide for both
    known = deepspeed_keys()[name].keys or {}
    for inner, setting in value.items():
        default = known[inner].default if inner in known else None
        if inner != "enabled" and setting != default:
            part += _leaf((name, inner), setting, file.origin(key, inner))
    return part


def _replacing(file: DeepSpeedFile, block: str, value: Mapping[str, Any], beside: Beside) -> Translation:
    """An optimizer or a schedule: as it is, but for the numbers that an argument has to say."""
    part = Translation()
    for name, inside in value.items():
        if name != "params" or not isinstance(inside, dict):
            part += _kept(file, (block, name), inside)
            continue
        for param, setting in inside.items():
            if setting is None:
                continue
            at = file.origin(block, name, param)
            said = list(_said(f"{block}.{name}.{param}", TABLES[block].get(param), setting, beside, at))
            part = sum(said, part)
            part += _kept(file, (block, name, param), "auto" if said else setting)
    return part


def _said(shown: str, argument: Any, value: Any, beside: Beside, origin: Origin) -> Iterator[Translation]:
    """What is said of a number that an argument has to say: nothing of `auto`, nor of any other number."""
    if argument is None or value == "auto":
        return
    if not argument:
        yield noted(shown, "auto: the trainer counts the steps, and refuses any other number", origin)
    elif isinstance(argument, str):
        yield agreed(shown, argument, value, beside, origin)
    elif isinstance(value, list) and len(value) == len(argument):
        for name, item in zip(argument, value, strict=True):
            yield agreed(shown, name, item, beside, origin)


def _is_off(block: Mapping[str, Any], known: Mapping[str, Argument]) -> bool:
    """Whether a block of DeepSpeed's settings has no effect."""
    if "enabled" in block:
        return block["enabled"] is False
    on_by_default = [key for key, argument in known.items() if argument.default is True]
    return all(value in (False, None) and key not in on_by_default for key, value in block.items())
