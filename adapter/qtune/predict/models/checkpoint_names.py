"""The modules of a model, read off the names in its checkpoint and the table of what the library builds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from qtune.errors import QtuneError
from qtune.predict.models.headers import Stored
from qtune.predict.models.shapes import Module, ModuleKind
from qtune.schema.architectures import Architecture

_FLOATS = ("F", "BF")
# What a checkpoint may hold beside parameters: position tables, masks, the scales of 8-bit weights.
_NO_PARAMETER = re.compile(
    r"(inv_freq|\.(attn|attention)\.(masked_)?bias|position_ids|weight_scale(_inv)?|input_scale)$"
)
_EMBEDDING = re.compile(r"(embed\w*|wte|wpe|word_embeddings)$")
_HEAD = re.compile(r"(^|\.)(lm_head|output_layer|embed_out)$|^output$")


def modules_of(
    stored: Iterable[Stored], *, tied: bool | None, where: str, architecture: Architecture | None = None
) -> tuple[Module, ...]:
    """The modules that the tensors belong to.

    tied: what the config says of output layer and embedding being one, None where it says nothing.
    architecture: how the library builds the model_type, where it does; what that leaves open is told by the
    names: a tensor of two dimensions named `weight` is a linear layer unless its name says an embedding.
    """
    built = architecture or Architecture()
    grouped: dict[str, dict[str, list[Stored]]] = {}
    for tensor in stored:
        name = built.name(tensor.name)
        if name is None or _NO_PARAMETER.search(name):
            continue
        if not tensor.dtype.startswith(_FLOATS):
            raise QtuneError(
                f"`{tensor.name}` is packed ({tensor.dtype}), so that its shape cannot be told",
                where=where,
                fix="name the model before it was quantised",
            )
        module, _, part = name.rpartition(".")
        grouped.setdefault(module, {}).setdefault(part, []).append(tensor)
    found = []
    for name, parts in sorted(grouped.items(), key=lambda item: _natural(item[0])):
        weights = [(part, _joined(tensors)) for part, tensors in parts.items()]
        weights.sort(key=lambda item: item[0] != "weight")
        kind = built.kind(name) or _kind(name, weights)
        found.append(
            Module(name, kind, tuple(weights), packed=built.packed(name), frozen=built.is_frozen(name))
        )
    shares = built.ties if tied is None else tied
    return tuple(_with_shared(found, built) if shares else found)


def _joined(tensors: list[Stored]) -> tuple[int, ...]:
    """The shape of one parameter; of experts that are stored one by one and stacked, the stack's.

    Source: transformers/conversion_mapping.py, MergeModulelist and Concatenate.
    """
    first = tensors[0].shape
    if len(tensors) == 1:
        return first
    experts = len({re.findall(r"\.(\d+)(?=\.)", tensor.name)[-1] for tensor in tensors})
    inputs = first[-1]
    return (experts, sum(math.prod(tensor.shape) for tensor in tensors) // (experts * inputs), inputs)


def _with_shared(modules: list[Module], built: Architecture) -> Iterator[Module]:
    """The modules with those whose weight is another's marked, and such as no checkpoint holds.

    Where no table tells, an output layer shares the weight of an embedding of its shape.
    """
    shapes = {module.name: module.weights[0][1] for module in modules}
    embeddings = {module.weights[0][1] for module in modules if module.kind == "embedding"}
    for module in modules:
        if module.name not in built.tied:
            of_embedding = not built.kinds and bool(_HEAD.search(module.name))
            yield replace(module, tied=of_embedding and module.weights[0][1] in embeddings)
        elif own := tuple(weight for weight in module.weights if weight[0] != "weight"):
            yield Module(module.name, "other", own)
    for name, other in built.tied.items():
        if other in shapes:
            yield Module(name, built.kind(name) or "linear", (("weight", shapes[other]),), tied=True)


def _kind(name: str, weights: list[tuple[str, tuple[int, ...]]]) -> ModuleKind:
    shape = dict(weights).get("weight")
    if shape is None:
        return "experts" if ".experts" in f".{name}" and any(len(s) == 3 for _, s in weights) else "other"
    if len(shape) == 1:
        return "norm"
    if len(shape) == 2:
        return "embedding" if _EMBEDDING.search(name) else "linear"
    return "conv"


def _natural(name: str) -> list[tuple[int, str]]:
    """Layer 10 after layer 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]
