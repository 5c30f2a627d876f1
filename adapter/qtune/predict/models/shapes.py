"""A model as its modules: the name and the shape of every tensor, as transformers builds them.

The names matter as much as the shapes: LLaMA-Factory and PEFT choose by name what to train.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Shape = tuple[int, ...]
ModuleKind = Literal["linear", "embedding", "norm", "router", "experts", "conv", "other"]
LinearKind = Literal["attention", "mlp", "expert", "router", "head", "vision", "other"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One parameter: its whole name and its shape."""

    name: str
    shape: Shape

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Module:
    """One module that holds parameters of its own.

    weights: (last part of the name, shape) each. tied: the weight is another module's (an output layer that
    shares the embedding), so it counts once, there. packed: whether bitsandbytes takes the weight, None where
    its kind tells: every linear layer's but the output layer's. frozen: the library itself trains it never.
    """

    name: str
    kind: ModuleKind
    weights: tuple[tuple[str, Shape], ...]
    tied: bool = False
    packed: bool | None = None
    frozen: bool = False

    @property
    def packs(self) -> bool:
        """Whether a quantiser takes the weight (transformers/quantizers/base.py, get_keys_to_not_convert)."""
        by_kind = self.kind == "linear" and not self.tied and _kind(self) != "head"
        return by_kind if self.packed is None else self.packed

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The module's own parameters, shared ones included."""
        prefix = f"{self.name}." if self.name else ""
        return tuple(Tensor(prefix + part, shape) for part, shape in self.weights)

    @property
    def size(self) -> int:
        """Elements, shared ones included."""
        return sum(math.prod(shape) for _, shape in self.weights)

    @property
    def last_name(self) -> str:
        """`q_proj` of `model.layers.0.self_attn.q_proj`."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Linear:
    """All linear layers of one name and shape, counted.

    count: in the whole model; for stacked experts, the experts of all layers. stacked: they are slices of
    one 3-D parameter for each layer, which neither LoRA's `all` nor bitsandbytes touches (transformers 5
    builds experts so). tied: no weights of its own.
    """

    name: str
    inputs: int
    outputs: int
    bias: bool
    count: int
    kind: LinearKind
    stacked: bool = False
    tied: bool = False

    @property
    def parameters(self) -> int:
        """Elements of all of them; 0 where the weight is another module's."""
        return 0 if self.tied else self.count * self.outputs * (self.inputs + self.bias)


@dataclass(frozen=True)
class Model:
    """A model's shapes, and what its config.json says that bears on memory.

    name: as asked for. source: in words, where the shapes come from. dtype: that of the checkpoint, such as
    `bfloat16`, None where it is not said. quantization: the method of a checkpoint that is already
    quantised (`gptq`, `awq`, `bitsandbytes`, …), whose shapes are still those of the plain model;
    quantization_bits: its bits where it says them. A width that the config does not tell is 0.
    num_experts and the two beside it: 0 in a dense model. exact: False where the shapes come from the file
    headers of a model_type that is not known, so that what is a linear was read off the names.
    """

    name: str
    source: str
    model_type: str
    modules: tuple[Module, ...]
    hidden_size: int = 0
    intermediate_size: int = 0
    num_hidden_layers: int = 0
    num_attention_heads: int = 0
    num_key_value_heads: int = 0
    head_dim: int = 0
    vocab_size: int = 0
    max_position_embeddings: int = 0
    tie_word_embeddings: bool = False
    num_experts: int = 0
    num_experts_per_tok: int = 0
    moe_intermediate_size: int = 0
    dtype: str | None = None
    quantization: str | None = None
    quantization_bits: int | None = None
    exact: bool = True

    @property
    def tensors(self) -> Iterator[Tensor]:
        """Every parameter once, in the order in which the model lists them."""
        return (tensor for module in self.modules if not module.tied for tensor in module.tensors)

    @cached_property
    def parameters(self) -> int:
        """Elements of all parameters, a shared one once."""
        return sum(module.size for module in self.modules if not module.tied)

    @cached_property
    def quantizable_parameters(self) -> int:
        """Elements that a quantiser takes: of every linear layer but the output layer, biases left out.

        Embeddings, norms and stacked experts stay as they are.
        """
        return sum(math.prod(module.weights[0][1]) for module in self.modules if module.packs)

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        """The linear layers and the stacked experts, alike ones counted together."""
        counted = Counter(found for module in self.modules for found in _linears(module))
        return tuple(
            Linear(name, inputs, outputs, bias, times * slices, kind, slices > 1, tied)
            for (name, inputs, outputs, bias, slices, kind, tied), times in counted.items()
        )

    @cached_property
    def embedding_parameters(self) -> int:
        """Elements of the embedding tables."""
        return sum(module.size for module in self.modules if module.kind == "embedding")

    @cached_property
    def layer_parameters(self) -> tuple[int, ...]:
        """Elements of each layer of the language model, first layer first."""
        layers: dict[int, int] = {}
        for module in self.modules:
            number = layer_of(module.name)
            if number is not None and not is_vision(module.name):
                layers[number] = layers.get(number, 0) + module.size
        return tuple(layers[number] for number in sorted(layers))


def layer_of(name: str) -> int | None:
    """The number of the layer that a module or a parameter lies in, None outside the layers."""
    found = re.search(r"\.(\d+)\.", f"{name}.")
    return int(found[1]) if found else None


def is_vision(name: str) -> bool:
    """Whether a module belongs to what sees or hears rather than to the language model."""
    return bool(
        re.search(r"(^|\.)(visual|vision_\w+|audio_tower|multi_modal_projector|vpm|resampler)\.", name)
    )


def _linears(module: Module) -> Iterator[tuple[str, int, int, bool, int, LinearKind, bool]]:
    """(name, inputs, outputs, bias, slices, kind, tied) of a linear module or of stacked experts."""
    if module.kind == "experts":
        for part, (experts, outputs, inputs) in ((p, s) for p, s in module.weights if len(s) == 3):
            yield part, inputs, outputs, False, experts, "expert", False
    elif module.kind == "linear":
        outputs, inputs = module.weights[0][1]
        bias = len(module.weights) > 1
        yield module.last_name, inputs, outputs, bias, 1, _kind(module), module.tied


def _kind(module: Module) -> LinearKind:
    name = module.name
    if is_vision(name):
        return "vision"
    if layer_of(name) is None:
        return "head" if module.last_name in {"lm_head", "output_layer", "output", "embed_out"} else "other"
    if ".experts." in name:
        return "expert"
    if module.last_name in {"gate", "shared_expert_gate", "router"}:
        return "router"
    if re.search(r"\.\w*att(n|ention)\w*\.", name):
        return "attention"
    return "mlp" if re.search(r"mlp|feed_forward|shared_expert", name) else "other"
