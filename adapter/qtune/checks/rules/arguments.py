"""Rules about what stands in an argument: words, JSON, files, FSDP's and the optimizer's settings."""

from __future__ import annotations

from qtune.checks.rules.view import Rule, View
from qtune.config.names import quoted
from qtune.files import from_json
from qtune.schema import loggers

_FILLED_IN = "transformers/training_args.py, TrainingArguments.__post_init__"
_FSDP = "transformers/training_args.py, TrainingArguments._process_fsdp_args"
_OPTIMIZERS = "transformers/trainer_optimizer.py, _setup_low_rank_optimizer"

_FSDP_WORDS = (
    *("full_shard", "shard_grad_op", "no_shard", "hybrid_shard", "hybrid_shard_zero2"),
    *("offload", "auto_wrap"),
)
_DEBUG_WORDS = ("underflow_overflow", "tpu_metrics_debug")
_ACCELERATOR_KEYS = (
    *("split_batches", "dispatch_batches", "even_batches", "use_seedable_sampler", "non_blocking"),
    *("gradient_accumulation_kwargs", "use_configured_state"),
)
# Text that starts with a brace is read as JSON.
_JSON_TEXTS = (
    *("accelerator_config", "fsdp_config", "gradient_checkpointing_kwargs", "lr_scheduler_kwargs"),
    *("ray_init_kwargs", "sglang_config", "vllm_config"),
)
_FILES = ("accelerator_config", "fsdp_config", "new_special_tokens_config")


def _words(value: object) -> list[str]:
    if isinstance(value, str):
        return value.split()
    return [str(item) for item in value] if isinstance(value, list) else []


def _unknown_words(value: object, known: tuple[str, ...]) -> str:
    return quoted(word for word in _words(value) if word not in known)


def _broken_json(view: View) -> str:
    return quoted(key for key in _JSON_TEXTS if isinstance(view[key], str) and not _is_json(view[key]))


def _is_json(text: str) -> bool:
    if not text.startswith("{"):
        return True
    try:
        return isinstance(from_json(text), dict)
    except ValueError:
        return False


def _missing_file(view: View) -> str:
    return ", ".join(
        f"`{key}`: {view[key]}"
        for key in _FILES
        if isinstance(view[key], str)
        and not (key in _JSON_TEXTS and view[key].startswith("{"))
        and not (view.root / view[key]).is_file()
    )


def _mapping(view: View, argument: str) -> dict[str, object]:
    """A mapping argument, given as such or as JSON text."""
    value = view[argument]
    if isinstance(value, str) and value.startswith("{") and _is_json(value):
        value = from_json(value)
    return value if isinstance(value, dict) else {}


def _fsdp_settings(view: View) -> dict[str, object]:
    return {key.removeprefix("fsdp_"): value for key, value in _mapping(view, "fsdp_config").items()}


def _wraps_twice(view: View) -> bool:
    settings = _fsdp_settings(view)
    return bool(
        view["fsdp"] and settings.get("min_num_params") and settings.get("transformer_layer_cls_to_wrap")
    )


def _low_rank_optimizer(view: View) -> bool:
    return str(view["optim"]).startswith(("galore_", "apollo_"))


RULES = (
    Rule(
        "debug-words",
        ("debug",),
        lambda view: _unknown_words(view["debug"], _DEBUG_WORDS) if isinstance(view["debug"], str) else "",
        "transformers knows no {found}",
        f"use {' or '.join(_DEBUG_WORDS)}, or take it out",
        _FILLED_IN,
    ),
    Rule(
        "report-to-known",
        ("report_to",),
        lambda view: view["stage"] != "ppo" and _unknown_words(view.loggers, (*loggers(), "none", "all")),
        "transformers cannot report to {found}",
        f"use none or one of {', '.join(loggers())}",
        "transformers/integrations/integration_utils.py, get_reporting_integration_callbacks",
    ),
    Rule(
        "trackio-needs-project",
        ("project", "report_to"),
        lambda view: "trackio" in view.loggers and not view["project"],
        "Trackio needs a project to report to",
        "set `project`",
        "llamafactory/hparams/parser.py, _verify_trackio_args",
    ),
    Rule(
        "text-is-json",
        _JSON_TEXTS,
        _broken_json,
        "{found} starts with a brace and is no JSON",
        "write a YAML mapping without quotes",
        _FILLED_IN,
    ),
    Rule(
        "file-is-there",
        _FILES,
        _missing_file,
        "there is no file {found}",
        "correct the path; it starts from the project's directory",
        f"{_FILLED_IN}; llamafactory/hparams/model_args.py, BaseModelArguments.__post_init__",
    ),
    Rule(
        "accelerator-config-keys",
        ("accelerator_config",),
        lambda view: _unknown_words([*_mapping(view, "accelerator_config")], _ACCELERATOR_KEYS),
        "accelerate has no {found} there",
        f"use {', '.join(_ACCELERATOR_KEYS[:-1])}",
        f"{_FILLED_IN}; trainer_pt_utils.py, AcceleratorConfig",
    ),
    Rule(
        "accelerator-config-state",
        ("accelerator_config",),
        lambda view: bool(_mapping(view, "accelerator_config").get("use_configured_state")),
        "`use_configured_state` is for programs that have set accelerate up themselves",
        "take it out",
        "transformers/training_args.py, TrainingArguments._setup_devices",
    ),
    Rule(
        "fsdp-words",
        ("fsdp",),
        lambda view: _unknown_words(view["fsdp"], _FSDP_WORDS),
        "transformers knows no {found}",
        f"use words of {', '.join(_FSDP_WORDS)}, with spaces between",
        _FSDP,
    ),
    Rule(
        "fsdp-offload-alone",
        ("fsdp",),
        lambda view: _words(view["fsdp"]) == ["offload"],
        "offload does nothing without sharding",
        "write e.g. full_shard offload",
        _FSDP,
    ),
    Rule(
        "fsdp-shards-once",
        ("fsdp",),
        lambda view: {"full_shard", "shard_grad_op"} <= set(_words(view["fsdp"])),
        "full_shard and shard_grad_op are two ways to shard",
        "keep one of the two",
        _FSDP,
    ),
    Rule(
        "fsdp-wraps-once",
        ("fsdp_config",),
        _wraps_twice,
        "`min_num_params` and `transformer_layer_cls_to_wrap` are two ways to wrap",
        "keep one of the two",
        _FSDP,
    ),
    Rule(
        "fsdp-2-without-quantization",
        ("fsdp_config", "quantization_bit", "launch.launcher"),
        lambda view: (
            view.accelerate
            and not view.hardware.is_cpu
            and view["quantization_bit"] is not None
            and _fsdp_settings(view).get("version") == 2
        ),
        "FSDP 2 loses the scales of quantised weights",
        "take `version` out of fsdp_config: qtune takes FSDP 1 for them",
        "accelerate/utils/fsdp_utils.py, fsdp2_prepare_model",
    ),
    Rule(
        "fsdp-or-deepspeed",
        ("fsdp", "launch.launcher", "zero.stage"),
        lambda view: view.fsdp and bool(view.zero),
        "FSDP and DeepSpeed both shard the model",
        "take out `fsdp` and launch.launcher: accelerate, or `zero:` (zero.stage: null)",
        "transformers/trainer.py, Trainer.__init__",
    ),
    Rule(
        "fsdp-needs-processes",
        ("fsdp", "launch.nproc_per_node"),
        lambda view: bool(view["fsdp"]) and not view.distributed,
        "FSDP shards over processes, and there is one",
        "set launch.nproc_per_node: 2 or more, or take `fsdp` out",
        "transformers/trainer.py, Trainer.__init__",
    ),
    Rule(
        "optim-target-modules",
        ("optim",),
        lambda view: _low_rank_optimizer(view) and not view["optim_target_modules"],
        "optim {optim} needs to know which modules",
        "set optim_target_modules: all-linear, or use LLaMA-Factory's own use_galore or use_apollo",
        _OPTIMIZERS,
    ),
    Rule(
        "layerwise-optim",
        ("optim", "gradient_accumulation_steps", "launch.nproc_per_node"),
        lambda view: (
            _low_rank_optimizer(view)
            and view["optim"].endswith("layerwise")
            and (view.distributed or view["gradient_accumulation_steps"] != 1)
        ),
        "optim {optim} works on one GPU with gradient_accumulation_steps 1 only",
        "take the name without _layerwise, or set gradient_accumulation_steps: 1 on one GPU",
        _OPTIMIZERS,
    ),
    Rule(
        "layerwise-adafactor",
        ("optim",),
        lambda view: view["optim"] == "galore_adafactor_layerwise",
        "transformers starts optim {optim} with a learning rate and `relative_step` both, which it refuses",
        "set optim: galore_adafactor, or galore_adamw_layerwise",
        "transformers/trainer_optimizer.py, _get_galore_optimizer; galore_torch/adafactor.py",
    ),
    Rule(
        "optim-args-are-pairs",
        ("optim_args",),
        lambda view: (
            bool(view["optim_args"])
            and any(part.count("=") != 1 for part in str(view["optim_args"]).replace(" ", "").split(","))
        ),
        "is {optim_args}: not of the form name=value,name=value",
        "write e.g. optim_args: rank=64,scale=1.0",
        "transformers/trainer_optimizer.py, _parse_optim_args",
    ),
)
