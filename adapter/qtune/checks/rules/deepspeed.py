"""Rules about the `zero` block: what DeepSpeed refuses, or takes without a word and does not do."""

from __future__ import annotations

from qtune.checks.rules.engine import compiles_optimizer
from qtune.checks.rules.view import Rule, View

_CONFIG = "deepspeed/runtime/zero/config.py, DeepSpeedZeroConfig"
_OFFLOAD = "deepspeed/runtime/zero/offload_config.py"

_GATHERING = "stage3_gather_16bit_weights_on_model_save", "gather_16bit_weights_on_model_save"
# A key, and the keys that it replaced or that replaced it. The others of two names differ by `stage3_`.
_REPLACED = {
    "cpu_offload": ("offload_optimizer",),
    "cpu_offload_param": ("offload_param",),
    "stage3_gather_fp16_weights_on_model_save": _GATHERING,
}
_NOT_NEGATIVE = (
    *("reduce_bucket_size", "allgather_bucket_size", "sub_group_size", "zero_hpz_partition_size"),
    *("prefetch_bucket_size", "param_persistence_threshold", "model_persistence_threshold"),
    *("max_live_parameters", "max_reuse_distance"),
)
_NOT_NEGATIVE_OFFLOADED = ("buffer_count", "buffer_size", "max_in_cpu")
_SHARES = ("ratio", "cpuadam_cores_perc")
_BLOCKS = ("offload_optimizer", "offload_param")
_VALUE_HEADS = ("rm", "ppo")
_GATHER = "set zero.stage3_gather_16bit_weights_on_model_save: true"


def _twice_named(view: View) -> str:
    pairs = [(key, key.removeprefix("stage3_")) for key in view.zero if key.startswith("stage3_")]
    pairs += [(old, new) for old, news in _REPLACED.items() if old in view.zero for new in news]
    return ", ".join(f"`{one}` and `{other}`" for one, other in pairs if other in view.zero)


def _negative(view: View) -> str:
    numbers = {key: value for key, value in view.zero.items() if key.removeprefix("stage3_") in _NOT_NEGATIVE}
    for block in _BLOCKS:
        inner = view.zero.get(block, {})
        numbers |= {f"{block}.{key}": inner[key] for key in _NOT_NEGATIVE_OFFLOADED if key in inner}
    return ", ".join(f"`{key}` is {value}" for key, value in numbers.items() if value != "auto" and value < 0)


def _no_share(view: View) -> str:
    inner = view.zero.get("offload_optimizer", {})
    return ", ".join(f"`{key}` is {inner[key]}" for key in _SHARES if not 0 <= inner.get(key, 1) <= 1)


def _on_nvme(view: View) -> list[str]:
    return [block for block in _BLOCKS if view.offload(block).get("device") == "nvme"]


def _without_path(view: View) -> str:
    blocks = (block for block in _on_nvme(view) if not view.offload(block).get("nvme_path"))
    return ", ".join(f"zero.{block}.nvme_path" for block in blocks)


def _leaves_shards(view: View) -> bool:
    """Whether whole weights are not gathered for saving; those of an adapter alone are in any case."""
    return view.zero3 and not any(
        view.zero.get(key) for key in ("stage3_gather_fp16_weights_on_model_save", *_GATHERING)
    )


def offloads_optimizer(view: View) -> bool:
    """Whether DeepSpeed's own CPU Adam steps in, which it compiles first."""
    return bool(view.offload("offload_optimizer")) or bool(view.zero.get("cpu_offload"))


RULES = (
    Rule(
        "zero-needs-stage",
        ("zero.stage", "zero.offload_optimizer", "zero.offload_param", "zero.overlap_comm"),
        lambda view: view.config.find("zero", "stage") is None and bool(view.config.block("zero")),
        "`zero:` has keys and no `stage`: DeepSpeed stays off",
        "set zero.stage to 1, 2 or 3, or take the block out",
        f"{_CONFIG}.stage",
        "warning",
    ),
    Rule(
        "zero-key-twice",
        ("zero",),
        _twice_named,
        "{found} are two names of one thing",
        "keep one of the two",
        f"deepspeed/runtime/config_utils.py, DeepSpeedConfigModel; {_CONFIG}",
    ),
    Rule(
        "zero-not-negative",
        ("zero",),
        _negative,
        "{found}",
        "use 0 or more, or take it out for DeepSpeed's default",
        _CONFIG,
    ),
    Rule(
        "zero-offload-share",
        ("zero.offload_optimizer",),
        _no_share,
        "{found}, which is no share",
        "use a number from 0 to 1",
        f"{_OFFLOAD}, DeepSpeedZeroOffloadOptimizerConfig",
    ),
    Rule(
        "zero-legacy-stage1",
        ("zero.legacy_stage1",),
        lambda view: bool(view.zero.get("legacy_stage1")),
        "DeepSpeed has the old stage 1 no longer",
        "take it out",
        "deepspeed/runtime/engine.py, DeepSpeedEngine._configure_zero_optimizer",
    ),
    Rule(
        "offload-param-needs-stage-3",
        ("zero.offload_param", "zero.cpu_offload_param", "zero.stage"),
        lambda view: (
            bool(view.zero)
            and not view.zero3
            and (bool(view.offload("offload_param")) or bool(view.zero.get("cpu_offload_param")))
        ),
        "only ZeRO-3 shards parameters, so only it can offload them",
        "set zero.stage 3, or take `offload_param` out",
        f"{_OFFLOAD}, DeepSpeedZeroOffloadParamConfig",
    ),
    Rule(
        "offload-ratio-needs-stage-3",
        ("zero.offload_optimizer.ratio", "zero.stage"),
        lambda view: (
            bool(view.zero) and not view.zero3 and view.zero.get("offload_optimizer", {}).get("ratio", 1) < 1
        ),
        "only ZeRO-3 offloads a part of the optimizer",
        "set zero.stage 3, or take `ratio` out",
        f"{_CONFIG}.offload_ratio_check",
    ),
    Rule(
        "nvme-needs-stage-3",
        ("zero.offload_optimizer.device", "zero.stage"),
        lambda view: not view.zero3 and view.offload("offload_optimizer").get("device") == "nvme",
        "only ZeRO-3 offloads to NVMe; other stages would use host memory without a word",
        "set zero.stage 3, or offload_optimizer.device: cpu",
        "deepspeed/runtime/zero/stage3.py, DeepSpeedZeroOptimizer_Stage3; engine.py, zero_use_cpu_optimizer",
    ),
    Rule(
        "nvme-needs-path",
        ("zero.offload_optimizer.device", "zero.offload_param.device"),
        lambda view: view.zero3 and _without_path(view),
        "offloading to NVMe needs a directory on it",
        "set {found}; with preset zero3_nvme launch.nvme_path sets both",
        "deepspeed/runtime/zero/stage3.py, DeepSpeedZeroOptimizer_Stage3._configure_tensor_swapping",
    ),
    Rule(
        "nvme-optimizer-needs-gpu",
        ("zero.offload_optimizer.device",),
        lambda view: (
            view.zero3 and view.hardware.is_cpu and view.offload("offload_optimizer").get("device") == "nvme"
        ),
        "without a GPU DeepSpeed aborts when it writes the optimizer to NVMe",
        "set zero.offload_optimizer.device: auto, or cpu; parameters do go to NVMe",
        "deepspeed/runtime/swap_tensor/partitioned_optimizer_swapper.py, _swap_out_optimizer_state",
    ),
    Rule(
        "nvme-needs-libaio",
        ("zero.offload_optimizer.device", "zero.offload_param.device"),
        lambda view: (
            bool(_on_nvme(view)) and view.stack is not None and not view.stack.has_header("libaio.h")
        ),
        "DeepSpeed compiles its NVMe access with libaio, whose headers are not here",
        "install them (Debian: apt-get install libaio-dev), or offload to the CPU",
        "deepspeed/ops/op_builder/async_io.py, AsyncIOBuilder.is_compatible",
    ),
    Rule(
        "offload-needs-compiler",
        ("zero.offload_optimizer.device", "zero.offload_param.device", "deepspeed.optimizer", "zero.stage"),
        lambda view: (
            bool(view.zero)
            and (
                view.hardware.is_cpu
                or offloads_optimizer(view)
                or bool(_on_nvme(view))
                or compiles_optimizer(view)
            )
            and view.stack is not None
            and not view.stack.has_compiler()
        ),
        "DeepSpeed compiles parts of itself for this, and here is no C++ compiler",
        "install one (Debian: apt-get install g++), or name it in CXX",
        "deepspeed/ops/op_builder/builder.py, OpBuilder.jit_load",
    ),
    Rule(
        "zero3-gathers-weights",
        ("zero.stage", "finetuning_type"),
        lambda view: (
            _leaves_shards(view)
            and view["stage"] not in _VALUE_HEADS
            and view["finetuning_type"] not in ("lora", "oft")
        ),
        "without stage3_gather_16bit_weights_on_model_save a run ends with shards, not with a model",
        _GATHER,
        "transformers/trainer.py, Trainer.save_model",
        "warning",
    ),
    Rule(
        "zero3-gathers-value-heads",
        ("zero.stage", "stage"),
        lambda view: _leaves_shards(view) and view["stage"] in _VALUE_HEADS,
        "stage {stage} takes its value head out of the model's file, which ZeRO-3 writes only with"
        " stage3_gather_16bit_weights_on_model_save: the training fails at its first checkpoint",
        _GATHER,
        "llamafactory/train/callbacks.py, fix_valuehead_checkpoint",
    ),
    Rule(
        "zero3-without-batch-finding",
        ("auto_find_batch_size", "zero.stage"),
        lambda view: view.zero3 and view["auto_find_batch_size"],
        "does not work under ZeRO-3",
        "take it out, or use zero.stage 2",
        "transformers/trainer.py, Trainer.create_accelerator_and_postprocess",
    ),
    Rule(
        "zero3-reentrant-checkpointing",
        ("use_reentrant_gc", "zero.stage"),
        lambda view: (
            view.zero3
            and view["finetuning_type"] in ("lora", "oft")
            and not view["use_reentrant_gc"]
            and not view["disable_gradient_checkpointing"]
        ),
        "ZeRO-3 with adapters has failed without reentrant gradient checkpointing",
        "take it out: true is the default",
        "llamafactory/model/model_utils/checkpointing.py, prepare_model_for_training",
        "warning",
    ),
)
