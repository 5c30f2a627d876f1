"""torchtune's configs: the keys of its table that a row cannot say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from qtune.errors import QtuneError
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.toolkits.table import Reading, ReadKey, Toolkit, becomes, read_toolkit, shared_words
from qtune.importing.toolkits.torchtune_data import dataset, names
from qtune.units import counted
from qtune.values import Value

_COMPONENT = "_component_"
_ADAPTERS = ("qdora_", "qlora_", "dora_", "lora_")
_LOSSES: Mapping[str, Mapping[str, Any]] = {
    "DPOLoss": {"stage": "dpo"},
    "RSOLoss": {"stage": "dpo", "pref_loss": "hinge"},
}
_LOGGERS = {"WandBLogger": "wandb", "TensorBoardLogger": "tensorboard", "CometLogger": "comet_ml"}
_SCHEDULES = {
    "get_cosine_schedule_with_warmup": "cosine",
    "torch.optim.lr_scheduler.CosineAnnealingLR": "cosine",
    "torch.optim.lr_scheduler.ConstantLR": "constant",
}
_PROFILER = {
    "output_dir": "profiler_output_dir",
    "profile_memory": "profiler_profile_memory",
    "record_shapes": "profiler_record_shapes",
    "with_stack": "profiler_with_stack",
    "wait_steps": "profiler_wait_steps",
    "warmup_steps": "profiler_warmup_steps",
    "active_steps": "profiler_active_steps",
    "num_cycles": "profiler_repeat",
}


def is_torchtune(keys: Mapping[str, Any]) -> bool:
    """Whether a config is torchtune's: its blocks name what builds them."""
    blocks = [value for value in keys.values() if isinstance(value, dict)]
    return any(str(block.get(_COMPONENT, "")).startswith("torchtune.") for block in blocks)


@cache
def torchtune() -> Toolkit:
    return read_toolkit(__file__, "torchtune.yaml", "a torchtune config", _silent, **_READERS)


def _silent(reading: Reading) -> dict[str, Any]:
    """torchtune's defaults that differ from base's or LLaMA-Factory's, where the config leaves a key out."""
    said: dict[str, Any] = {
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "max_grad_norm": 0,  # gradients are not clipped
        "save_strategy": "epoch",
    }
    if "AdamW" in str(reading.plain(f"optimizer.{_COMPONENT}")):
        said["weight_decay"] = 0.01  # torch.optim.AdamW and bitsandbytes.optim's
    if "lora_" in str(reading.plain(f"model.{_COMPONENT}")):
        said |= {"lora_rank": 8, "lora_alpha": 16}
    return said


def _last(value: Value) -> str:
    return str(value.value).rsplit(".", 1)[-1]


def _builder(reading: Reading) -> str:
    """The model's builder without its method: `llama3_1_8b` of torchtune.models.llama3_1.lora_llama3_1_8b."""
    name = str(reading.plain(f"model.{_COMPONENT}", "")).rsplit(".", 1)[-1]
    return next((name.removeprefix(start) for start in _ADAPTERS if name.startswith(start)), name)


def _model(key: str, value: Value, reading: Reading) -> Translation:
    name = _last(value)
    lora = name != _builder(reading)
    said: dict[str, Any] = {"finetuning_type": "lora" if lora else "full"}
    if name.startswith("q"):
        said |= {"quantization_bit": 4} if lora else {}
    if "dora_" in name:
        said["use_dora"] = True
    if not str(value.value).startswith("torchtune.models."):
        message = f"is built by {value.value}, which qtune does not know"
        return warned(key, message, "name a model of transformers' in the preset", value.origin)
    part = becomes(key, value, said)
    if reading.plain("tokenizer.max_seq_len") is None:
        part += noted(
            "tokenizer.max_seq_len", "torchtune cuts no rows without it; `cutoff_len` does", value.origin
        )
    return part


def _checkpoint_dir(key: str, value: Value, reading: Reading) -> Translation:
    """The model's directory where it is here, else the hub's id that it was downloaded from."""
    given = str(value.value)
    path = given.rstrip("/").removesuffix("/original")
    if reading.source.find(path):
        return becomes(key, value, {"model_name_or_path": path})
    downloads = re.findall(r"tune download (\S+/\S+)(?:.*--output-dir (\S+))?", reading.source.text)
    by_path = {output.rstrip("/"): name for name, output in downloads}
    by_name = {name.rsplit("/", 1)[-1]: name for name, _ in downloads}
    known = str(names()["models"].get(_builder(reading)))
    by_name.setdefault(known.rsplit("/", 1)[-1], known)
    name = by_path.get(path) or by_name.get(path.rsplit("/", 1)[-1])
    if name is None:  # perhaps a model of one's own, of the same architecture
        return becomes(key, value, {"model_name_or_path": path})
    return becomes(
        key, value, {"model_name_or_path": name}, f"{given} is not here, and holds this model of the hub"
    )


def _ref_model(key: str, value: Value, reading: Reading) -> Translation:
    if value.value == reading.plain("checkpointer.checkpoint_dir"):
        return noted(key, "left out: LLaMA-Factory compares with the model itself", value.origin)
    return becomes(key, value, {"ref_model": str(value.value)})


def _lora_target(key: str, value: Value, reading: Reading) -> Translation:
    """The three keys that say which layers LoRA is put on, as one argument."""
    layers = names()["fused_layers" if _builder(reading).startswith(("phi3", "phi4")) else "layers"]
    modules = reading.plain("model.lora_attn_modules", [])
    given = [str(name) for name in modules] if isinstance(modules, list) else [str(modules)]
    given += ["mlp"] if reading.plain("model.apply_lora_to_mlp") else []
    given += ["output"] if reading.plain("model.apply_lora_to_output") else []
    if not given:
        return noted(key, "left out: it is off", value.origin)
    ours = [layer for name in given for layer in layers.get(name, [name])]
    return becomes(key, value, {"lora_target": ",".join(dict.fromkeys(ours))})


def _max_steps_per_epoch(key: str, value: Value, reading: Reading) -> Translation:
    epochs = reading.plain("epochs", 1)
    if not isinstance(value.value, int) or not isinstance(epochs, int):
        return warned(key, "is no number", "set max_steps in the preset", value.origin)
    return becomes(key, value, {"max_steps": value.value * epochs}, f"in {counted(epochs, 'epoch')}")


def _every(name: str) -> ReadKey:
    """Steps between evaluations or checkpoints."""

    def read(key: str, value: Value, reading: Reading) -> Translation:
        return becomes(key, value, {f"{name}_strategy": "steps", f"{name}_steps": value.value})

    return read


def _dtype(key: str, value: Value, reading: Reading) -> Translation:
    """bf16 is that of all weights here, which LLaMA-Factory calls pure."""
    said = shared_words("dtype").get(str(value.value))
    if said is None:
        return warned(key, f"{value.value} is no dtype of LLaMA-Factory's", "set bf16 or fp16", value.origin)
    return becomes(
        key, value, {"pure_bf16": True, "bf16": False, "fp16": False} if said.get("bf16") else said
    )


def _compile(key: str, value: Value, reading: Reading) -> Translation:
    on = any(value.value.values()) if isinstance(value.value, dict) else value.value
    return becomes(key, value, {"torch_compile": bool(on)})


def _quantizer(key: str, value: Value, reading: Reading) -> Translation:
    if reading.plain(f"optimizer.{_COMPONENT}") is None:
        return _no_training(key, value, reading)
    message = "LLaMA-Factory does not train for quantization"
    return warned(
        key, message, "the preset trains without; `qtune export` can quantise afterwards", value.origin
    )


def _optimizer(key: str, value: Value, reading: Reading) -> Translation:
    name = shared_words("optimizer").get(str(value.value))
    if name is None:
        fix = "set `optim` in the preset; until then it is AdamW"
        return warned(key, f"LLaMA-Factory has no optimizer {value.value}", fix, value.origin)
    if name == "adamw_torch" and reading.plain("optimizer.fused"):
        name = "adamw_torch_fused"
    return becomes(key, value, {"optim": name})


def _betas(key: str, value: Value, reading: Reading) -> Translation:
    if not isinstance(value.value, list) or len(value.value) != 2:
        return warned(key, "are not two numbers", "set adam_beta1 and adam_beta2 in the preset", value.origin)
    return becomes(key, value, {"adam_beta1": value.value[0], "adam_beta2": value.value[1]})


def _lr_scheduler(key: str, value: Value, reading: Reading) -> Translation:
    name = _SCHEDULES.get(_last(value)) or _SCHEDULES.get(str(value.value))
    if name is None:
        fix = "set lr_scheduler_type in the preset; until then it is constant"
        return warned(key, f"LLaMA-Factory has no schedule {_last(value)}", fix, value.origin)
    return becomes(key, value, {"lr_scheduler_type": name})


def _loss(key: str, value: Value, reading: Reading) -> Translation:
    name = _last(value)
    if name in _LOSSES:
        return becomes(key, value, _LOSSES[name])
    if "CE" in name or "CrossEntropy" in name:
        return noted(key, "left out: cross entropy, as LLaMA-Factory's", value.origin)
    fix = "set pref_loss, or leave it out"
    return warned(key, f"LLaMA-Factory has no loss {name}", fix, value.origin)


def _metric_logger(key: str, value: Value, reading: Reading) -> Translation:
    name = _LOGGERS.get(_last(value))
    if name is None:
        return noted(key, "left out: LLaMA-Factory writes its log to the run's directory", value.origin)
    return becomes(key, value, {"report_to": name})


def _profiler(key: str, value: Value, reading: Reading) -> Translation:
    given = value.value if isinstance(value.value, dict) else {}
    if not given.get("enabled"):
        return noted(key, "left out: it is off", value.origin)
    said = {ours: given[name] for name, ours in _PROFILER.items() if given.get(name) is not None}
    return becomes(key, value, {"enable_torch_profiler": True, **said})


def _no_training(key: str, value: Value, reading: Reading) -> Translation:
    kinds = {"tasks": ("evaluates", "`qtune eval`"), "prompt": ("generates", "`qtune chat`")}
    does, command = kinds.get(key, ("quantises", "`qtune export`"))
    raise QtuneError(
        f"is a torchtune config that {does}, no training", where=value.origin.place, fix=f"see {command}"
    )


def _no_such_training(what: str) -> ReadKey:
    def read(key: str, value: Value, reading: Reading) -> Translation:
        fix = "train it with torchtune; LLaMA-Factory's stages are pt, sft, rm, dpo, kto and ppo"
        raise QtuneError(f"is a torchtune config that {what}", where=value.origin.place, fix=fix)

    return read


_READERS: dict[str, ReadKey] = {
    "model": _model,
    "checkpoint_dir": _checkpoint_dir,
    "ref_model": _ref_model,
    "lora_target": _lora_target,
    "dataset": dataset,
    "max_steps_per_epoch": _max_steps_per_epoch,
    "run_val_every_n_steps": _every("eval"),
    "save_every_n_steps": _every("save"),
    "dtype": _dtype,
    "compile": _compile,
    "quantizer": _quantizer,
    "optimizer": _optimizer,
    "betas": _betas,
    "lr_scheduler": _lr_scheduler,
    "loss": _loss,
    "metric_logger": _metric_logger,
    "profiler": _profiler,
    "no_training": _no_training,
    "distils": _no_such_training("distils from a teacher, which LLaMA-Factory does not"),
    "groups": _no_such_training("trains by GRPO, which LLaMA-Factory does not"),
    "plays": _no_such_training("trains by PPO, from a reward model and a policy of its own"),
}
