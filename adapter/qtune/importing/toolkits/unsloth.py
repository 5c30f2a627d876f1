"""Unsloth's YAML configs as LLaMA-Factory's arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.config.project import Project
from qtune.files import dump_yaml, table_beside
from qtune.importing.original import Original
from qtune.importing.parts import Translation, noted
from qtune.importing.source import ImportedFile
from qtune.importing.toolkits.data import NamedData, registered
from qtune.importing.toolkits.table import Reading, read_toolkit
from qtune.importing.toolkits.translate import translate
from qtune.values import Value

_FILE = "unsloth.yaml"
_OF_TRAINING = {"training_type", "train_on_completions"}
_OF_LORA = {"finetune_vision_layers", "finetune_mlp_modules", "use_loftq", "vision_all_linear"}
_CHATS: Mapping[str, Mapping[str, Any]] = {
    "alpaca": {"formatting": "alpaca"},
    "sharegpt": {"formatting": "sharegpt"},
    "chatml": {
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
        },
    },
}


def recognise(source: ImportedFile, project: Project) -> Original | None:
    """A YAML for `unsloth train --config`, None where the file is none."""
    if not (_keys_of("training", source) & _OF_TRAINING or _keys_of("lora", source) & _OF_LORA):
        return None
    toolkit = read_toolkit(
        __file__,
        _FILE,
        "an Unsloth config",
        _silent,
        data=_data,
        format=_format,
        bits=_bits,
        modules=_modules,
        reports=_reports,
    )
    return translate(toolkit, source.values(), source, project)


def _keys_of(block: str, source: ImportedFile) -> set[str]:
    inside = (source.keys or {}).get(block)
    return set(inside) if isinstance(inside, dict) else set()


def _silent(reading: Reading) -> Mapping[str, Any]:
    of_lora: Mapping[str, Any] = table_beside(__file__, _FILE)["lora"]
    return {} if reading.plain("training.training_type") == "full" else of_lora


def _data(key: str, value: Value, reading: Reading) -> Translation:
    told = _CHATS.get(reading.plain("data.format_type"), {})
    names = value.value if isinstance(value.value, list) else [value.value]
    return registered(key, [NamedData(str(name), value.origin, told) for name in names], reading)


def _format(key: str, value: Value, reading: Reading) -> Translation:
    return noted(key, "read with the data", value.origin)


def _bits(key: str, value: Value, reading: Reading) -> Translation:
    """Full training is never quantised (unsloth_cli/commands/train.py)."""
    on = value.value is True and reading.plain("training.training_type") != "full"
    bits = 4 if on else None
    words = f"`quantization_bit: {bits}`" if on else "left out: it is off, or it is full training"
    return Translation({("train", "quantization_bit"): Value(bits, value.origin)}) + noted(
        key, words, value.origin
    )


def _modules(key: str, value: Value, reading: Reading) -> Translation:
    given = value.value if isinstance(value.value, list) else str(value.value).split(",")
    target = ",".join(str(module).strip() for module in given if str(module).strip()) or "all"
    target = "all" if target == "all-linear" else target
    note = noted(key, f"`lora_target: {dump_yaml(target)}`", value.origin)
    return Translation({("train", "lora_target"): Value(target, value.origin)}) + note


def _reports(key: str, value: Value, reading: Reading) -> Translation:
    name = key.rpartition("enable_")[2]
    if value.value is not True:
        return noted(key, "left out: it is off", value.origin)
    part = Translation({("train", "report_to"): Value(name, value.origin)})
    return part + noted(key, f"`report_to: {name}`", value.origin)
