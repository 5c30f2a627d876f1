"""The values that `auto` stands for: from the hardware, the model and the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qtune.machine.hardware import Hardware
from qtune.schema import argument, template_for
from qtune.values import Config, KeyPath, Layer, Origin, Value

AUTO = "auto"
DECIDED = "auto from "
"""How the origin's layer begins of a value that stands where `auto` did."""
MAX_PREPROCESSING_WORKERS = 16
MAX_LOADER_WORKERS = 4
EVALUATION_SHARE = 0.1


@dataclass(frozen=True)
class Known:
    """What `auto` may look at: the config so far, the hardware, and the model's own `model_type`."""

    config: Config
    hardware: Hardware
    model_type: str | None = None

    @property
    def nproc_per_node(self) -> int:
        value = self.config.get("launch", "nproc_per_node")
        return value if isinstance(value, int) and value > 0 else max(1, self.hardware.gpus)

    @property
    def processes(self) -> int:
        """Of all nodes."""
        return self.config.nnodes * self.nproc_per_node

    @property
    def has_evaluation_data(self) -> bool:
        return bool(self.config.get("train", "eval_dataset") or self.config.get("train", "val_size"))

    @property
    def evaluates(self) -> bool:
        strategy = self.config.get("train", "eval_strategy")
        if strategy == AUTO:
            return self.has_evaluation_data and self.why_not_evaluate is None
        return strategy not in (None, "no", False)

    @property
    def why_not_evaluate(self) -> str | None:
        """What an evaluation would crash on, None where it would not.

        The anchored loss returns no outputs, which the evaluation unpacks (llamafactory/train/sft/trainer.py,
        compute_loss). On a CPU bitsandbytes packs 4-bit weights anew at the first evaluation, and neither
        ZeRO-3 nor FSDP knows its shards then (bitsandbytes/nn/modules.py, Linear4bit.forward).
        """
        config = self.config
        if config.get("train", "use_asft_loss") and config.argument("stage") == "sft":
            return "use_asft_loss, with which LLaMA-Factory cannot evaluate"
        sharded = config.get("zero", "stage") == 3 or config.launcher == "accelerate"
        if self.hardware.is_cpu and sharded and config.get("train", "quantization_bit") == 4:
            return "cpu, where 4-bit weights in shards cannot be evaluated"
        return None

    @property
    def reference_model(self) -> str | None:
        """The model that training is held near: the base model, where the loss asks for one and LoRA is on.

        For other methods LLaMA-Factory loads it by itself, for LoRA it forgets it and crashes
        (llamafactory/train/trainer_utils.py, create_ref_model).
        """
        train = self.config.block("train")
        if train.get("ref_model") != AUTO:
            return train.get("ref_model")
        lora = argument(train, "finetuning_type") == "lora"
        anchored = train.get("use_asft_loss") and argument(train, "stage") == "sft"
        return train.get("model_name_or_path") if lora and anchored else None

    @property
    def lacks_judge(self) -> bool:
        """Whether each evaluation dataset has a loss of its own, and none is named as that which counts."""
        train = self.config.block("train")
        apart = train.get("eval_on_each_dataset") and train.get("eval_dataset")
        return bool(apart) and train.get("metric_for_best_model") is None

    @property
    def can_load_best(self) -> bool:
        """Whether the trainer can keep the best model: a checkpoint at each evaluation, whole enough to load.

        Sources: transformers, TrainingArguments.__post_init__; LLaMA-Factory, hparams/parser.py (rm, ppo).
        """
        train = self.config.block("train")
        if not self.evaluates or train.get("stage") in ("rm", "ppo") or self.lacks_judge:
            return False
        if train.get("save_only_model") and self.config.uses_zero:
            return False
        saving, evaluating = train.get("save_strategy"), train.get("eval_strategy")
        if (saving if evaluating == AUTO else evaluating) != saving or saving not in ("steps", "epoch"):
            return False
        return saving != "steps" or train.get("eval_steps") in (AUTO, train.get("save_steps"))


def _use_cpu(known: Known) -> bool | None:
    # With it, ZeRO-3 over several processes counts one device in all and dies on the batch size, and a model
    # that they share finds no process group of DeepSpeed's.
    shared = known.config.get("zero", "stage") == 3 or known.config.origin("deepspeed", "tensor_parallel")
    sharded = shared and known.processes > 1
    return True if known.hardware.is_cpu and not sharded else None


def _ddp_backend(known: Known) -> str | None:
    # Without torchrun nobody starts the process group that accelerate looks for where a backend is named.
    asked = known.config.launcher in ("torchrun", "ray", "slurm")
    launched = known.config.uses_zero or known.processes > 1 or asked
    return "gloo" if known.hardware.is_cpu and launched else None


def _template(known: Known) -> str:
    model = known.config.get("train", "model_name_or_path")
    # An unknown model keeps `auto`, which the check reports with the line to change.
    return (template_for(model, known.model_type) if isinstance(model, str) else None) or AUTO


def _preprocessing_workers(known: Known) -> int | None:
    return None if known.hardware.is_cpu else min(MAX_PREPROCESSING_WORKERS, known.hardware.cores)


def _loader_workers(known: Known) -> int:
    if known.hardware.is_cpu:
        return 0
    return min(MAX_LOADER_WORKERS, known.hardware.cores // known.nproc_per_node)


def _val_size(known: Known) -> float | None:
    # LLaMA-Factory refuses it beside evaluation data of one's own, and without evaluation it is data wasted.
    return EVALUATION_SHARE if known.evaluates and not known.config.get("train", "eval_dataset") else None


def _reference_bits(known: Known) -> int | None:
    # The second copy as small as the first; of the two sizes the library knows, 4 bits is what presets use.
    quantized = known.config.get("train", "quantization_bit") == 4
    return 4 if quantized and known.reference_model is not None else None


def _nvme_path(known: Known) -> str | None:
    path = known.config.get("launch", "nvme_path")
    return path if isinstance(path, str) else None


def _optimizer_device(known: Known) -> str:
    # DeepSpeed writes pinned memory alone to NVMe, and without a GPU nothing is pinned: it aborts there
    # (deepspeed/runtime/swap_tensor/partitioned_optimizer_swapper.py, _swap_out_optimizer_state).
    return "cpu" if known.hardware.is_cpu else "nvme"


def _optimizer_path(known: Known) -> str | None:
    return None if known.hardware.is_cpu else _nvme_path(known)


def _from_hardware(known: Known) -> str:
    return str(known.hardware)


def _from_evaluation(known: Known) -> str:
    return known.why_not_evaluate or "data"


def _from_metrics(known: Known) -> str:
    return "eval_on_each_dataset" if known.evaluates and known.lacks_judge else _from_evaluation(known)


def _eval_strategy(known: Known) -> str:
    """Where there is data for it, with each checkpoint, so that the best one can be kept."""
    if not known.has_evaluation_data or known.why_not_evaluate is not None:
        return "no"
    return "epoch" if known.config.get("train", "save_strategy") == "epoch" else "steps"


def _eval_steps(known: Known) -> Any:
    given = known.config.get("train", "eval_strategy")
    strategy = _eval_strategy(known) if given == AUTO else given
    return known.config.get("train", "save_steps") if known.evaluates and strategy == "steps" else None


# What decided each `auto`, and what it becomes (None removes the key). Any other `auto` is the library's own.
_Resolver = tuple[str | Callable[[Known], str], Callable[[Known], Any]]
_RESOLVERS: dict[KeyPath, _Resolver] = {
    ("launch", "nproc_per_node"): (_from_hardware, lambda known: known.nproc_per_node),
    ("train", "bf16"): (_from_hardware, lambda known: known.hardware.bf16 or None),
    ("train", "fp16"): (
        _from_hardware,
        lambda known: (not known.hardware.is_cpu and not known.hardware.bf16) or None,
    ),
    ("train", "use_cpu"): (_from_hardware, _use_cpu),
    ("train", "ddp_backend"): (_from_hardware, _ddp_backend),
    ("train", "preprocessing_num_workers"): (_from_hardware, _preprocessing_workers),
    ("train", "dataloader_num_workers"): (_from_hardware, _loader_workers),
    ("train", "template"): ("model", _template),
    ("train", "ref_model"): ("model", lambda known: known.reference_model),
    ("train", "ref_model_quantization_bit"): ("quantization_bit", _reference_bits),
    ("train", "val_size"): (_from_evaluation, _val_size),
    ("train", "eval_strategy"): (_from_evaluation, _eval_strategy),
    ("train", "eval_steps"): (_from_evaluation, _eval_steps),
    ("train", "load_best_model_at_end"): (_from_metrics, lambda known: known.can_load_best or None),
    ("zero", "offload_optimizer", "device"): (_from_hardware, _optimizer_device),
    ("zero", "offload_optimizer", "nvme_path"): ("launch.nvme_path", _optimizer_path),
    ("zero", "offload_param", "nvme_path"): ("launch.nvme_path", _nvme_path),
}

AUTO_KEYS = frozenset(_RESOLVERS) | {("train", "tokenized_path")}
"""The keys for which `auto` is qtune's to decide; for tokenized_path, qtune.data.token_cache does."""


def auto_layer(known: Known) -> Layer:
    """A layer that puts a value in place of each `auto` of qtune's, for `merge` to apply.

    Each origin keeps the file and line of the `auto` and says what decided: the hardware, the model, the
    data, or another key.
    """
    values: dict[KeyPath, Value] = {}
    for path, (decided_by, resolve) in _RESOLVERS.items():
        found = known.config.find(*path)
        if found is not None and found.value == AUTO:
            name = decided_by if isinstance(decided_by, str) else decided_by(known)
            origin = Origin(f"{DECIDED}{name}", found.origin.file, found.origin.line)
            values[path] = Value(resolve(known), origin)
    return Layer("auto", values)
