"""axolotl's configs: the keys of its table that a row cannot say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from qtune.errors import QtuneError
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.toolkits.axolotl_data import chat_template, datasets, is_text
from qtune.importing.toolkits.data import mapping
from qtune.importing.toolkits.table import Reading, ReadKey, Toolkit, becomes, read_toolkit
from qtune.schema import arguments
from qtune.values import Value

_FSDP_OF_QTUNE = {
    "offload_params": False,
    "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    "reshard_after_forward": True,
    "sharding_strategy": "FULL_SHARD",
}
"""What templates/accelerate.yaml.j2 says of where weights lie; the rest it decides by the model."""
_REPORTS = {
    "use_wandb": "wandb",
    "wandb_project": "wandb",
    "use_mlflow": "mlflow",
    "use_tensorboard": "tensorboard",
    "use_comet": "comet_ml",
    "use_trackio": "trackio",
}
_PLUGINS = {"liger.LigerPlugin": "enable_liger_kernel", "swanlab.SwanLabPlugin": "use_swanlab"}
_FASTER = ("cut_cross_entropy", "kernels", "expert_parallel")
_STAGES: Mapping[str, Mapping[str, Any]] = {
    "dpo": {"stage": "dpo"},
    "ipo": {"stage": "dpo", "pref_loss": "ipo"},
    "orpo": {"stage": "dpo", "pref_loss": "orpo"},
    "simpo": {"stage": "dpo", "pref_loss": "simpo"},
    "kto": {"stage": "kto"},
}


def is_axolotl(keys: Mapping[str, Any]) -> bool:
    """Whether a config is axolotl's: it alone calls the model so."""
    beside = ("micro_batch_size", "sequence_len", "datasets", "pretraining_dataset", "num_epochs")
    return isinstance(keys.get("base_model"), str) and any(key in keys for key in beside)


@cache
def axolotl() -> Toolkit:
    return read_toolkit(__file__, "axolotl.yaml", "an axolotl config", _silent, **_READERS)


def _silent(reading: Reading) -> dict[str, Any]:
    """axolotl's defaults that differ from base's, where the config leaves a key out."""
    said: dict[str, Any] = {
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "cutoff_len": 512,
        "num_train_epochs": 1,
        "finetuning_type": "full",
        # core/builders/base.py, _configure_warmup_and_logging: 0.03 of the steps, at most 100
        "warmup_steps": 0.03,
        "save_strategy": "epoch",
    }
    if any(reading.plain(key) is not None for key in ("save_steps", "saves_per_epoch")):
        del said["save_strategy"]
    if not reading.plain("activation_offloading") and not _checkpoints_by_fsdp(reading):
        said["disable_gradient_checkpointing"] = True
    if _is_pretraining(reading) and not reading.plain("sample_packing"):
        said["packing"] = False
    return said


def _fsdp_settings(given: Any) -> dict[str, Any]:
    """The block `fsdp_config`, whose older keys begin with fsdp_."""
    return {str(name).removeprefix("fsdp_"): item for name, item in mapping(given).items()}


def _checkpoints_by_fsdp(reading: Reading) -> bool:
    return bool(_fsdp_settings(reading.plain("fsdp_config")).get("activation_checkpointing"))


def _is_pretraining(reading: Reading) -> bool:
    sets = reading.plain("datasets")
    return reading.plain("pretraining_dataset") is not None or (
        isinstance(sets, list) and any(is_text(item) for item in sets)
    )


def _same_as_model(key: str, value: Value, reading: Reading) -> Translation:
    if value.value == reading.plain("base_model"):
        return noted(key, "left out: it is the model itself", value.origin)
    message = "LLaMA-Factory takes config and tokenizer from the model's own directory"
    return warned(key, message, "put those files beside the weights, and name that directory", value.origin)


def _joined(name: str) -> ReadKey:
    """A list as the text with commas that LLaMA-Factory takes."""

    def read(key: str, value: Value, reading: Reading) -> Translation:
        items = value.value if isinstance(value.value, list) else [value.value]
        return becomes(key, value, {name: ",".join(str(item) for item in items)})

    return read


def _tokens(key: str, value: Value, reading: Reading) -> Translation:
    """A list of new tokens; an older axolotl's mapping of special ones."""
    if isinstance(value.value, dict):
        message = (
            f"names special tokens ({', '.join(map(str, value.value))}); LLaMA-Factory takes the tokenizer's"
        )
        return warned(key, message, "nothing, where they are the tokenizer's own", value.origin)
    return _joined("add_tokens")(key, value, reading)


def _lora_target_modules(key: str, value: Value, reading: Reading) -> Translation:
    """Names; a regular expression is taken for the names at its end."""
    given = value.value
    if reading.plain("lora_target_linear"):
        return noted(key, "left out: lora_target_linear takes these too", value.origin)
    if isinstance(given, list):
        return _joined("lora_target")(key, value, reading)
    names = names_at_the_end(str(given))
    if names is None:
        message = "is a regular expression, and LLaMA-Factory takes names of modules"
        return warned(key, message, "set lora_target to those names, or to all", value.origin)
    why = "the names at the end of a regular expression; the vision tower is frozen by `freeze_vision_tower`"
    return becomes(key, value, {"lora_target": ",".join(names)}, why if "(" in str(given) else "")


def names_at_the_end(pattern: str) -> list[str] | None:
    """The modules' names that a regular expression such as `layers.[0-9]+.mlp.(up|down)_proj` ends with."""
    if re.fullmatch(r"[\w-]+", pattern):
        return [pattern]
    found = re.fullmatch(r".*[.\\]\(([\w|-]+)\)(\w*)\$?\)?", pattern)
    return [f"{name}{found[2]}" for name in found[1].split("|")] if found else None


def _bnb(key: str, value: Value, reading: Reading) -> Translation:
    names = {"bnb_4bit_use_double_quant": "double_quantization", "bnb_4bit_quant_type": "quantization_type"}
    given = value.value if isinstance(value.value, dict) else {}
    part = becomes(key, value, {names[name]: item for name, item in given.items() if name in names})
    rest = [name for name in given if name not in (*names, "bnb_4bit_compute_dtype")]
    if rest:
        message = f"LLaMA-Factory sets {', '.join(rest)} itself"
        part += warned(key, message, "nothing, where the model trains without it", value.origin)
    return part


def _batch(key: str, value: Value, reading: Reading) -> Translation:
    """The rows of one process and how often they add up, at each of the three keys that say so.

    batch_size is all rows of one process (utils/config, normalize_config).
    """
    rows = reading.plain("micro_batch_size", 1)
    steps = reading.plain("gradient_accumulation_steps") or reading.plain("batch_size", rows)
    if not isinstance(rows, int) or not isinstance(steps, int) or rows < 1:
        return warned(key, "is no number of rows", "set per_device_train_batch_size", value.origin)
    if not reading.plain("gradient_accumulation_steps"):
        steps = max(steps // rows, 1)
    said = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": steps}
    return becomes(key, value, said)


def _early_stopping_patience(key: str, value: Value, reading: Reading) -> Translation:
    said = {"early_stopping_steps": value.value, "load_best_model_at_end": True}
    return becomes(key, value, said)


def _optim_args(key: str, value: Value, reading: Reading) -> Translation:
    given = value.value
    text = ",".join(f"{name}={item}" for name, item in given.items()) if isinstance(given, dict) else given
    return becomes(key, value, {"optim_args": text})


def _lr_scheduler(key: str, value: Value, reading: Reading) -> Translation:
    if reading.plain("cosine_min_lr_ratio") is not None and value.value == "cosine":
        return noted(key, "left out: cosine_min_lr_ratio says it", value.origin)
    if value.value in (arguments()["lr_scheduler_type"].choices or ()):
        return becomes(key, value, {"lr_scheduler_type": value.value})
    fix = "set lr_scheduler_type in the preset; until then it is cosine"
    return warned(key, f"LLaMA-Factory has no schedule {value.value}", fix, value.origin)


def _cosine_min_lr_ratio(key: str, value: Value, reading: Reading) -> Translation:
    if reading.plain("cosine_constant_lr_ratio"):
        message = "LLaMA-Factory's schedules do not stay at their lowest rate"
        fix = "lr_scheduler_type: warmup_stable_decay is near"
        return warned(key, message, fix, value.origin)
    return becomes(
        key,
        value,
        {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": value.value}},
    )


def _rl(key: str, value: Value, reading: Reading) -> Translation:
    if str(value.value) in _STAGES:
        return becomes(key, value, _STAGES[str(value.value)])
    if not value.value:
        return noted(key, "left out: it is off", value.origin)
    return _no_such_stage(key, value, reading)


def _no_such_stage(key: str, value: Value, reading: Reading) -> Translation:
    if value.value is False:
        return noted(key, "left out: it is off", value.origin)
    what = key if value.value is True else str(value.value)
    message = (
        f"LLaMA-Factory has no training of the kind {what}: its stages are pt, sft, rm, dpo, kto and ppo"
    )
    raise QtuneError(message, where=value.origin.place, fix="train it with axolotl")


def _dpo_loss_type(key: str, value: Value, reading: Reading) -> Translation:
    given = value.value if isinstance(value.value, list) else [value.value]
    if len(given) == 1 and given[0] in ("sigmoid", "hinge", "ipo"):
        return becomes(key, value, {"pref_loss": given[0]})
    fix = "set pref_loss, and pref_ftx where one of several is sft"
    return warned(key, f"LLaMA-Factory has no loss {', '.join(map(str, given))}", fix, value.origin)


def _hub(key: str, value: Value, reading: Reading) -> Translation:
    """core/builders/base.py, _configure_hub_parameters."""
    said = {
        "hub_model_id": value.value,
        "push_to_hub": True,
        "hub_private_repo": True,
        "hub_always_push": True,
    }
    return becomes(key, value, said)


def _bf16(key: str, value: Value, reading: Reading) -> Translation:
    if value.value == "auto":
        return noted(key, "left out: auto, as base has it", value.origin)
    if value.value == "full":
        return becomes(key, value, {"bf16": True, "bf16_full_eval": True})
    return becomes(key, value, {"bf16": value.value})


def _gradient_checkpointing(key: str, value: Value, reading: Reading) -> Translation:
    """On where FSDP's own is; the words say where the activations wait."""
    if value.value in ("unsloth", "offload", "offload_disk"):
        return becomes(key, value, {"disable_gradient_checkpointing": False, "use_unsloth_gc": True})
    on = value.value or _checkpoints_by_fsdp(reading)
    return becomes(key, value, {"disable_gradient_checkpointing": not on})


def _gradient_checkpointing_kwargs(key: str, value: Value, reading: Reading) -> Translation:
    given = dict(value.value) if isinstance(value.value, dict) else {}
    said = {"use_reentrant_gc": given.pop("use_reentrant")} if "use_reentrant" in given else {}
    if not given:
        return becomes(key, value, said)
    message = f"LLaMA-Factory takes use_reentrant alone, not {', '.join(given)}"
    return becomes(key, value, said) + warned(
        key, message, "nothing: it changes the memory in use", value.origin
    )


def _unfrozen_parameters(key: str, value: Value, reading: Reading) -> Translation:
    given = value.value if isinstance(value.value, list) else [value.value]
    names = ("language_model", "lm_head", "embed_tokens")
    of_language = all(any(name in str(item) for name in names) for item in given)
    if of_language and any(names[0] in str(item) for item in given):
        return becomes(key, value, {"freeze_vision_tower": True, "freeze_multi_modal_projector": True})
    message = "LLaMA-Factory thaws whole layers, from the last or first ones, and no patterns of names"
    fix = "set finetuning_type: freeze, freeze_trainable_layers and freeze_trainable_modules"
    return warned(key, message, fix, value.origin)


def _sequence_len(key: str, value: Value, reading: Reading) -> Translation:
    part = becomes(key, value, {"cutoff_len": value.value})
    if reading.plain("excess_length_strategy") is None and not _is_pretraining(reading):
        part += noted(key, "LLaMA-Factory cuts longer rows, which axolotl drops", value.origin)
    return part


def _sample_packing(key: str, value: Value, reading: Reading) -> Translation:
    if reading.plain("rl") or reading.plain("reward_model"):
        return noted(key, "left out: pairs are not packed", value.origin)
    if not value.value:
        return becomes(key, value, {"packing": False})
    return becomes(
        key, value, {"packing": True} if _is_pretraining(reading) else {"packing": True, "neat_packing": True}
    )


def _fsdp(key: str, value: Value, reading: Reading) -> Translation:
    """FSDP is accelerate's, whose file qtune writes with what `fsdp_config` says of where weights lie."""
    if not value.value:
        return noted(key, "left out: it is off", value.origin)
    part = Translation({("launch", "launcher"): Value("accelerate", value.origin)})
    part += noted(key, "`launcher: accelerate` under `launch:` is FSDP", value.origin)
    settings = _fsdp_settings(value.value)
    other = {
        f"fsdp_{name}": settings[name]
        for name in _FSDP_OF_QTUNE
        if name in settings and settings[name] != _FSDP_OF_QTUNE[name]
    }
    if other:
        part += becomes(key, value, {"fsdp_config": other})
    rest = [name for name in settings if name not in _FSDP_OF_QTUNE]
    if rest:
        part += noted(key, f"left out, as qtune's FSDP decides it: {', '.join(rest)}", value.origin)
    return part


def _warmup_ratio(key: str, value: Value, reading: Reading) -> Translation:
    if reading.plain("warmup_steps") is not None:
        return noted(key, "left out: warmup_steps wins", value.origin)
    return becomes(key, value, {"warmup_steps": value.value})


def _evaluates(reading: Reading) -> bool:
    return bool(reading.plain("val_set_size") or reading.plain("test_datasets"))


def _per_epoch(key: str, value: Value, reading: Reading) -> Translation:
    """N times an epoch, as a share of all steps (utils/config, normalize_config)."""
    name = "eval" if key == "evals_per_epoch" else "save"
    epochs = reading.plain("num_epochs", 1)
    if name == "eval" and not _evaluates(reading):
        return noted(key, "left out: there is no evaluation data", value.origin)
    if not value.value:
        return becomes(key, value, {f"{name}_strategy": "no"})
    if not isinstance(value.value, int | float) or not isinstance(epochs, int | float) or not epochs:
        return warned(key, "is no number", f"set {name}_steps in the preset", value.origin)
    if value.value == 1:
        return becomes(key, value, {f"{name}_strategy": "epoch"})
    share = round(1 / (value.value * epochs), 6)
    return becomes(key, value, {f"{name}_strategy": "steps", f"{name}_steps": share}, "a share of all steps")


def _eval_steps(key: str, value: Value, reading: Reading) -> Translation:
    if not _evaluates(reading):
        return noted(key, "left out: there is no evaluation data", value.origin)
    return becomes(key, value, {"eval_strategy": "steps", "eval_steps": value.value})


def _plugins(key: str, value: Value, reading: Reading) -> Translation:
    part = Translation()
    for plugin in value.value if isinstance(value.value, list) else [value.value]:
        name = str(plugin).removeprefix("axolotl.integrations.")
        said = {ours: True for theirs, ours in _PLUGINS.items() if name == theirs}
        if said:
            part += becomes(key, value, said)
        elif name.startswith(_FASTER):
            part += noted(key, f"left out: {plugin} changes speed and memory", value.origin)
        else:
            message = f"LLaMA-Factory has no counterpart of {plugin}"
            part += warned(key, message, "see what that plugin does to the training", value.origin)
    return part


def _reporting(key: str, value: Value, reading: Reading) -> Translation:
    """All that report, at each of the keys that say so."""
    if not value.value:
        return noted(key, "left out: it is off", value.origin)
    names = dict.fromkeys(name for other, name in _REPORTS.items() if reading.plain(other))
    part = becomes(key, value, {"report_to": ",".join(names)})
    if key == "wandb_project":
        fix = f"export WANDB_PROJECT={value.value} before `qtune train`"
        part += warned(key, "is a variable of the environment, not an argument", fix, value.origin)
    return part


def _image_size(key: str, value: Value, reading: Reading) -> Translation:
    sides = value.value if isinstance(value.value, list) else [value.value] * 2
    if len(sides) == 2 and all(isinstance(side, int) for side in sides):
        return becomes(key, value, {"image_max_pixels": sides[0] * sides[1]}, "larger pictures shrink to it")
    return warned(key, "is no number of pixels", "set image_max_pixels in the preset", value.origin)


_READERS: dict[str, ReadKey] = {
    "same_as_model": _same_as_model,
    "add_special_tokens": _joined("add_special_tokens"),
    "additional_target": _joined("additional_target"),
    "tokens": _tokens,
    "lora_target_modules": _lora_target_modules,
    "bnb": _bnb,
    "batch": _batch,
    "early_stopping_patience": _early_stopping_patience,
    "optim_args": _optim_args,
    "lr_scheduler": _lr_scheduler,
    "cosine_min_lr_ratio": _cosine_min_lr_ratio,
    "rl": _rl,
    "no_such_stage": _no_such_stage,
    "dpo_loss_type": _dpo_loss_type,
    "datasets": datasets,
    "chat_template": chat_template,
    "hub": _hub,
    "bf16": _bf16,
    "gradient_checkpointing": _gradient_checkpointing,
    "gradient_checkpointing_kwargs": _gradient_checkpointing_kwargs,
    "unfrozen_parameters": _unfrozen_parameters,
    "sequence_len": _sequence_len,
    "sample_packing": _sample_packing,
    "fsdp": _fsdp,
    "warmup_ratio": _warmup_ratio,
    "per_epoch": _per_epoch,
    "eval_steps": _eval_steps,
    "plugins": _plugins,
    "reporting": _reporting,
    "image_size": _image_size,
}
