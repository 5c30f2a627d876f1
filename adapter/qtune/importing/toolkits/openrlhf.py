"""OpenRLHF's commands for SFT, DPO and reward models: what their table cannot say in a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.files import dump_yaml, table_beside
from qtune.importing.original import Original
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.source import ImportedFile
from qtune.importing.toolkits.data import NamedData, registered
from qtune.importing.toolkits.table import Reading, becomes, becomes_zero, read_toolkit
from qtune.importing.toolkits.translate import translate
from qtune.units import counted
from qtune.values import Value

_TABLE = "openrlhf.yaml"
# The columns of a registration by the options that name them; those of 0.9 have no block before the dot.
_COLUMNS = {"input_key": "prompt", "prompt_key": "prompt", "output_key": "response"}
_COLUMNS |= {"chosen_key": "chosen", "rejected_key": "rejected"}
OPTIONS = frozenset({"pretrain", "micro_train_batch_size", "model.model_name_or_path"})
"""Options that tell its scripts from others of their names."""


def read(method: str, keys: Mapping[str, Value], source: ImportedFile, project: Project) -> Original:
    """The options of openrlhf.cli.train_METHOD, blocks as mappings.

    Raises QtuneError for a method that LLaMA-Factory does not have, or does otherwise.
    """
    methods = table_beside(__file__, _TABLE)["methods"]
    if method not in methods:
        fix = f"keep OpenRLHF for it; qtune imports its train_{', train_'.join(methods)}"
        raise QtuneError(f"starts OpenRLHF's train_{method}", where=source.display, fix=fix)
    toolkit = read_toolkit(
        __file__,
        _TABLE,
        f"a command of OpenRLHF's train_{method}",
        _silent,
        data=_data,
        batch=_batch,
        betas=_betas,
        least_rate=_least_rate,
        stage=_stage,
        offload=_offload,
        rank=_rank,
        steps=_steps,
        wandb=_wandb,
    )
    defaults = {**toolkit.defaults, **methods[method]}
    return translate(replace(toolkit, defaults=defaults), keys, source, project)


def _silent(reading: Reading) -> dict[str, Any]:
    lora = _first(reading, "ds.lora.rank", "lora_rank")
    held: dict[str, Any] = {} if lora else {"finetuning_type": "full"}
    if lora:
        held = {"lora_alpha": 16, "lora_dropout": 0, "lora_target": "all"}
    return held


def _first(reading: Reading, *names: str) -> Any:
    return next((found for name in names if (found := reading.plain(name)) is not None), None)


def _data(key: str, value: Value, reading: Reading) -> Translation:
    """Names with commas between them, each perhaps `name@directory` or `name:split`."""
    columns = {
        column: named
        for option, column in _COLUMNS.items()
        if isinstance(named := _first(reading, f"data.{option}", option), str)
    }
    told: dict[str, Any] = {"formatting": "alpaca", "columns": columns} if columns else {}
    if "chosen" in columns:
        told["ranking"] = True
    sets = [NamedData(name.strip(), value.origin, told) for name in str(value.value).split(",")]
    return registered(key, sets, reading, "eval_dataset" if "eval" in key else "dataset")


def _batch(key: str, value: Value, reading: Reading) -> Translation:
    """The rows of one step on all processes, of which the command does not say how many there are."""
    micro = _first(reading, "train.micro_batch_size", "micro_train_batch_size") or 1
    if not isinstance(value.value, int) or not isinstance(micro, int):
        return warned(key, f"{dump_yaml(value.value)} is no number", "correct it", value.origin)
    steps = max(1, value.value // micro)
    part = becomes(key, value, {"gradient_accumulation_steps": steps})
    message = (
        f"is of all GPUs together: {counted(steps, 'step')} accumulated here, which is right for one GPU"
    )
    return part + warned(key, message, "divide gradient_accumulation_steps by your GPUs", value.origin)


def _betas(key: str, value: Value, reading: Reading) -> Translation:
    given = value.value
    if not isinstance(given, list) or len(given) != 2:
        return warned(key, f"{dump_yaml(given)} is no pair", "set adam_beta1 and adam_beta2", value.origin)
    return becomes(key, value, {"adam_beta1": float(given[0]), "adam_beta2": float(given[1])})


def _least_rate(key: str, value: Value, reading: Reading) -> Translation:
    if reading.plain("lr_scheduler", "cosine_with_min_lr") != "cosine_with_min_lr":
        return noted(key, "left out: it counts with cosine_with_min_lr", value.origin)
    return becomes(key, value, {"lr_scheduler_kwargs": {"min_lr_rate": value.value}})


def _stage(key: str, value: Value, reading: Reading) -> Translation:
    return becomes_zero(key, value, "stage")


def _offload(key: str, value: Value, reading: Reading) -> Translation:
    if not value.value:
        return noted(key, "left out: it is off", value.origin)
    return becomes_zero(key, Value("cpu", value.origin), "offload_optimizer", "device")


def _rank(key: str, value: Value, reading: Reading) -> Translation:
    if not value.value:
        return becomes(key, value, {"finetuning_type": "full"})
    return becomes(key, value, {"finetuning_type": "lora", "lora_rank": value.value})


def _steps(key: str, value: Value, reading: Reading) -> Translation:
    """-1 saves at the end alone, and never evaluates but at the end."""
    name = "save_steps" if "save" in key else "eval_steps"
    if value.value == -1:
        return noted(key, f"left out: at the end alone; base has its own {name}", value.origin)
    return becomes(key, value, {name: value.value})


def _wandb(key: str, value: Value, reading: Reading) -> Translation:
    if not value.value:
        return noted(key, "left out: it is off", value.origin)
    part = Translation({("train", "report_to"): Value("wandb", value.origin)})
    return part + noted(key, "`report_to: wandb`; its key is not copied", value.origin)
