"""The modules of a model whose model_type is not known, read off the names in its checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterable

from qtune.errors import QtuneError
from qtune.predict.models.headers import Stored
from qtune.predict.models.shapes import Module, ModuleKind

_FLOATS = ("F", "BF")
# What a checkpoint may hold beside parameters: position tables, masks, the scales of 8-bit weights.
_NO_PARAMETER = re.compile(
    r"(inv_freq|\.(attn|attention)\.(masked_)?bias|position_ids|weight_scale(_inv)?|input_scale)$"
)
_EMBEDDING = re.compile(r"(embed\w*|wte|wpe|word_embeddings)$")
_HEAD = re.compile(r"(^|\.)(lm_head|output_layer|embed_out)$|^output$")


def modules_of(stored: Iterable[Stored], *, tied: bool, where: str) -> tuple[Module, ...]:
    """The modules that the tensors belong to; tied: the config says that output layer and embedding are one.

    A tensor of two dimensions named `weight` is a linear layer unless its name says an embedding.
    """
    grouped: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for tensor in stored:
        if _NO_PARAMETER.search(tensor.name):
            continue
        if not tensor.dtype.startswith(_FLOATS):
            raise QtuneError(
                f"`{tensor.name}` is packed ({tensor.dtype}) and the model_type is not known, so that its"
                " shape cannot be told",
                where=where,
                fix="name the model before it was quantised",
            )
        module, _, part = tensor.name.rpartition(".")
        grouped.setdefault(module, []).append((part, tensor.shape))
    embeddings = {weights[0][1] for name, weights in grouped.items() if _kind(name, weights) == "embedding"}
    found = []
    for name, weights in sorted(grouped.items(), key=lambda item: _natural(item[0])):
        weights.sort(key=lambda item: item[0] != "weight")
        is_shared = tied and bool(_HEAD.search(name)) and weights[0][1] in embeddings
        found.append(Module(name, _kind(name, weights), tuple(weights), tied=is_shared))
    return tuple(found)


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
