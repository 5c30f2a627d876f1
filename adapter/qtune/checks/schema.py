"""Findings about keys and values: LLaMA-Factory's arguments, DeepSpeed's keys, qtune's launch keys."""

from __future__ import annotations

from collections.abc import Mapping

from qtune.config.aliases import aliases
from qtune.config.auto import AUTO
from qtune.config.kl import KL_BETA, KL_BETA_HINT
from qtune.config.names import did_you_mean
from qtune.files import dump_yaml
from qtune.schema import (
    SUPPORTED,
    Argument,
    arguments,
    deepspeed_keys,
    known_argument,
    known_keys,
    launch_keys,
    problem,
    zero_keys,
)
from qtune.secrets.names import is_secret
from qtune.secrets.text import holds
from qtune.values import Config, Finding, KeyPath, Value

# qtune writes these itself: they follow from other values.
_OWNED = {
    "output_dir": "qtune gives each run its own directory: set `runs:` in qtune.yaml, or --name",
    "dataset_dir": "qtune writes dataset_info.json itself: register datasets in data/datasets.yaml",
    "deepspeed": "qtune writes DeepSpeed's JSON itself: put its `zero_optimization` keys under `zero:`,"
    " the others under `deepspeed:`",
}

# Numbers of things of which there must be one; the steps and processes are computed from them.
_COUNTS = (
    ("launch", "nproc_per_node"),
    ("launch", "nnodes"),
    ("train", "per_device_train_batch_size"),
    ("train", "gradient_accumulation_steps"),
    ("train", "cutoff_len"),
)

_UNKNOWN = {
    "train": f"LLaMA-Factory {SUPPORTED} has no such argument",
    "zero": "DeepSpeed's zero_optimization has no such key",
    "deepspeed": "DeepSpeed has no such key",
    "launch": "`launch` has no such key",
}

_LOG_IN = "take it out, and give it to the training through the hub's own login or environment variable"
_NO_ADDRESS = "take it out: HF_TOKEN, `hf auth login` or git's credential helper answers where it trains"


def check_schema(config: Config) -> list[Finding]:
    """A finding for each unknown key, wrong type and wrong choice."""
    found = (_check(path, value) for path, value in config.values.items())
    return [finding for finding in found if finding is not None]


def _check(path: KeyPath, value: Value) -> Finding | None:
    block, *keys = path
    key = keys[0]
    shown = ".".join(keys) if block == "train" else ".".join(path)
    if block == "train" and key in _OWNED:
        return Finding("error", shown, "is not set by hand", _OWNED[key], value.origin)
    argument = known_argument(path)
    if argument is None:
        parent = known_argument(path[:-1]) if len(keys) > 1 else None
        known, unknown = (parent.keys, keys[-1]) if parent and parent.keys else (known_keys(block), key)
        fix = _in_a_block(shown) if block == "train" and "." in shown else None
        return Finding("error", shown, _UNKNOWN[block], fix or _instead(block, unknown, known), value.origin)
    # a rendered file is shared, committed and attached to bug reports
    if (block == "train" and is_secret(key)) or holds({keys[-1]: value.value}):
        in_text = not any(map(is_secret, keys))
        what = "holds a password or token" if in_text else "is a secret"
        fix = _NO_ADDRESS if in_text else _LOG_IN
        return Finding("error", shown, f"{what}, which has no place in a rendered file", fix, value.origin)
    # below a mapping of the library's own, such as lr_scheduler_kwargs, anything may stand
    whole = value.value if argument.name == keys[-1] else {keys[-1]: value.value}
    if path == ("train", "template") and value.value == AUTO:
        return None  # the model check says so
    wrong = problem(argument, whole)
    if not wrong and path in _COUNTS and value.value < 1:
        return Finding("error", shown, f"is {value.value}", "use 1 or more", value.origin)
    if not wrong:
        return None
    from qtune.config.renames import renamed_value  # most configs need none of that table

    change = renamed_value(key, value.value) if block == "train" else None
    return Finding("error", shown, wrong, str(change) if change else _how_to_set(argument), value.origin)


def _instead(block: str, key: str, known: Mapping[str, Argument]) -> str:
    if block == "train":
        from qtune.config.renames import renamed

        if key in aliases():
            return f"`{key}` is `{aliases()[key]}` in LLaMA-Factory"
        if key in renamed():
            return str(renamed()[key])
        if key == KL_BETA:
            return KL_BETA_HINT
        for other, theirs in (("zero", zero_keys()), ("deepspeed", deepspeed_keys())):
            if key in theirs:
                return f"`{key}` is DeepSpeed's: put it under `{other}:`"
        if key in launch_keys():
            return f"put `{key}` under `launch:`"
        from qtune.config.blocks import argument_of

        if meant := argument_of((key,)):
            return f"did you mean `{meant}`?"
    elif block == "deepspeed" and key == "zero_optimization":
        return "put its keys under `zero:`"
    elif key in arguments():
        return f"`{key}` is LLaMA-Factory's: put it under `train:`"
    elif block == "deepspeed" and key in zero_keys():
        return f"`{key}` is zero_optimization's: put it under `zero:`"
    elif block == "zero" and key in deepspeed_keys():
        return f"`{key}` is none of zero_optimization's: put it under `deepspeed:`"
    return did_you_mean(key, known) or "take it out"


def _in_a_block(shown: str) -> str | None:
    """What `lora.r` and the like are, None where no nested config has such a key."""
    from qtune.config.blocks import argument_of

    meant = argument_of(tuple(shown.split(".")))
    if meant is None:
        return None
    return KL_BETA_HINT if meant == KL_BETA else f"`{shown}` is `{meant}` in LLaMA-Factory"


def _how_to_set(argument: Argument) -> str:
    if argument.default is None:
        return "correct the value, or take the line out"
    return f"correct the value, or take the line out for the default, {dump_yaml(argument.default)}"
