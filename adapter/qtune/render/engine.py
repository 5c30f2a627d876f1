"""DeepSpeed's top-level keys beside zero_optimization: what qtune writes anyway, and what a config sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qtune.files import leaves
from qtune.machine.hardware import Hardware
from qtune.values import KeyPath

_AUTO = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
_ANYWAY: Mapping[str, Any] = {
    **dict.fromkeys((*_AUTO, "gradient_clipping"), "auto"),
    "zero_allow_untested_optimizer": True,
    "fp16": {
        "enabled": "auto",
        "loss_scale": 0,
        "loss_scale_window": 1000,
        "initial_scale_power": 16,
        "hysteresis": 2,
        "min_loss_scale": 1,
    },
    "bf16": {"enabled": "auto"},
}
# DeepSpeed's CPU Adam spares a GPU's memory; without a GPU it only costs its compilation.
_ON_CPU = {"zero_force_ds_cpu_optimizer": False}


def engine_keys(block: Mapping[str, Any], hardware: Hardware) -> dict[str, Any]:
    """What zero.json holds beside zero_optimization; block: the config's own `deepspeed` keys."""
    return _merged({**_ANYWAY, **(_ON_CPU if hardware.is_cpu else {})}, block)


def set_keys(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Any]]:
    """Of DeepSpeed's JSON each (path, plain value) that is neither zero_optimization's nor written anyway."""
    anyway = {**dict(leaves(dict(_ANYWAY))), **dict(leaves(_ON_CPU))}
    for path, value in leaves({key: value for key, value in data.items() if key != "zero_optimization"}):
        if path not in anyway or anyway[path] != value:
            yield path, value


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
