"""The kinds of a model's layers, as far as activations differ: with experts, a delta net, or neither."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from qtune.predict.models.shapes import Model, Module, Shape, layer_of

_NO_MLP = re.compile(r"attn|attention|conv|mamba|per_layer|router|\bgate\b")


@dataclass(frozen=True)
class Experts:
    """count: of a layer. inner: width of one. chosen: how many of them each token goes through."""

    count: int
    inner: int
    chosen: int


@dataclass(frozen=True)
class LayerKind:
    """share: of all layers. mlp: width of the MLP that every token goes through, beside the experts if any.

    delta: widths of all keys and of all values of a delta net (Qwen3-Next, Qwen3.5), None with attention.
    """

    share: float
    mlp: int
    experts: Experts | None = None
    delta: tuple[int, int] | None = None


def layer_kinds(model: Model) -> tuple[LayerKind, ...]:
    """Every kind that the model has; where experts and delta nets alternate, every combination."""
    routed = [module for module in model.modules if _stacks(module) and layer_of(module.name) is not None]
    nets = [module for module in model.modules if module.last_name == "linear_attn"]
    layers = max(model.num_hidden_layers, 1)
    sparse = len({layer_of(module.name) for module in routed}) / layers
    kinds = [LayerKind(1 - sparse, model.intermediate_size)]
    if routed:
        kinds.append(LayerKind(sparse, *_sparse(model, routed[0])))
    if nets and (delta := _delta(model, nets[0])):
        share = len(nets) / layers
        recurrent = [LayerKind(share * kind.share, kind.mlp, kind.experts, delta) for kind in kinds]
        full = [LayerKind((1 - share) * kind.share, kind.mlp, kind.experts) for kind in kinds]
        kinds = [*recurrent, *full]
    return tuple(kind for kind in kinds if kind.share > 0)


def _stacks(module: Module) -> list[Shape]:
    """The shapes of stacked experts: their count, and each one's weights."""
    return [shape for _, shape in module.weights if len(shape) == 3] if module.kind == "experts" else []


def _sparse(model: Model, routed: Module) -> tuple[int, Experts]:
    """The width of the MLP beside the experts, and these, from the first layer that has them."""
    number = f".{layer_of(routed.name)}."
    prefix = routed.name[: routed.name.index(number)] + number
    modules = [module for module in model.modules if module.name.startswith(prefix)]
    stacked = [shape for module in modules for shape in _stacks(module)]
    count, three = stacked[0][0], 3 * max(model.hidden_size, 1)  # gate, up and down
    beside = [
        math.prod(module.weights[0][1])
        for module in modules
        if module.kind == "linear" and not _NO_MLP.search(module.name.removeprefix(prefix))
    ]
    inner = sum(math.prod(shape[1:]) for shape in stacked) // three
    # Llama 4 takes every token through all of them (modeling_llama4.py, Llama4TextMoe)
    chosen = count if model.model_type.startswith("llama4") else max(model.num_experts_per_tok, 1)
    return sum(beside) // three, Experts(count, inner, chosen)


def _delta(model: Model, net: Module) -> tuple[int, int] | None:
    shapes = {
        module.name: module.weights[0][1] for module in model.modules if module.name.startswith(net.name)
    }
    mixed, output = shapes.get(f"{net.name}.conv1d"), shapes.get(f"{net.name}.out_proj")
    if mixed is None or output is None:
        return None
    return (mixed[0] - output[1]) // 2, output[1]
