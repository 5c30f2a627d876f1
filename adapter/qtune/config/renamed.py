"""Arguments and values of older releases, and what they became.

Read in the hparams of every LLaMA-Factory tag from v0.0.9 to v0.9.5, and in the code that used them; those of
transformers' TrainingArguments in transformers 4 against 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Others = Mapping[str, Any]
"""All arguments of the old config by their old names, where a translation depends on more than one."""

Translation = Callable[[Any, Others], Mapping[str, Any] | None]
"""Old value to the arguments that replace it: {} where nothing needs to, None where nothing can."""


@dataclass(frozen=True)
class Renamed:
    """One argument that went away.

    last: the release that still had it; successor: the argument that replaces it, None where none does;
    note: how the value changes, or what holds or to do instead.
    """

    name: str
    last: str
    successor: str | None
    translate: Translation
    note: str = ""

    def __str__(self) -> str:
        """What became of it, as a fix reads."""
        note = f": {self.note}" if self.note else ""
        if self.successor is None:
            return f"`{self.name}` went away after {self.last}{note}"
        return f"`{self.name}` became `{self.successor}` after {self.last}{note}"


@dataclass(frozen=True)
class RenamedValue:
    """One value that an argument does not take, or takes no more.

    last: the release that still took it, None where none did; becomes: the arguments that say the same, None
    where none do.
    """

    name: str
    old: str | bool
    last: str | None
    becomes: Mapping[str, Any] | None
    note: str = ""

    def __str__(self) -> str:
        """What became of it, as a fix reads."""
        old = f"`{self.name}: {str(self.old).lower() if isinstance(self.old, bool) else self.old}`"
        note = f": {self.note}" if self.note else ""
        if self.becomes is None:
            return f"{old} went away after {self.last}{note}"
        new = ", ".join(
            f"`{name}: {str(value).lower() if isinstance(value, bool) else value}`"
            for name, value in self.becomes.items()
        )
        return f"{old} became {new} after {self.last}{note}" if self.last else f"{old} is {new}{note}"


def _as(successor: str) -> Translation:
    return lambda value, others: {successor: value}


def _nothing(value: Any, others: Others) -> Mapping[str, Any]:
    return {}


def _only(*harmless: Any) -> Translation:
    """Gone without a trace for these values, which are what happens now anyway."""
    return lambda value, others: {} if value in harmless else None


def _if_true(**arguments: Any) -> Translation:
    return lambda value, others: arguments if value else {}


def _inverted(successor: str) -> Translation:
    return lambda value, others: {successor: not value} if isinstance(value, bool) else None


def _adapter(value: Any, others: Others) -> Mapping[str, Any] | None:
    # with full and freeze tuning it was the model to load (v0.3.3 model/loader.py)
    if others.get("finetuning_type", "lora") == "lora":
        return {"adapter_name_or_path": value}
    return {"model_name_or_path": value} if "," not in str(value) else None


def _cutoff_len(value: Any, others: Others) -> Mapping[str, Any] | None:
    # v0.1.8 dsets/preprocess.py: blocks of max_source_length in pre-training, the sum of both elsewhere
    source, target = (others.get(f"max_{part}_length", 512) for part in ("source", "target"))
    if not isinstance(source, int) or not isinstance(target, int):
        return None
    return {"cutoff_len": source if others.get("stage") == "pt" else source + target}


def _noise(value: Any, others: Others) -> Mapping[str, Any]:
    return {"neftune_noise_alpha": value} if value else {}


def _logger(value: Any, others: Others) -> Mapping[str, Any]:
    return {"report_to": value} if value and others.get("stage") == "ppo" else {}


_LF = "LLaMA-Factory"
_RAY = "it counts only in Ray's training, which qtune does not start"
_KT = "KTransformers is set up in accelerate's file since then"
_TRANSFORMERS = "transformers 4"
_SUM = "the sum of max_source_length and max_target_length; in pre-training max_source_length"

_ROWS = (
    Renamed("prompt_template", f"{_LF} 0.1.3", "template", _as("template")),
    Renamed("dev_ratio", f"{_LF} 0.1.5", "val_size", _as("val_size")),
    Renamed("source_prefix", f"{_LF} 0.1.6", None, _only(""), "write the prefix into the data"),
    Renamed("padding_side", f"{_LF} 0.1.7", None, _nothing, "the library pads as each stage needs it"),
    Renamed("max_source_length", f"{_LF} 0.1.8", "cutoff_len", _cutoff_len, _SUM),
    Renamed("max_target_length", f"{_LF} 0.1.8", "cutoff_len", _cutoff_len, _SUM),
    Renamed("num_hidden_layers", f"{_LF} 0.1.8", None, _nothing, "it is read from the model"),
    Renamed("compute_dtype", f"{_LF} 0.1.8", None, _nothing, "it follows from bf16 and fp16"),
    Renamed("use_auth_token", f"{_LF} 0.2.0", None, _nothing, "log in with the hub's own command"),
    Renamed("dpo_ref_model", f"{_LF} 0.2.2", "ref_model", _as("ref_model")),
    Renamed("dpo_ref_model_checkpoint", f"{_LF} 0.2.2", "ref_model_adapters", _as("ref_model_adapters")),
    Renamed(
        "checkpoint_dir",
        f"{_LF} 0.3.3",
        "adapter_name_or_path",
        _adapter,
        "with full and freeze tuning model_name_or_path",
    ),
    Renamed(
        "resume_lora_training",
        f"{_LF} 0.3.3",
        "create_new_adapter",
        _inverted("create_new_adapter"),
        "inverted, true is now false",
    ),
    Renamed(
        "system_prompt",
        f"{_LF} 0.3.3",
        "default_system",
        lambda value, others: {"default_system": value} if "|" not in str(value) else None,
        "for all datasets alike",
    ),
    Renamed("neft_alpha", f"{_LF} 0.3.3", "neftune_noise_alpha", _noise, "0 is now null"),
    Renamed("ref_model_checkpoint", f"{_LF} 0.3.3", "ref_model_adapters", _as("ref_model_adapters")),
    Renamed("reward_model_checkpoint", f"{_LF} 0.3.3", "reward_model_adapters", _as("reward_model_adapters")),
    Renamed("sft_packing", f"{_LF} 0.5.3", "packing", _as("packing")),
    Renamed(
        "lora_bf16_mode",
        f"{_LF} 0.5.3",
        "pure_bf16",
        _if_true(pure_bf16=True),
        "both keep the trained weights in bf16",
    ),
    Renamed("disable_version_checking", f"{_LF} 0.5.3", None, _nothing, "it would hide what is broken"),
    Renamed("ppo_logger", f"{_LF} 0.6.0", "report_to", _logger),
    Renamed("cache_path", f"{_LF} 0.6.1", "tokenized_path", _as("tokenized_path")),
    Renamed("num_layer_trainable", f"{_LF} 0.7.0", "freeze_trainable_layers", _as("freeze_trainable_layers")),
    Renamed(
        "name_module_trainable", f"{_LF} 0.7.0", "freeze_trainable_modules", _as("freeze_trainable_modules")
    ),
    Renamed(
        "badam_switch_block_every", f"{_LF} 0.7.0", "badam_switch_interval", _as("badam_switch_interval")
    ),
    Renamed("dpo_beta", f"{_LF} 0.7.1", "pref_beta", _as("pref_beta")),
    Renamed("dpo_loss", f"{_LF} 0.7.1", "pref_loss", _as("pref_loss")),
    Renamed("dpo_ftx", f"{_LF} 0.7.1", "pref_ftx", _as("pref_ftx")),
    Renamed(
        "orpo_beta",
        f"{_LF} 0.7.1",
        "pref_beta",
        lambda value, others: {"pref_beta": value} if others.get("stage") == "orpo" else {},
    ),
    Renamed("vllm_dtype", f"{_LF} 0.8.1", "infer_dtype", _as("infer_dtype")),
    Renamed(
        "split",
        f"{_LF} 0.8.2",
        None,
        _only("train"),
        "a dataset's registration has a key `split`: set it in data/datasets.yaml",
    ),
    Renamed("reserved_label_len", f"{_LF} 0.8.2", None, _nothing, "cutoff_len is shared out without it"),
    Renamed("visual_inputs", f"{_LF} 0.8.3", None, _nothing, "it is read from the model"),
    Renamed(
        "train_mm_proj_only",
        f"{_LF} 0.9.1",
        "freeze_language_model",
        _if_true(freeze_vision_tower=True, freeze_language_model=True, freeze_multi_modal_projector=False),
        "with freeze_vision_tower: true and freeze_multi_modal_projector: false",
    ),
    Renamed("image_resolution", f"{_LF} 0.9.1", "image_max_pixels", _as("image_max_pixels")),
    Renamed("video_resolution", f"{_LF} 0.9.1", "video_max_pixels", _as("video_max_pixels")),
    Renamed("image_dir", f"{_LF} 0.9.1", "media_dir", _as("media_dir")),
    Renamed("new_special_tokens", f"{_LF} 0.9.2", "add_special_tokens", _as("add_special_tokens")),
    Renamed("ray_run_name", f"{_LF} 0.9.4", None, _nothing, _RAY),
    Renamed("ray_storage_path", f"{_LF} 0.9.4", None, _nothing, _RAY),
    Renamed("ray_storage_filesystem", f"{_LF} 0.9.4", None, _nothing, _RAY),
    Renamed("resources_per_worker", f"{_LF} 0.9.4", None, _nothing, _RAY),
    Renamed("placement_strategy", f"{_LF} 0.9.4", None, _nothing, _RAY),
    *(
        Renamed(name, f"{_LF} 0.9.4", None, lambda value, others: None if others.get("use_kt") else {}, _KT)
        for name in (
            "kt_optimize_rule",
            "cpu_infer",
            "chunk_size",
            "mode",
            "kt_maxlen",
            "kt_use_cuda_graph",
            "kt_mode",
            "kt_force_think",
        )
    ),
    Renamed(
        "warmup_ratio",
        _TRANSFORMERS,
        "warmup_steps",
        _as("warmup_steps"),
        "below 1 it is a share of all steps",
    ),
    Renamed(
        "per_gpu_train_batch_size",
        _TRANSFORMERS,
        "per_device_train_batch_size",
        _as("per_device_train_batch_size"),
    ),
    Renamed(
        "per_gpu_eval_batch_size",
        _TRANSFORMERS,
        "per_device_eval_batch_size",
        _as("per_device_eval_batch_size"),
    ),
    Renamed("no_cuda", _TRANSFORMERS, "use_cpu", _as("use_cpu")),
    Renamed("adafactor", _TRANSFORMERS, "optim", _if_true(optim="adafactor"), "write optim: adafactor"),
    Renamed(
        "group_by_length",
        _TRANSFORMERS,
        "train_sampling_strategy",
        _if_true(train_sampling_strategy="group_by_length"),
        "true is now group_by_length",
    ),
    Renamed(
        "save_safetensors",
        _TRANSFORMERS,
        None,
        _nothing,
        "weights are saved as safetensors, whatever it says",
    ),
    Renamed("half_precision_backend", _TRANSFORMERS, None, _only("auto"), "mixed precision is torch's own"),
    Renamed("fp16_backend", _TRANSFORMERS, None, _only("auto"), "mixed precision is torch's own"),
    Renamed("fp16_opt_level", _TRANSFORMERS, None, _nothing, "it was apex's alone"),
    Renamed(
        "include_tokens_per_second",
        _TRANSFORMERS,
        "include_num_input_tokens_seen",
        _if_true(include_num_input_tokens_seen=True),
        "throughput is logged with it",
    ),
    Renamed(
        "include_inputs_for_metrics",
        _TRANSFORMERS,
        "include_for_metrics",
        _if_true(include_for_metrics=["inputs"]),
    ),
    Renamed("push_to_hub_model_id", _TRANSFORMERS, "hub_model_id", _as("hub_model_id")),
    Renamed(
        "evaluate_during_training",
        _TRANSFORMERS,
        "eval_strategy",
        _if_true(eval_strategy="steps"),
        "true is now steps",
    ),
)

RENAMED: Mapping[str, Renamed] = {row.name: row for row in _ROWS}
"""The rows by the argument's old name."""

_FAMILY = "the family has one template"
_PEFT = "all-linear is PEFT's word"

VALUES = (
    RenamedValue("stage", "orpo", f"{_LF} 0.7.1", {"stage": "dpo", "pref_loss": "orpo"}),
    RenamedValue("finetuning_type", "none", f"{_LF} 0.2.1", None, "it was for evaluation alone"),
    RenamedValue("flash_attn", True, f"{_LF} 0.6.3", {"flash_attn": "fa2"}, "true meant FlashAttention-2"),
    RenamedValue("flash_attn", False, f"{_LF} 0.6.3", {"flash_attn": "auto"}, "false meant the model's own"),
    RenamedValue("flash_attn", "off", f"{_LF} 0.8.2", {"flash_attn": "disabled"}),
    RenamedValue("quantization_method", "bitsandbytes", f"{_LF} 0.9.2", {"quantization_method": "bnb"}),
    RenamedValue("lora_target", "all-linear", None, {"lora_target": "all"}, _PEFT),
    RenamedValue("template", "vanilla", f"{_LF} 0.6.2", {"template": "empty"}),
    RenamedValue("template", "chatglm3_raw", f"{_LF} 0.4.0", {"template": "chatglm3"}),
    RenamedValue("template", "chatglm3_system", f"{_LF} 0.8.2", {"template": "chatglm3"}),
    RenamedValue("template", "qwen2", None, {"template": "qwen"}, _FAMILY),
    RenamedValue("template", "qwen25", None, {"template": "qwen"}, _FAMILY),
    RenamedValue("template", "qwen2.5", None, {"template": "qwen"}, _FAMILY),
)
"""Values that an argument no longer takes."""


def renamed_value(name: str, value: Any) -> RenamedValue | None:
    """The row for this value of this argument, None where the value is still taken."""
    # a shell command has only text: `--flash_attn True`
    word = value.lower() if isinstance(value, str) else value
    for row in VALUES:
        old = str(row.old).lower() if isinstance(word, str) else row.old
        if row.name == name and type(old) is type(word) and old == word:
            return row
    return None
