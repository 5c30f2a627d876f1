"""Translating DeepSpeed's own JSON to the `zero` block.

A preset holds `zero_optimization` alone. The other keys have to agree with what qtune writes into that file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from qtune.config.names import did_you_mean
from qtune.files import dump_yaml, leaves, table_beside
from qtune.importing.parts import Note, Translation, noted, refused, warned
from qtune.importing.retype import retyped
from qtune.schema import arguments, known_argument, problem, zero_keys
from qtune.units import counted
from qtune.values import KeyPath, Origin, Value

_TABLES: Mapping[str, Any] = table_beside(__file__, "zero.yaml")
_AUTO = "left out: auto, as qtune writes it too"


@dataclass(frozen=True)
class DeepSpeedFile:
    """A DeepSpeed config: its content, and where it and each of its keys stand."""

    data: Mapping[str, Any]
    lines: Mapping[KeyPath, int]
    display: str

    def origin(self, *path: str) -> Origin:
        return Origin("original", self.display, self.lines.get(path))


@dataclass(frozen=True)
class _Beside:
    """The config that names the file: what DeepSpeed's batch and precision have to agree with.

    whole: whether what it leaves out has the library's default; else the file's own value is taken for it.
    """

    train: Translation
    whole: bool

    def says(self, name: str) -> Any:
        """The argument's value, None where nothing is said of it."""
        return self.train.train(name, _TABLES["defaults"][name] if self.whole else None)


def translate(file: DeepSpeedFile, train: Translation, *, whole: bool) -> Translation:
    """The `zero` block, and the arguments that only the file sets.

    train: the arguments of the config that names the file, none for a file on its own; whole: whether that is
    a whole LLaMA-Factory config.
    """
    beside = _Beside(train, whole)
    part = _zero_block(file)
    for key, value in file.data.items():
        if key != "zero_optimization" and value is not None:
            part += _key(file, key, value, beside)
    part = _auto_at_once(part, file)
    if whole and "gradient_clipping" not in file.data:
        message = "is missing, so that the original does not clip gradients; qtune clips at `max_grad_norm`"
        part += warned("gradient_clipping", message, "max_grad_norm: 0 keeps clipping off", file.origin())
    if whole and train.train("bf16") and "bf16" not in file.data:
        message = "is missing in the original; qtune writes it as bf16 says in the arguments"
        part += noted("bf16", message, file.origin())
    return part


def _auto_at_once(part: Translation, file: DeepSpeedFile) -> Translation:
    """One note for all that is auto, which in most files is half of it."""
    keys = [note.key for note in part.notes if note.message == _AUTO]
    others = [note for note in part.notes if note.message != _AUTO]
    if keys:
        others.append(Note(", ".join(keys), _AUTO, file.origin()))
    return replace(part, notes=tuple(others))


def _zero_block(file: DeepSpeedFile) -> Translation:
    block = file.data.get("zero_optimization")
    if not isinstance(block, dict) or not block:
        off = Translation({("zero", "stage"): Value(0, file.origin())})
        return noted("zero_optimization", "is missing: DeepSpeed shards nothing", file.origin()) + off
    part = Translation()
    for keys, value in leaves(block):
        path, origin, shown = ("zero", *keys), file.origin("zero_optimization", *keys), ".".join(keys)
        if value is None:
            continue
        argument = known_argument(path)
        if argument is None:
            fix = did_you_mean(keys[0], zero_keys()) or "take it out of the original"
            part += refused(shown, "DeepSpeed's zero_optimization has no such key", fix, origin)
            continue
        new = retyped(argument, value)
        wrong = problem(argument, new if argument.name == keys[-1] else {keys[-1]: new})
        if wrong:
            part += refused(shown, wrong, "correct it in the original", origin)
        else:
            part += Translation({path: Value(new, origin)})
    if not block.get("stage"):
        message = "ZeRO is off: it trains as plain data parallel, without DeepSpeed"
        part += noted("zero_optimization.stage", message, file.origin("zero_optimization", "stage"))
    return part


def _key(file: DeepSpeedFile, key: str, value: Any, beside: _Beside) -> Translation:
    origin = file.origin(key)
    if key.startswith("_") or key in _TABLES["unread"]:
        return noted(key, "left out: DeepSpeed reads no such key", origin)
    if key in _TABLES["arguments"]:
        return _argument(key, _TABLES["arguments"][key], value, beside, origin)
    if key == "train_batch_size":
        return _train_batch_size(file, value, beside, origin)
    if key in ("bf16", "bfloat16", "fp16") and isinstance(value, dict):
        return _precision(key, value, beside, origin)
    if key == "optimizer" and isinstance(value, dict):
        return _optimizer(file, value, beside)
    if key in _TABLES["printing"]:
        return noted(key, "left out: it changes what DeepSpeed prints, not the training", origin)
    if key in _TABLES["same_anyway"] and value == _TABLES["same_anyway"][key]:
        return noted(key, f"left out: {dump_yaml(value)} holds anyway", origin)
    if isinstance(value, dict) and _is_off(value):
        return noted(key, "left out: it is off", origin)
    if key == "scheduler":
        fix = "take the block out, and set lr_scheduler_type and warmup_steps in the training arguments"
        return refused(key, "qtune's ZeRO JSON has no scheduler of its own", fix, origin)
    message = "qtune's ZeRO JSON cannot say this; a preset holds zero_optimization's keys alone"
    return refused(key, message, "take it out, if the training does without it", origin)


def _argument(shown: str, name: str, value: Any, beside: _Beside, origin: Origin) -> Translation:
    """A value that is an argument's too: `auto`, equal to it, or that argument where nothing else says it."""
    if value == "auto":
        return noted(shown, _AUTO, origin)
    wrong = problem(arguments()[name], value)
    if wrong:
        return refused(shown, wrong, "correct it in the original", origin)
    said = beside.says(name)
    if said is None:
        part = Translation({("train", name): Value(value, origin)})
        return part + noted(shown, f"`{name}: {dump_yaml(value)}` in LLaMA-Factory", origin)
    if value == said:
        return noted(shown, f"left out: it agrees with `{name}`", origin)
    message = f"is {dump_yaml(value)}, but `{name}` is {dump_yaml(said)}"
    return refused(shown, message, f"write auto there, or the same as `{name}`", origin)


def _train_batch_size(file: DeepSpeedFile, value: Any, beside: _Beside, origin: Origin) -> Translation:
    key = "train_batch_size"
    if value == "auto":
        return noted(key, _AUTO, origin)
    micro, accumulation = (
        file.data.get(theirs) if beside.says(name) is None else beside.says(name)
        for theirs, name in list(_TABLES["arguments"].items())[:2]
    )
    step = micro * accumulation if isinstance(micro, int) and isinstance(accumulation, int) else 0
    if isinstance(value, int) and isinstance(micro, int) and step and value % step == 0:
        made = f"{counted(micro, 'row')}, {accumulation} accumulated, on {counted(value // step, 'process')}"
        return noted(key, f"left out: it follows from {made}", origin)
    fix = "write auto there, and set per_device_train_batch_size and gradient_accumulation_steps"
    return refused(key, f"{dump_yaml(value)} does not follow from the batch of one process", fix, origin)


def _precision(key: str, value: Mapping[str, Any], beside: _Beside, origin: Origin) -> Translation:
    name = "fp16" if key == "fp16" else "bf16"
    enabled = value.get("enabled", False)
    if beside.says(name) is None and enabled is not True:
        return noted(key, f"left out: qtune decides `{name}` for each machine", origin)
    part = _argument(f"{key}.enabled", name, enabled, beside, origin)
    if enabled is False or beside.says(name) is False:
        return part  # the rest counts for nothing
    other = "bf16" if name == "fp16" else "fp16"
    if beside.says(other) is None:
        part += Translation({("train", other): Value(False, origin)})  # base's auto may decide for both
    known = _TABLES[name]
    for inner, setting in value.items():
        if inner != "enabled" and setting != known.get(inner, False):
            message = f"is {dump_yaml(setting)}; qtune writes {dump_yaml(known.get(inner, False))}"
            part += refused(f"{key}.{inner}", message, "take it out, if the training does without it", origin)
    return part


def _optimizer(file: DeepSpeedFile, block: Mapping[str, Any], beside: _Beside) -> Translation:
    """DeepSpeed's AdamW with the arguments' own numbers is what the Trainer makes without the block."""
    origin = file.origin("optimizer")
    kind = block.get("type")
    optim = beside.train.train("optim", "adamw_torch")
    if kind != "AdamW" or not optim.startswith("adamw_torch"):
        fix = "take the block out, and name the optimizer with `optim` in the training arguments"
        return refused("optimizer", f"qtune's ZeRO JSON has no optimizer ({kind}) of its own", fix, origin)
    part = noted("optimizer", "left out: AdamW is the Trainer's own", origin)
    for name, value in (block.get("params") or {}).items():
        shown, at = f"optimizer.params.{name}", file.origin("optimizer", "params", name)
        if name == "betas" and value != "auto" and isinstance(value, list) and len(value) == 2:
            for number, beta in enumerate(value, 1):
                part += _argument(shown, f"adam_beta{number}", beta, beside, at)
        elif name in _TABLES["optimizer"]:
            part += _argument(shown, _TABLES["optimizer"][name], value, beside, at)
        elif value != "auto":
            part += refused(shown, "qtune's ZeRO JSON cannot say this", "take it out", at)
    return part


def _is_off(block: Mapping[str, Any]) -> bool:
    """Whether a block of DeepSpeed's settings has no effect."""
    if "enabled" in block:
        return block["enabled"] is False
    return all(value in (False, None) for value in block.values())
