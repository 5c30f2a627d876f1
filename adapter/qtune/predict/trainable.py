"""Which parameters a training changes, as LLaMA-Factory and PEFT choose them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from qtune.predict.shapes import Model, Shape


@dataclass(frozen=True, slots=True)
class Trained:
    """One trainable tensor.

    kind: `weight` is one of the model's own; `adapter` comes beside it; `copy` is a whole second set of a
    module's weights, which PEFT makes for `additional_target`.
    """

    name: str
    shape: Shape
    kind: Literal["weight", "adapter", "copy"]

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Trainable:
    """All trainable tensors of a training."""

    tensors: tuple[Trained, ...]

    @cached_property
    def parameters(self) -> int:
        """Elements of all of them."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def added(self) -> int:
        """Elements that come beside the model's own parameters."""
        return sum(tensor.size for tensor in self.tensors if tensor.kind != "weight")

    def of(self, kind: Literal["weight", "adapter", "copy"]) -> int:
        """Elements of one kind."""
        return sum(tensor.size for tensor in self.tensors if tensor.kind == kind)


def trainable(model: Model, train: Mapping[str, Any]) -> Trainable:
    """The tensors that a training with these LLaMA-Factory arguments changes."""
    rank = int(train.get("lora_rank", 8))
    return Trainable(
        tuple(
            Trained(f"{module.name}.lora_{part}.weight", shape, "adapter")
            for module in model.modules
            if module.kind == "linear" and module.last_name != "lm_head"
            for part, shape in (
                ("A", (rank, module.weights[0][1][1])),
                ("B", (module.weights[0][1][0], rank)),
            )
        )
        if train.get("finetuning_type", "lora") == "lora"
        else tuple(Trained(tensor.name, tensor.shape, "weight") for tensor in model.tensors)
    )
