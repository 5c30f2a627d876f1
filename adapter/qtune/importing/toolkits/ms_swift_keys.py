"""ms-swift's keys that a row of its table cannot say: the model, LoRA, precision, processes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from qtune.files import dump_yaml
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.toolkits.ms_swift_data import data, from_hugging_face, identity, mapping_of, words
from qtune.importing.toolkits.ms_swift_methods import cpo_alpha, loss_type, rlhf_type, task_type
from qtune.importing.toolkits.table import Reading, ReadKey, becomes, becomes_zero
from qtune.values import Value

_HOLDS = "left out: it is what holds anyway"


def _model(key: str, value: Value, reading: Reading) -> Translation:
    name = str(value.value)
    part = becomes(key, value, {"model_name_or_path": name})
    if from_hugging_face(reading) or reading.source.find(name) or name.startswith((".", "/", "~")):
        return part
    if reading.project.hub.get("USE_MODELSCOPE_HUB") == "1":
        return part
    message = f"ms-swift takes {name} from ModelScope, this project from Hugging Face"
    if name.partition("/")[0] in words()["modelscope_owners"]:
        fix = "add `hub: {name: modelscope}` to qtune.yaml, or name the model as Hugging Face does"
        return part + warned(key, f"{message}, which has no such owner", fix, value.origin)
    return part + noted(key, f"{message}; `hub: {{name: modelscope}}` in qtune.yaml changes it", value.origin)


def _joined(key: str, value: Value, reading: Reading) -> Translation:
    """A list that LLaMA-Factory takes with commas."""
    given = value.value if isinstance(value.value, list) else [value.value]
    if not given:
        return noted(key, "left out: it is empty", value.origin)
    said = {words()["joined"][key]: ",".join(str(item) for item in given)}
    if (
        key == "ref_adapters"
    ):  # llamafactory/train/trainer_utils.py, create_ref_model: read with a ref_model alone
        said["ref_model"] = reading.plain("ref_model") or reading.plain("model")
    return becomes(key, value, said)


def _system(key: str, value: Value, reading: Reading) -> Translation:
    text = str(value.value)
    if text.endswith(".txt"):
        fix = "write its text into the preset as default_system"
        return warned(key, f"the system prompt is in the file {text}", fix, value.origin)
    return becomes(key, value, {"default_system": text.replace("\\n", "\n")})


def _loss_scale(key: str, value: Value, reading: Reading) -> Translation:
    """A base strategy and others after it; sources: swift/loss_scale, llamafactory/hparams/data_args.py."""
    names = str(value.value).split("+")
    said: dict[str, Any] = {}
    if not reading.plain("rlhf_type"):
        said = {"last_round": {"mask_history": True}, "all": {"train_on_prompt": True}}.get(names[0], {})
    others = [name for name in names if name not in ("default", "last_round", "all", "ignore_empty_think")]
    part = becomes(key, value, said, "" if said else _HOLDS)
    if others:
        message = f"LLaMA-Factory gives every token of an answer the same weight, not {', '.join(others)}"
        part += warned(key, message, "leave it out, or keep ms-swift for it", value.origin)
    return part


def _targets(key: str, value: Value, reading: Reading) -> Translation:
    given = value.value if isinstance(value.value, list) else str(value.value).split(",")
    names = ["all" if str(name) in ("all-linear", "ALL", "DEFAULT") else str(name) for name in given]
    if not all(re.fullmatch(r"[\w.]+", name) for name in names):
        message = f"lora_target takes names of modules, not {dump_yaml(value.value)}"
        return warned(key, message, "name them in lora_target", value.origin)
    return becomes(key, value, {"lora_target": ",".join(names)})


def _init_weights(key: str, value: Value, reading: Reading) -> Translation:
    match = re.fullmatch(r"pissa(?:_niter_(\d+))?", str(value.value))
    if match:
        iterations = {"pissa_iter": int(match[1])} if match[1] else {"pissa_iter": -1}
        return becomes(key, value, {"pissa_init": True, **iterations})
    if str(value.value).lower() == "true":
        return becomes(key, value, {}, _HOLDS)
    message = f"LLaMA-Factory has no such start of LoRA's weights: {dump_yaml(value.value)}"
    return warned(key, message, "leave it out, or take pissa_init", value.origin)


def _checkpointing(key: str, value: Value, reading: Reading) -> Translation:
    settings = dict(mapping_of(value.value))
    reentrant = settings.pop("use_reentrant", None)
    part = becomes(key, value, {} if reentrant is None else {"use_reentrant_gc": reentrant})
    if settings or not mapping_of(value.value):
        message = f"LLaMA-Factory takes use_reentrant alone, not {dump_yaml(settings or value.value)}"
        part += warned(key, message, "leave it out", value.origin)
    return part


def _report_to(key: str, value: Value, reading: Reading) -> Translation:
    given = value.value if isinstance(value.value, list) else [value.value]
    others = [name for name in given if name != "swanlab"]
    said = {"use_swanlab": True} if "swanlab" in given else {}
    return becomes(key, value, {**said, "report_to": ",".join(others) or "none"})


def _generating(key: str, value: Value, reading: Reading) -> Translation:
    if reading.plain("rlhf_type") != "ppo":
        return noted(key, "left out: it counts when answers are generated", value.origin)
    name = "max_new_tokens" if key in ("max_completion_length", "response_length") else key
    return becomes(key, value, {name: value.value})


def _pixels(key: str, value: Value, reading: Reading) -> Translation:
    """Tokens of a picture as pixels: a token is 2 by 2 patches, of 16 pixels in Qwen3-VL, 14 before it.

    Source: qwen_vl_utils/vision_process.py, SPATIAL_MERGE_SIZE and image_patch_size.
    """
    if not isinstance(value.value, int):
        return warned(key, f"{dump_yaml(value.value)} is no number", "correct it", value.origin)
    side = 2 * (16 if "qwen3" in str(reading.plain("model", "")).lower() else 14)
    name = key.lower().replace("token_num", "pixels")
    return becomes(key, value, {name: value.value * side**2})


def _partition(key: str, value: Value, reading: Reading) -> Translation:
    return becomes_zero(key, value, key)


def _packing_length(key: str, value: Value, reading: Reading) -> Translation:
    if value.value == reading.plain("max_length"):
        return noted(key, "left out: it is max_length", value.origin)
    message = f"is {dump_yaml(value.value)}, but LLaMA-Factory packs up to cutoff_len"
    return warned(key, message, "set cutoff_len to it", value.origin)


def _processes(key: str, value: Value, reading: Reading) -> Translation:
    """Of one node, and how many nodes there were."""
    here, all_nodes = value.value, reading.plain("global_world_size", value.value)
    if not isinstance(here, int) or here < 1:
        return noted(key, "left out: qtune counts the GPUs", value.origin)
    part = Translation({("launch", "nproc_per_node"): Value(here, value.origin)})
    if isinstance(all_nodes, int) and all_nodes > here:
        part += Translation({("launch", "nnodes"): Value(all_nodes // here, value.origin)})
    return part + noted(key, f"launch.nproc_per_node: {here}", value.origin)


def _fsdp(key: str, value: Value, reading: Reading) -> Translation:
    if not value.value:
        return noted(key, "left out: FSDP is off", value.origin)
    part = Translation({("launch", "launcher"): Value("accelerate", value.origin)})
    return part + noted(key, "launch.launcher: accelerate, whose FSDP config qtune writes", value.origin)


READERS: Mapping[str, ReadKey] = {
    "model": _model,
    "data": data,
    "identity": identity,
    "joined": _joined,
    "system": _system,
    "loss_scale": _loss_scale,
    "targets": _targets,
    "init_weights": _init_weights,
    "checkpointing": _checkpointing,
    "report_to": _report_to,
    "generating": _generating,
    "task_type": task_type,
    "rlhf_type": rlhf_type,
    "loss_type": loss_type,
    "cpo_alpha": cpo_alpha,
    "pixels": _pixels,
    "partition": _partition,
    "packing_length": _packing_length,
    "processes": _processes,
    "fsdp": _fsdp,
}
