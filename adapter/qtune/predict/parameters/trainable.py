"""Which parameters a training changes, as LLaMA-Factory and PEFT choose them by name.

Source: llamafactory/model/adapter.py and model_utils/{misc,visual}.py (0.9.5) for the choice, PEFT 0.18 for
what it adds. An adapter that is continued (`adapter_name_or_path`) is counted as a new one of this config.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from qtune.predict.models.shapes import Model, Shape
from qtune.predict.parameters.adapters import adapter_tensors
from qtune.predict.parameters.choice import Train, copied_modules, lora_modules, trained_weights
from qtune.schema import argument

Kind = Literal["weight", "adapter", "copy", "value head"]


@dataclass(frozen=True, slots=True)
class TrainedTensor:
    """One trainable tensor.

    kind: `weight` is one of the model's own; `adapter` comes beside it; `copy` is a whole second set of a
    module's weights, which PEFT makes for `additional_target`; `value head` scores answers in rm and ppo.
    """

    name: str
    shape: Shape
    kind: Kind

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Trainable:
    """All trainable tensors of a training."""

    tensors: tuple[TrainedTensor, ...]

    @cached_property
    def parameters(self) -> int:
        """Elements of all of them."""
        return sum(tensor.size for tensor in self.tensors)

    @cached_property
    def added(self) -> int:
        """Elements that come beside the model's own parameters."""
        return self.parameters - self.of("weight")

    def of(self, kind: Kind) -> int:
        """Elements of one kind."""
        return sum(tensor.size for tensor in self.tensors if tensor.kind == kind)


def trainable(model: Model, train: Train) -> Trainable:
    """The tensors that a training with these LLaMA-Factory arguments changes.

    Raises QtuneError where the arguments name modules that the model does not have.
    """
    tensors: list[TrainedTensor] = []
    method = argument(train, "finetuning_type")
    if method in ("lora", "oft"):
        # PEFT freezes what has not the method's prefix in its name (tuners_utils.py,
        # _mark_only_adapters_as_trainable), which Gemma 3's `mm_soft_emb_norm` has by chance
        named_so = (tensor for tensor in model.tensors if f"{method}_" in tensor.name)
        tensors += (TrainedTensor(tensor.name, tensor.shape, "weight") for tensor in named_so)
        for module in lora_modules(model, train):
            added = adapter_tensors(module, train)
            tensors += (TrainedTensor(name, shape, "adapter") for name, shape in added)
        for module in copied_modules(model, train):
            tensors += (TrainedTensor(tensor.name, tensor.shape, "copy") for tensor in module.tensors)
    else:
        weights = trained_weights(model, train)
        tensors += (TrainedTensor(tensor.name, tensor.shape, "weight") for tensor in weights)
    if argument(train, "stage") in ("rm", "ppo"):  # trl, AutoModelForCausalLMWithValueHead
        tensors.append(TrainedTensor("v_head.summary.weight", (1, model.hidden_size), "value head"))
        tensors.append(TrainedTensor("v_head.summary.bias", (1,), "value head"))
    return Trainable(tuple(tensors))


def upcasts(train: Train, zero_stage: int) -> bool:
    """Whether trainable parameters are cast to fp32 when the model is made (adapter.py, init_adapter).

    Under ZeRO-3 without quantisation they are left to DeepSpeed, whose fp32 copy is its own. PEFT makes
    adapters (not copies) in fp32 in any case (tuners_utils.py, cast_adapter_dtype).
    """
    if train.get("pure_bf16") or train.get("use_badam"):
        return False
    return train.get("quantization_bit") is not None or zero_stage != 3
