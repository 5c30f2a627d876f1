"""Firefly's `train_args` files as LLaMA-Factory's arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from qtune.config.project import Project
from qtune.files import dump_yaml
from qtune.importing.original import Original
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.source import ImportedFile
from qtune.importing.toolkits import trainer
from qtune.importing.toolkits.data import NamedData, registered
from qtune.importing.toolkits.table import Reading, read_toolkit
from qtune.importing.toolkits.translate import translate
from qtune.schema import template_names
from qtune.values import KeyPath, Value

_SIGNS = {"model_name_or_path", "train_file", "max_seq_length"}
_LORA = {"lora_rank": 64, "lora_alpha": 16, "lora_dropout": 0.05}  # component/argument.py
_OWN = {"template_name", "train_mode", "task_type"}


def recognise(source: ImportedFile, project: Project) -> Original | None:
    """A file for `train.py --train_args_file`, None where the file is none."""
    keys = set(source.keys or {})
    if not keys >= _SIGNS or not keys & _OWN:
        return None
    return read(source.values(), source, project)


def read(keys: Mapping[str, Value], source: ImportedFile, project: Project) -> Original:
    """The keys of such a file."""
    kind = "Firefly's train_args"
    toolkit = read_toolkit(
        __file__, "firefly.yaml", kind, _silent, data=_data, template=_template, mode=_mode
    )
    rows = {**trainer.rows(), **toolkit.rows}
    return translate(replace(toolkit, rows=rows), keys, source, project)


def _silent(reading: Reading) -> Mapping[str, Any]:
    checkpoints = {} if reading.plain("gradient_checkpointing") else {"disable_gradient_checkpointing": True}
    mode = reading.plain("train_mode")
    quantized = {} if mode else {"quantization_bit": 4}
    lora = {} if mode == "full" else _LORA
    return {**trainer.defaults(reading), **checkpoints, **quantized, **lora}


def _mode(key: str, value: Value, reading: Reading) -> Translation:
    """Its LoRA is on every linear layer, as LLaMA-Factory's is (train.py, find_all_linear_names)."""
    tuning: dict[KeyPath, Value] = {
        ("train", "finetuning_type"): Value("full" if value.value == "full" else "lora", value.origin)
    }
    if value.value == "qlora":
        tuning["train", "quantization_bit"] = Value(4, value.origin)
    words = ", ".join(f"`{name}: {dump_yaml(item.value)}`" for (_, name), item in tuning.items())
    return Translation(tuning) + noted(key, words, value.origin)


def _template(key: str, value: Value, reading: Reading) -> Translation:
    if value.value in template_names():
        part = Translation({("train", "template"): value})
        return part + noted(key, f"`template: {value.value}`, of that name in LLaMA-Factory", value.origin)
    part = Translation({("train", "template"): Value("auto", value.origin)})
    fix = "see with `qtune data preview` that the model's own template, which holds now, writes the same"
    return part + warned(key, f"LLaMA-Factory has no template {value.value}", fix, value.origin)


def _data(key: str, value: Value, reading: Reading) -> Translation:
    target = "dataset" if key == "train_file" else "eval_dataset"
    return registered(key, [NamedData(str(value.value), value.origin)], reading, target)
