"""litgpt's finetuning configs as LLaMA-Factory's arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from qtune.importing.parts import Translation, noted, warned
from qtune.importing.toolkits.data import NamedData, registered
from qtune.importing.toolkits.table import Reading, Toolkit, read_toolkit
from qtune.values import KeyPath, Value

_ALPACA = {"columns": {"prompt": "instruction", "query": "input", "response": "output"}}
# What its data classes download (litgpt/data/*.py), with the columns there.
_SETS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Alpaca": ("yahma/alpaca-cleaned", _ALPACA),
    "Alpaca2k": ("mhenrichsen/alpaca_2k_test", _ALPACA),
    "Dolly": (
        "databricks/databricks-dolly-15k",
        {"columns": {"prompt": "instruction", "query": "context", "response": "response"}},
    ),
    "LIMA": ("GAIR/lima", {}),
    "Deita": ("HuggingFaceH4/deita-10k-v0-sft", {}),
    "LongForm": ("akoksal/LongForm", {"columns": {"prompt": "input", "response": "output"}}),
}
# Its names of a layer's parts, in most models' words.
_LAYERS = {
    "lora_query": ("q_proj",),
    "lora_key": ("k_proj",),
    "lora_value": ("v_proj",),
    "lora_projection": ("o_proj",),
    "lora_mlp": ("gate_proj", "up_proj", "down_proj"),
}
_DEFAULTS = {"learning_rate": 1e-3, "weight_decay": 0.01, "lr_scheduler_type": "cosine", "seed": 1337}


def is_litgpt(keys: Mapping[str, Any]) -> bool:
    """Whether it is a config of `litgpt finetune_…`."""
    return "checkpoint_dir" in keys and isinstance(keys.get("train"), dict) and "out_dir" in keys


def litgpt() -> Toolkit:
    """litgpt, with its table."""
    return read_toolkit(
        __file__,
        "litgpt.yaml",
        "a litgpt config",
        _silent,
        checkpoint=_checkpoint,
        precision=_precision,
        processes=_processes,
        layers=_layers,
        accumulation=_accumulation,
        betas=_betas,
        data=_data,
    )


def _silent(reading: Reading) -> Mapping[str, Any]:
    if reading.plain("lora_r") is None:
        tuning: dict[str, Any] = {"finetuning_type": "full"}
    else:
        tuning = {"finetuning_type": "lora", "lora_rank": 8, "lora_alpha": 16, "lora_dropout": 0.05}
        tuning["lora_target"] = _targets(reading)
    clipped = {} if reading.plain("train.max_norm") else {"max_grad_norm": 0.0}
    return {**_DEFAULTS, **tuning, **clipped}


def _targets(reading: Reading) -> str:
    on = {"lora_query": True, "lora_value": True}
    chosen = [part for key, parts in _LAYERS.items() if reading.plain(key, on.get(key)) for part in parts]
    return ",".join(chosen)


def _layers(key: str, value: Value, reading: Reading) -> Translation:
    return noted(key, f"read together: `lora_target: {_targets(reading)}`", value.origin)


def _checkpoint(key: str, value: Value, reading: Reading) -> Translation:
    """Its downloads lie in checkpoints/OWNER/NAME, converted to a format of its own."""
    path = PurePath(str(value.value))
    name = "/".join(path.parts[-2:])
    part = Translation({("train", "model_name_or_path"): Value(name, value.origin)})
    return part + noted(key, f"`model_name_or_path: {name}`, whose weights it holds converted", value.origin)


def _precision(key: str, value: Value, reading: Reading) -> Translation:
    """`bf16-true` holds trained weights in bf16, which pure_bf16 does; `bf16-mixed` does not."""
    kind, _, how = str(value.value).partition("-")
    bf16, fp16 = kind == "bf16", kind == "16"
    values: dict[KeyPath, Value] = {
        ("train", "bf16"): Value(bf16, value.origin),
        ("train", "fp16"): Value(fp16, value.origin),
    }
    words = f"`bf16: {str(bf16).lower()}`, `fp16: {str(fp16).lower()}`"
    if bf16 and how == "true" and reading.plain("lora_r") is None:
        values["train", "pure_bf16"] = Value(True, value.origin)
        words += ", `pure_bf16: true`"
    return Translation(values) + noted(key, words, value.origin)


def _processes(key: str, value: Value, reading: Reading) -> Translation:
    name = "nnodes" if key == "num_nodes" else "nproc_per_node"
    if not isinstance(value.value, int):
        return noted(key, "left out: qtune starts one process a GPU", value.origin)
    part = Translation({("launch", name): value})
    return part + noted(key, f"`{name}: {value.value}` under `launch:`", value.origin)


def _accumulation(key: str, value: Value, reading: Reading) -> Translation:
    """litgpt counts the examples of a step over all devices (litgpt/args.py, gradient_accumulation_iters)."""
    parts = [reading.plain(name, 1) for name in ("devices", "num_nodes", "train.micro_batch_size")]
    if not all(isinstance(part, int) and part > 0 for part in (value.value, *parts)):
        fix = "set gradient_accumulation_steps"
        return warned(key, "the number of devices is not told, by which it is divided", fix, value.origin)
    devices, nodes, batch = parts
    steps = max(value.value // (devices * nodes) // batch, 1)
    said = Translation({("train", "gradient_accumulation_steps"): Value(steps, value.origin)})
    return said + noted(key, f"`gradient_accumulation_steps: {steps}`", value.origin)


def _betas(key: str, value: Value, reading: Reading) -> Translation:
    betas = value.value if isinstance(value.value, list) else []
    part = Translation()
    for name, beta in zip(("adam_beta1", "adam_beta2"), betas, strict=False):
        part += Translation({("train", name): Value(beta, value.origin)})
        part += noted(key, f"`{name}: {beta}`", value.origin)
    return part


def _data(key: str, value: Value, reading: Reading) -> Translation:
    """The data class with what it is made with; `data: Alpaca` is one of these by its last word."""
    block = value.value if isinstance(value.value, dict) else {"class_path": value.value}
    name = str(block.get("class_path")).rpartition(".")[2]
    given = block.get("init_args")
    given = given if isinstance(given, dict) else {}
    origin = value.origin
    if name == "JSON" and given.get("json_path"):
        part = registered(key, [NamedData(str(given["json_path"]), origin)], reading)
    elif name in _SETS:
        hub, told = _SETS[name]
        part = registered(key, [NamedData(hub, origin, told)], reading)
    else:
        fix = "register the data with `qtune data add`, and name it in `dataset`"
        return warned(key, f"its data class {name} is not known here", fix, origin)
    if not given.get("mask_prompt", False):
        part += Translation({("train", "train_on_prompt"): Value(True, origin)})
        part += noted(key, "`train_on_prompt: true`, without `mask_prompt`", origin)
    if given.get("val_split_fraction"):
        share = given["val_split_fraction"]
        part += Translation({("train", "val_size"): Value(share, origin)})
        part += noted(key, f"`val_size: {share}`", origin)
    style = given.get("prompt_style")
    if style == "alpaca":
        part += Translation({("train", "template"): Value("alpaca", origin)})
        part += noted(key, "`template: alpaca`", origin)
    elif style is not None:
        fix = "see with `qtune data preview` that the template, the model's own now, writes the same"
        part += warned(key, f"its prompt_style is {style}", fix, origin)
    return part
