"""Translating LLaMA-Factory's arguments, of this release or an older one, to those of this release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.config.aliases import aliases
from qtune.config.names import did_you_mean
from qtune.config.renames import renamed, renamed_value
from qtune.files import dump_yaml
from qtune.importing.parts import Translation, noted, refused, warned
from qtune.importing.retype import retyped
from qtune.schema import SUPPORTED, arguments, problem
from qtune.secrets.names import is_secret
from qtune.secrets.text import holds
from qtune.values import Origin, Value

ELSEWHERE = ("dataset_dir", "deepspeed")
"""Arguments that become registrations and the `zero` block: `datasets` and `zero` beside this module."""

_MEGATRON = {"tensor_model_parallel_size", "pipeline_model_parallel_size", "expert_model_parallel_size"}
"""With one of these, what nobody knows here is Megatron's: mcore_adapter, an optional package, has it."""

_RESUMED = "it looks into output_dir, and each run has its own: `qtune resume` continues one"

QTUNES_OWN = {
    "output_dir": "left out: qtune gives each run its own directory under `runs:`",
    "overwrite_output_dir": "left out: each run has its own directory, so that none is overwritten",
}
"""Arguments that a preset does not hold, and why that loses nothing."""


def translate(keys: Mapping[str, Value]) -> Translation:
    """The arguments as they are now called and written, each with the place where the original has it.

    keys: a train config's arguments. What nobody knows, and what cannot be said any more, is an error in
    `findings`; every value that changed its name, place or spelling is in `notes`.
    """
    old = {key: value.value for key, value in keys.items()}
    part = Translation()
    # what keeps its name first: a successor is compared with it
    megatron = [key for key in keys if _is_unknown(key)] if _MEGATRON & keys.keys() else []
    for key, value in keys.items():
        if key not in (*ELSEWHERE, *megatron) and not _goes_by_another_name(key, value.value):
            part += _as_it_is(key, value)
    for key, value in keys.items():
        if key not in ELSEWHERE and _goes_by_another_name(key, value.value):
            part += _by_its_new_name(key, value, old, part)
    if megatron:
        message = "are Megatron's, with which LLaMA-Factory trains where USE_MCA=1 is set, and qtune does not"
        fix = "take them out of the original, to train without Megatron"
        part += refused(", ".join(megatron), message, fix, keys[megatron[0]].origin)
    return part


def _is_unknown(key: str) -> bool:
    known = (arguments(), aliases(), renamed(), QTUNES_OWN, ELSEWHERE)
    return not is_secret(key) and not any(key in names for names in known)


def _goes_by_another_name(key: str, value: Any) -> bool:
    return (
        key in renamed()
        or renamed_value(key, value) is not None
        or (key in aliases() and key not in arguments())
    )


def _as_it_is(key: str, value: Value) -> Translation:
    if key in QTUNES_OWN:
        return noted(key, QTUNES_OWN[key], value.origin)
    if key == "resume_from_checkpoint" and str(value.value).lower() == "true":
        return noted(key, f"left out: {_RESUMED}", value.origin)
    if is_secret(key):
        return _not_copied(key, "is a secret", value.origin) if value.value else Translation()
    if key not in arguments():
        near = did_you_mean(key, {**arguments(), **aliases(), **renamed()})
        message = f"neither LLaMA-Factory {SUPPORTED} nor an older release has such an argument"
        fix = "take it out of the original, if the training does without what it does in a fork"
        return refused(key, message, f"{near} Else {fix}" if near else fix, value.origin)
    return _typed(key, value.value, value.origin)


def _not_copied(key: str, what: str, origin: Origin) -> Translation:
    fix = "give it to the training through the hub's own login or environment variable"
    return warned(key, f"{what}, which has no place in a preset: it is not copied", fix, origin)


def _typed(key: str, value: Any, origin: Origin) -> Translation:
    argument = arguments()[key]
    if value is None:
        return Translation({("train", key): Value(None, origin)})
    if holds({key: value}):
        return _not_copied(key, "holds a password or token", origin)
    new = retyped(argument, value)
    wrong = problem(argument, new)
    if wrong:
        return refused(key, wrong, "correct it in the original", origin)
    part = Translation({("train", key): Value(new, origin)})
    if type(new) is not type(value):
        part += noted(key, f"written as {dump_yaml(new)}, which is what is meant", origin)
    return part


def _by_its_new_name(key: str, value: Value, old: Mapping[str, Any], sofar: Translation) -> Translation:
    """The arguments that replace `key`, or its value; sofar: what the original sets beside it."""
    origin = value.origin
    if value.value is None:
        return noted(key, "left out: it is null, and the argument is gone", origin)
    change = renamed_value(key, value.value)
    if change is not None:
        becomes, what, note = change.becomes, str(change), change.note
    elif key in renamed():
        row = renamed()[key]
        becomes, what, note = row.translate(value.value, old), str(row), row.note
    else:
        becomes, what, note = {aliases()[key]: value.value}, f"`{aliases()[key]}` in LLaMA-Factory", ""
    if becomes is None:
        return refused(key, f"{dump_yaml(value.value)} cannot be said any more: {what}", note or what, origin)
    if not becomes:
        what = f"left out: {what}"
    elif change is None:
        for name, new in becomes.items():
            again = renamed_value(name, new)  # an old name with an old value
            if again is not None and again.becomes is not None:
                becomes, what = {**becomes, **again.becomes}, f"{what}; {again}"
    part = noted(key, what, origin)
    for name, new in becomes.items():
        there = sofar.values.get(("train", name))
        typed = _typed(name, new, origin)
        if there is not None and there.value is not None and there.value != typed.train(name):
            if key != "warmup_ratio":
                fix = f"keep one of `{key}` and `{name}` in the original"
                part += refused(key, f"`{name}` ({there.origin.place}) says something else", fix, origin)
                continue
            # transformers training_args.py, __post_init__: the ratio wins
            message = f"wins over warmup_steps: {dump_yaml(there.value)} ({there.origin.place})"
            part += warned(key, message, "set warmup_steps in the preset, where that is not meant", origin)
        part += typed
    return part
