"""Rules about the `deepspeed` block: DeepSpeed's keys beside ZeRO's, and the arguments that they contradict.

Who wins: transformers fills in each `auto` of what is an argument too, and refuses another value. The block's
optimizer and schedule take the place of the Trainer's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qtune.checks.rules.view import Rule, View
from qtune.config.names import did_you_mean
from qtune.config.project import FILE
from qtune.files import dump_yaml, leaves

_FILLED = "transformers/integrations/deepspeed.py, HfTrainerDeepSpeedConfig"
_ENGINE = "deepspeed/runtime/engine.py"
# DEEPSPEED_OPTIMIZERS of deepspeed/runtime/config.py, in any case, and torch.optim's, in theirs
_OPTIMIZERS = (
    *("Adagrad", "Adam", "AdamW", "Lamb", "OneBitAdam", "OneBitLamb", "ZeroOneAdam", "MuAdam", "MuAdamW"),
    *("MuSGD", "Lion", "Muon"),
)
_OF_TORCH = (
    *("ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam"),
    *("RAdam", "RMSprop", "Rprop", "SGD", "SparseAdam"),
)
# deepspeed/runtime/lr_schedules.py; then torch.optim.lr_scheduler's that need no other schedule or function
_SCHEDULES = (
    *("LRRangeTest", "OneCycle", "WarmupLR", "WarmupDecayLR", "WarmupCosineLR"),
    *(
        "ConstantLR",
        "CosineAnnealingLR",
        "CosineAnnealingWarmRestarts",
        "CyclicLR",
        "ExponentialLR",
        "LinearLR",
    ),
    *("MultiStepLR", "OneCycleLR", "PolynomialLR", "StepLR"),
)
_WITHOUT_ZERO = ("onebitadam", "zerooneadam", "onebitlamb")
# Models and loaders of DeepSpeed's own read these, and LLaMA-Factory's are transformers'. The last
# is overwritten by accelerate.
_IDLE = (
    *("activation_checkpointing", "dataloader_drop_last", "eigenvalue", "pipeline", "sparse_attention"),
    *("weight_quantization", "steps_per_print"),
)
_FILLED_IN_PARAMS = {
    "optimizer": ("lr", "betas", "eps", "weight_decay"),
    "scheduler": ("warmup_min_lr", "warmup_max_lr", "warmup_num_steps", "total_num_steps"),
}
_AGREEING = (
    *("train_micro_batch_size_per_gpu", "train_batch_size", "gradient_accumulation_steps"),
    *("gradient_clipping", "fp16.enabled", "bf16.enabled"),
    *(f"{block}.params.{key}" for block, keys in _FILLED_IN_PARAMS.items() for key in keys),
)
_OF_MASTER_WEIGHTS = (
    *("fp16.fp16_master_weights_and_grads", "bf16.bf16_master_weights_and_grads"),
    "bf16.bf16_optimizer_states",
)


def _set(view: View, path: str) -> Any:
    """The block's value at a dotted path, None where it has none."""
    value: Any = view.deepspeed
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _params(view: View, block: str) -> Mapping[str, Any]:
    params = _set(view, f"{block}.params")
    return params if isinstance(params, Mapping) else {}


def _arguments(view: View) -> Iterator[tuple[str, str, Any]]:
    """(key, argument, that one's value) of what the block and the arguments both say."""
    batch, accumulation = view["per_device_train_batch_size"], view["gradient_accumulation_steps"]
    if not view["auto_find_batch_size"]:
        yield "train_micro_batch_size_per_gpu", "per_device_train_batch_size", batch
        made = "per_device_train_batch_size * gradient_accumulation_steps * processes"
        yield "train_batch_size", made, batch * accumulation * view.config.processes
    yield "gradient_accumulation_steps", "gradient_accumulation_steps", accumulation
    yield "gradient_clipping", "max_grad_norm", view["max_grad_norm"]
    for precision in ("fp16", "bf16"):
        yield f"{precision}.enabled", precision, bool(view[precision] or view[f"{precision}_full_eval"])
    yield "optimizer.params.lr", "learning_rate", view["learning_rate"]
    yield "optimizer.params.betas", "[adam_beta1, adam_beta2]", [view["adam_beta1"], view["adam_beta2"]]
    yield "optimizer.params.eps", "adam_epsilon", view["adam_epsilon"]
    yield "optimizer.params.weight_decay", "weight_decay", view["weight_decay"]
    yield "scheduler.params.warmup_max_lr", "learning_rate", view["learning_rate"]
    if view["warmup_ratio"] is None:  # the larger of the two would hold
        yield "scheduler.params.warmup_num_steps", "warmup_steps", view["warmup_steps"]
    if view["max_steps"] > 0:
        yield "scheduler.params.total_num_steps", "max_steps", view["max_steps"]


def _disagreeing(view: View) -> str:
    return ", ".join(
        f"`deepspeed.{key}` is {dump_yaml(value)} and `{argument}` {dump_yaml(wanted)}"
        for key, argument, wanted in (_arguments(view) if view.deepspeed else ())
        if (value := _set(view, key)) is not None and value not in ("auto", wanted)
    )


def _unfilled(view: View) -> str:
    return ", ".join(
        f"`deepspeed.{block}.params.{key}`"
        for block, filled in _FILLED_IN_PARAMS.items()
        for key, value in _params(view, block).items()
        if value == "auto" and key not in filled
    )


def _nobodys(view: View) -> str:
    known = (
        ("optimizer", (*_OPTIMIZERS, *_OF_TORCH), {name.lower() for name in _OPTIMIZERS}),
        ("scheduler", _SCHEDULES, frozenset[str]()),
    )
    found = []
    for block, names, in_any_case in known:
        name = _set(view, f"{block}.type")
        if block not in view.deepspeed or name in names or str(name).lower() in in_any_case:
            continue
        near = did_you_mean(str(name), names) or f"there are {', '.join(dict.fromkeys(names))}"
        found.append(
            f"`deepspeed.{block}` has no type" if name is None else f"`{name}` is no {block}: {near}"
        )
    return "; ".join(found)


def _not_at_this_stage(view: View) -> str:
    """What DeepSpeed asserts of its keys and the stage."""
    if not view.deepspeed:
        return ""
    stage, optimizer = view.zero.get("stage"), _set(view, "optimizer.type")
    found = []
    if stage == 0:
        found += [f"`{key}` needs ZeRO" for key in _OF_MASTER_WEIGHTS if _set(view, key)]
    elif str(optimizer).lower() in _WITHOUT_ZERO:
        found.append(f"`{optimizer}` does not work with ZeRO")
    if stage != 0 and _set(view, "amp.enabled"):
        found.append("`amp` does not work with ZeRO")
    if stage == 3 and _tensor_parallel(view) > 1:
        found.append("`tensor_parallel` does not work with ZeRO-3")
    return ", ".join(found)


def _tensor_parallel(view: View) -> int:
    return int(_set(view, "tensor_parallel.autotp_size") or 0)


def compiles_optimizer(view: View) -> bool:
    """Whether the block's optimizer is one that DeepSpeed compiles first."""
    compiled = str(_set(view, "optimizer.type")).lower() in ("adam", "adamw", "lamb", "lion")
    return compiled and not _params(view, "optimizer").get("torch_adam")


def _stays_off(view: View) -> bool:
    """Not for qtune.yaml's own keys, which are there for the presets that have a stage."""
    config = view.config
    given = any(path[0] == "deepspeed" and value.origin.file != FILE for path, value in config.values.items())
    return given and config.find("zero", "stage") is None and not config.block("zero")


def _idle(view: View) -> str:
    found = [key for key in _IDLE if _does_something(view.deepspeed.get(key))]
    return ", ".join(f"`{key}`" for key in found)


def _does_something(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return value not in (None, False)
    return value.get("enabled") is not False and any(inside for _, inside in leaves(dict(value)))


def _chosen_elsewhere(view: View) -> str:
    return ", ".join(f"`{key}`" for key in ("autotuning", "elasticity") if _set(view, f"{key}.enabled"))


RULES = (
    Rule(
        "deepspeed-needs-stage",
        ("deepspeed", "zero.stage"),
        _stays_off,
        "`deepspeed:` has keys and `zero:` no `stage`: DeepSpeed stays off",
        "set zero.stage to 1, 2 or 3, or to 0 for DeepSpeed without sharding; or take the block out",
        "qtune: values.py, Config.uses_zero",
        "warning",
    ),
    Rule(
        "deepspeed-agrees-with-arguments",
        tuple(f"deepspeed.{key}" for key in _AGREEING),
        _disagreeing,
        "{found}: the argument counts, and another value is refused",
        "set the argument, and write auto in `deepspeed:`",
        f"{_FILLED}.fill_match",
    ),
    Rule(
        "deepspeed-auto-is-filled",
        ("deepspeed",),
        _unfilled,
        "nobody fills `auto` in for {found}",
        "write a value, or take it out for DeepSpeed's default",
        f"{_FILLED}.trainer_config_process",
    ),
    Rule(
        "deepspeed-class-is-known",
        ("deepspeed.optimizer", "deepspeed.scheduler"),
        _nobodys,
        "{found}",
        "name one that DeepSpeed or torch has, or take the block out for the Trainer's own",
        f"{_ENGINE}, _configure_basic_optimizer and _scheduler_from_config",
    ),
    Rule(
        "deepspeed-key-and-stage",
        ("deepspeed", "zero.stage"),
        _not_at_this_stage,
        "{found}",
        "set another zero.stage, or take it out",
        f"{_ENGINE}, _do_optimizer_sanity_check; deepspeed/runtime/config.py, _do_error_check",
    ),
    Rule(
        "deepspeed-muon-is-the-librarys",
        ("deepspeed.optimizer",),
        lambda view: str(_set(view, "optimizer.type")).lower() == "muon",
        "DeepSpeed's Muon needs marks in the model, which nobody sets",
        "take the block out, and set use_muon: true",
        f"{_ENGINE}, _configure_basic_optimizer",
    ),
    Rule(
        "deepspeed-optimizer-needs-gpu",
        ("deepspeed.optimizer",),
        lambda view: view.hardware.is_cpu and str(_set(view, "optimizer.type")).lower() in ("lamb", "lion"),
        "DeepSpeed has this optimizer for GPUs alone",
        "name AdamW, or one of torch.optim",
        "deepspeed/ops/op_builder/cpu/no_impl.py, NotImplementedBuilder",
    ),
    Rule(
        "deepspeed-clips-by-argument",
        ("deepspeed.optimizer",),
        lambda view: "max_grad_norm" in _params(view, "optimizer"),
        "an optimizer of DeepSpeed takes no max_grad_norm",
        "take it out of `params`: the argument max_grad_norm is what clips",
        f"{_ENGINE}, _configure_basic_optimizer",
    ),
    Rule(
        "ppo-makes-its-optimizer",
        ("deepspeed.optimizer", "deepspeed.scheduler", "stage"),
        lambda view: view["stage"] == "ppo" and not view.deepspeed.keys().isdisjoint(_FILLED_IN_PARAMS),
        "stage ppo makes its optimizer and its schedule itself",
        "take `optimizer` and `scheduler` out of `deepspeed:`",
        "accelerate/accelerator.py, Accelerator._prepare_deepspeed",
    ),
    Rule(
        "tensor-parallel-divides-processes",
        ("deepspeed.tensor_parallel", "launch.nproc_per_node"),
        lambda view: _tensor_parallel(view) > 1 and view.config.processes % _tensor_parallel(view) > 0,
        "`tensor_parallel` shares the model among more processes than divide {processes}",
        "set launch.nproc_per_node to a multiple of autotp_size",
        "accelerate/accelerator.py, Accelerator._prepare_deepspeed",
    ),
    Rule(
        "deepspeed-leaves-the-batch",
        ("deepspeed.autotuning", "deepspeed.elasticity"),
        _chosen_elsewhere,
        "{found} chooses batches that the trainer knows nothing of, or ends the training to choose them",
        "take it out; `qtune recommend` looks for the largest batch",
        "deepspeed/elasticity/elasticity.py; deepspeed/runtime/engine.py, DeepSpeedEngine._autotuning_exit",
    ),
    Rule(
        "deepspeed-key-is-read",
        tuple(f"deepspeed.{key}" for key in _IDLE),
        _idle,
        "{found} without effect: nothing in LLaMA-Factory's trainings reads it",
        "take it out; activations are recomputed unless disable_gradient_checkpointing is true",
        "deepspeed/runtime/activation_checkpointing; accelerate/utils/dataclasses.py, DeepSpeedPlugin",
        "warning",
    ),
)
