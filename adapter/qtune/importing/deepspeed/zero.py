"""Translating DeepSpeed's own JSON: zero_optimization to the `zero` block, the other keys beside it."""

from __future__ import annotations

from dataclasses import replace

from qtune.config.names import did_you_mean
from qtune.files import leaves
from qtune.importing.deepspeed import engine
from qtune.importing.deepspeed.file import AUTO, Beside, DeepSpeedFile
from qtune.importing.parts import Note, Translation, noted, refused, warned
from qtune.importing.retype import retyped
from qtune.schema import known_argument, problem, zero_keys
from qtune.values import Value


def translate(file: DeepSpeedFile, train: Translation, *, whole: bool) -> Translation:
    """The `zero` and the `deepspeed` block, and the arguments that only the file sets.

    train: the arguments of the config that names the file, none for a file on its own; whole: whether that is
    a whole LLaMA-Factory config.
    """
    beside = Beside(train, whole)
    part = _zero_block(file)
    for key, value in file.data.items():
        if key != "zero_optimization" and value is not None:
            part += engine.key(file, key, value, beside)
    part = _auto_at_once(part, file)
    if not file.stage:
        message = "ZeRO is off: it trains as plain data parallel, without DeepSpeed"
        if any(path[0] == "deepspeed" for path in part.values):
            message = "ZeRO is off: DeepSpeed runs for what `deepspeed:` says, and shards nothing"
        part += noted("zero_optimization.stage", message, file.origin("zero_optimization", "stage"))
    if whole and "gradient_clipping" not in file.data:
        message = "is missing, so that the original does not clip gradients; qtune clips at `max_grad_norm`"
        part += warned("gradient_clipping", message, "max_grad_norm: 0 keeps clipping off", file.origin())
    if whole and train.train("bf16") and "bf16" not in file.data:
        message = "is missing in the original; qtune writes it as bf16 says in the arguments"
        part += noted("bf16", message, file.origin())
    return part


def _auto_at_once(part: Translation, file: DeepSpeedFile) -> Translation:
    """One note for all that is auto, which in most files is half of it."""
    keys = [note.key for note in part.notes if note.message == AUTO]
    others = [note for note in part.notes if note.message != AUTO]
    if keys:
        others.append(Note(", ".join(keys), AUTO, file.origin()))
    return replace(part, notes=tuple(others))


def _zero_block(file: DeepSpeedFile) -> Translation:
    block = file.data.get("zero_optimization")
    if not isinstance(block, dict) or not block:
        return Translation({("zero", "stage"): Value(0, file.origin())})
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
    return part
