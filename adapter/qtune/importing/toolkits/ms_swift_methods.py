"""Which stage an ms-swift training is of: its preference methods and their losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.errors import QtuneError
from qtune.files import dump_yaml
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.toolkits.table import Reading, becomes
from qtune.values import Value

_STAGES: Mapping[str, Mapping[str, Any]] = {
    "dpo": {"stage": "dpo"},
    "orpo": {"stage": "dpo", "pref_loss": "orpo"},
    "simpo": {"stage": "dpo", "pref_loss": "simpo"},
    "kto": {"stage": "kto"},
    "rm": {"stage": "rm"},
    "ppo": {"stage": "ppo"},
}


def method(reading: Reading) -> str:
    """The preference method: SimPO is written to args.json as cpo with its loss."""
    named = str(reading.plain("rlhf_type", ""))
    return "simpo" if named == "cpo" and reading.plain("loss_type") in ("simpo", ["simpo"]) else named


def rlhf_type(key: str, value: Value, reading: Reading) -> Translation:
    found = method(reading)
    if found not in _STAGES:
        raise QtuneError(
            f"trains with `{found}`, which LLaMA-Factory does not have",
            where=value.origin.place,
            fix=f"keep ms-swift for it; LLaMA-Factory has {', '.join(_STAGES)}",
        )
    return becomes(key, value, _STAGES[found])


def task_type(key: str, value: Value, reading: Reading) -> Translation:
    # a reward model is a classifier with one class to it
    if value.value in ("causal_lm", None) or reading.plain("rlhf_type") == "rm":
        return noted(key, "left out: models that write are the only kind", value.origin)
    raise QtuneError(
        f"trains a model of the kind `{value.value}`, which LLaMA-Factory does not have",
        where=value.origin.place,
        fix="keep ms-swift for it; LLaMA-Factory trains models that write, and reward models",
    )


def loss_type(key: str, value: Value, reading: Reading) -> Translation:
    losses = value.value if isinstance(value.value, list) else [value.value]
    if method(reading) == "simpo" or losses == ["kto"]:
        return noted(key, "left out: the method says it", value.origin)
    if len(losses) == 1 and losses[0] in ("sigmoid", "hinge", "ipo"):
        return becomes(key, value, {"pref_loss": losses[0]})
    message = f"LLaMA-Factory has no loss {dump_yaml(value.value)}"
    return warned(key, message, "set pref_loss in the preset: sigmoid, hinge or ipo", value.origin)


def cpo_alpha(key: str, value: Value, reading: Reading) -> Translation:
    if method(reading) == "simpo":
        return becomes(key, value, {"pref_ftx": value.value})
    return noted(key, "left out: it counts in CPO and SimPO alone", value.origin)
