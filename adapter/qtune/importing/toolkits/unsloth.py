"""Unsloth's YAML configs and the options of its script as LLaMA-Factory's arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from qtune.config.project import Project
from qtune.files import dump_yaml, table_beside
from qtune.importing.original import Original
from qtune.importing.parts import Translation, noted
from qtune.importing.source import ImportedFile
from qtune.importing.toolkits import trainer
from qtune.importing.toolkits.data import NamedData, registered
from qtune.importing.toolkits.table import Reading, Toolkit, read_toolkit
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
    return read("", source.values(), source, project)


def read(method: str, keys: Mapping[str, Value], source: ImportedFile, project: Project) -> Original:
    """The keys of that YAML, of `unsloth train`, where options name keys of blocks, or of unsloth-cli.py."""
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
        texts=_texts,
    )
    if method == "train":
        keys = _in_blocks(keys, toolkit)
    return translate(replace(toolkit, rows={**trainer.rows(), **toolkit.rows}), keys, source, project)


def _in_blocks(keys: Mapping[str, Value], toolkit: Toolkit) -> dict[str, Value]:
    """An option of `unsloth train` is the key of that name in whichever block has it."""
    above = {path[-1]: path[0] for path in toolkit.rows if len(path) > 1}
    found = dict(keys)
    for key, value in keys.items():
        block = above.get(key)
        if block is not None:
            there = found[block].value if block in found else {}
            found[block] = Value({**(there if isinstance(there, dict) else {}), key: value}, value.origin)
            del found[key]
    return found


def _keys_of(block: str, source: ImportedFile) -> set[str]:
    inside = (source.keys or {}).get(block)
    return set(inside) if isinstance(inside, dict) else set()


def _silent(reading: Reading) -> Mapping[str, Any]:
    table = table_beside(__file__, _FILE)
    if all(len(path) == 1 for path in reading.keys):
        of_it: Mapping[str, Any] = table["command"]
    else:
        of_it = {} if reading.plain("training.training_type") == "full" else table["lora"]
    return of_it


def _data(key: str, value: Value, reading: Reading) -> Translation:
    told = _CHATS.get("alpaca" if key == "dataset" else reading.plain("data.format_type"), {})
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


def _texts(key: str, value: Value, reading: Reading) -> Translation:
    told = {"columns": {"prompt": "text"}}
    part = registered(key, [NamedData(str(value.value), value.origin, told)], reading)
    part += Translation({("train", "stage"): Value("pt", value.origin)})
    return part + noted(key, "`stage: pt`, which trains on whole texts", value.origin)
