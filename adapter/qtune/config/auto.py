"""The values that `auto` stands for: from the hardware, the model and the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qtune.machine.hardware import Hardware
from qtune.schema import template_for
from qtune.values import Config, KeyPath, Layer, Origin, Value

AUTO = "auto"
MAX_PREPROCESSING_WORKERS = 16
MAX_LOADER_WORKERS = 4


@dataclass(frozen=True)
class Known:
    """What `auto` may look at: the config so far, the hardware, and the model's own `model_type`."""

    config: Config
    hardware: Hardware
    model_type: str | None = None

    @property
    def processes(self) -> int:
        value = self.config.get("launch", "nproc_per_node")
        return value if isinstance(value, int) and value > 0 else max(1, self.hardware.gpus)

    @property
    def has_evaluation_data(self) -> bool:
        return bool(self.config.get("train", "eval_dataset") or self.config.get("train", "val_size"))

    @property
    def evaluates(self) -> bool:
        strategy = self.config.get("train", "eval_strategy")
        return self.has_evaluation_data if strategy == AUTO else strategy not in (None, "no", False)

    @property
    def can_load_best(self) -> bool:
        """Whether the trainer can keep the best model: a checkpoint at each evaluation, whole enough to load.

        Sources: transformers, TrainingArguments.__post_init__; LLaMA-Factory, hparams/parser.py (rm, ppo).
        """
        train = self.config.block("train")
        if not self.evaluates or train.get("stage") in ("rm", "ppo"):
            return False
        if train.get("save_only_model") and self.config.uses_zero:
            return False
        saving, evaluating = train.get("save_strategy"), train.get("eval_strategy")
        if (saving if evaluating == AUTO else evaluating) != saving or saving not in ("steps", "epoch"):
            return False
        return saving != "steps" or train.get("eval_steps") in (AUTO, train.get("save_steps"))


def _use_cpu(known: Known) -> bool | None:
    # With it, ZeRO-3 over several processes counts one device in all and dies on the batch size.
    sharded = known.config.get("zero", "stage") == 3 and known.processes > 1
    return True if known.hardware.is_cpu and not sharded else None


def _template(known: Known) -> str:
    model = known.config.get("train", "model_name_or_path")
    # An unknown model keeps `auto`, which the check reports with the line to change.
    return (template_for(model, known.model_type) if isinstance(model, str) else None) or AUTO


def _preprocessing_workers(known: Known) -> int | None:
    return None if known.hardware.is_cpu else min(MAX_PREPROCESSING_WORKERS, known.hardware.cores)


def _loader_workers(known: Known) -> int:
    if known.hardware.is_cpu:
        return 0
    return min(MAX_LOADER_WORKERS, known.hardware.cores // known.processes)


# What each `auto` becomes (None removes the key), and what decided it. Any other `auto` is the library's own.
_Resolver = tuple[str, Callable[[Known], Any]]
_RESOLVERS: dict[KeyPath, _Resolver] = {
    ("launch", "nproc_per_node"): ("hardware", lambda known: known.processes),
    ("train", "bf16"): ("hardware", lambda known: known.hardware.bf16 or None),
    ("train", "fp16"): (
        "hardware",
        lambda known: (not known.hardware.is_cpu and not known.hardware.bf16) or None,
    ),
    ("train", "use_cpu"): ("hardware", _use_cpu),
    ("train", "ddp_backend"): ("hardware", lambda known: "gloo" if known.hardware.is_cpu else None),
    ("train", "preprocessing_num_workers"): ("hardware", _preprocessing_workers),
    ("train", "dataloader_num_workers"): ("hardware", _loader_workers),
    ("train", "template"): ("model", _template),
    ("train", "eval_strategy"): ("data", lambda known: "steps" if known.has_evaluation_data else "no"),
    ("train", "eval_steps"): (
        "data",
        lambda known: known.config.get("train", "save_steps") if known.evaluates else None,
    ),
    ("train", "load_best_model_at_end"): ("data", lambda known: known.can_load_best or None),
}

AUTO_KEYS = frozenset(_RESOLVERS)
"""The keys for which `auto` is qtune's to decide."""


def auto_layer(known: Known) -> Layer:
    """A layer that puts a value in place of each `auto` of qtune's, for `merge` to apply.

    Each origin keeps the file and line of the `auto` and says what decided: the hardware, the model or
    the data.
    """
    values: dict[KeyPath, Value] = {}
    for path, (decided_by, resolve) in _RESOLVERS.items():
        found = known.config.find(*path)
        if found is not None and found.value == AUTO:
            name = str(known.hardware) if decided_by == "hardware" else decided_by
            origin = Origin(f"auto from {name}", found.origin.file, found.origin.line)
            values[path] = Value(resolve(known), origin)
    return Layer("auto", values)
