"""LLaMA-Factory's v1, which has other keys: those of its table that a row cannot say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qtune.errors import QtuneError
from qtune.files import dump_yaml, read_yaml
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.toolkits.data import NamedData, registered
from qtune.importing.toolkits.table import Reading, ReadKey, Toolkit, read_toolkit
from qtune.values import Value

_ITS_OWN = (
    *("model_class", "kernel_config", "quant_config", "dist_config", "init_config", "peft_config"),
    *("train_dataset", "micro_batch_size", "batching_strategy", "sample_backend", "optim_config"),
)
_NAMES = {"target_modules": "lora_target", "modules_to_save": "additional_target"}
_CONVERTERS: Mapping[str, Mapping[str, Any]] = {
    "alpaca": {"formatting": "alpaca"},
    "sharegpt": {"formatting": "sharegpt"},
    "pair": {"formatting": "openai", "ranking": True},
}
_TOLD = {"split": "split", "size": "num_samples"}


def is_v1(keys: Mapping[str, Any]) -> bool:
    """Whether a config is one of v1: its plugins have a `name`."""
    peft = keys.get("peft_config")
    plugin = isinstance(peft, dict) and "name" in peft
    return isinstance(keys.get("model"), str) and (plugin or sum(key in keys for key in _ITS_OWN) > 1)


def v1() -> Toolkit:
    return read_toolkit(__file__, "v1.yaml", "a LLaMA-Factory v1 config", _silent, **_READERS)


def _silent(reading: Reading) -> dict[str, Any]:
    """v1's defaults that depend on other keys."""
    method = reading.plain("peft_config.name")
    said: dict[str, Any] = {} if method else {"finetuning_type": "full"}
    if method == "lora":
        said |= {"lora_rank": 8, "lora_alpha": 16, "lora_dropout": 0.05, "lora_target": "all"}
    if reading.plain("quant_config.quantization_bit"):
        said["double_quantization"] = True
    if reading.plain("global_batch_size") is None:
        said["gradient_accumulation_steps"] = 1
    return said


def _names(key: str, value: Value, reading: Reading) -> Translation:
    """Names in a list, or one, as LLaMA-Factory has them: with commas between."""
    last = key.rpartition(".")[2]
    name = _NAMES.get(last, last)
    names = value.value if isinstance(value.value, list) else [value.value]
    text = ",".join(str(item) for item in names)
    return Translation({("train", name): Value(text, value.origin)}) + noted(
        key, f"`{name}: {text}`", value.origin
    )


def _betas(key: str, value: Value, reading: Reading) -> Translation:
    betas = value.value
    if not isinstance(betas, list) or len(betas) != 2:
        return warned(key, f"is no pair: {dump_yaml(betas)}", "set adam_beta1 and adam_beta2", value.origin)
    values = [Value(beta, value.origin) for beta in betas]
    part = Translation({("train", "adam_beta1"): values[0], ("train", "adam_beta2"): values[1]})
    return part + noted(key, "`adam_beta1` and `adam_beta2`", value.origin)


def _accumulation(key: str, value: Value, reading: Reading) -> Translation:
    """The rows of a step on all processes, of which a preset does not know the number."""
    micro = reading.plain("micro_batch_size", 1)
    message = f"is {value.value} rows on all processes together; a preset has those of one"
    fix = f"set gradient_accumulation_steps to {value.value} / ({micro} x the number of processes)"
    return warned(key, message, fix, value.origin)


def _dataset(key: str, value: Value, reading: Reading) -> Translation:
    """The data sets that a YAML of v1 lists, or the one that the key names itself."""
    target = "dataset" if key == "train_dataset" else "eval_dataset"
    text, origin = str(value.value), value.origin
    if not text.endswith((".yaml", ".yml")):
        return registered(key, [NamedData(text, origin)], reading, target)
    path = reading.source.find(text)
    entries = _entries(path) if path else None
    if entries is None:
        what = f"there is no {text}" if path is None else f"{text} lists no data sets"
        fix = f"put it there, or register the data with `qtune data add` and set `{target}` in the preset"
        return warned(key, what, fix, origin)
    sets, part = [], Translation()
    for name, entry in entries.items():
        told: dict[str, Any] = {ours: entry[theirs] for theirs, ours in _TOLD.items() if theirs in entry}
        converter = entry.get("converter")
        told |= _CONVERTERS.get(str(converter), {})
        sets.append(NamedData(str(entry["path"]), origin, told))
        unknown = [word for word in entry if word not in (*_TOLD, "path", "source", "converter")]
        if converter is not None and converter not in _CONVERTERS:
            unknown.append(f"converter: {converter}")
        if unknown:
            message = f"`{name}` in {text} has what no registration says: {', '.join(unknown)}"
            part += warned(key, message, "look at its entry in data/datasets.yaml", origin)
    return registered(key, sets, reading, target) + part


def _entries(path: Path) -> Mapping[str, Mapping[str, Any]] | None:
    try:
        data = read_yaml(path).data
    except (QtuneError, OSError):
        return None
    ok = isinstance(data, dict) and all(
        isinstance(entry, dict) and "path" in entry for entry in data.values()
    )
    return data if ok else None


_READERS: Mapping[str, ReadKey] = {
    "names": _names,
    "betas": _betas,
    "accumulation": _accumulation,
    "dataset": _dataset,
}
