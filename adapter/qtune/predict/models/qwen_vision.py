"""The vision-language families of Qwen: a tower of their own, whose merger joins it to the language model.

Source: transformers 5.5, models/<model_type>/modeling_<model_type>.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from qtune.predict.models.decoder import (
    Block,
    Family,
    Sizes,
    attention,
    conv,
    decoder,
    gated_mlp,
    layer_norm,
    linear,
    plain_mlp,
    rms_norm,
    single,
    text_sizes,
)
from qtune.predict.models.fields import Fields
from qtune.predict.models.hybrid import qwen3_5_text
from qtune.predict.models.shapes import Module
from qtune.predict.models.sparse import qwen3_moe
from qtune.predict.models.text import qwen3

_FC = ("linear_fc1", "linear_fc2")
_LANGUAGE = "model.language_model."


def _qwen2_vl(config: Fields, of: Sizes) -> tuple[Module, ...]:
    vision = config.block("vision_config")
    width = vision.count("embed_dim")
    feed = plain_mlp(width, width * vision.count("mlp_ratio"))
    return _qwen(of, vision, width, feed, layer_norm, outputs=vision.count("hidden_size"))


def _qwen2_5_vl(config: Fields, of: Sizes) -> tuple[Module, ...]:
    vision = config.block("vision_config")
    width = vision.count("hidden_size")
    feed = gated_mlp(width, vision.count("intermediate_size"), bias=True)
    return _qwen(of, vision, width, feed, rms_norm, outputs=vision.count("out_hidden_size"))


def _qwen(
    of: Sizes, vision: Fields, width: int, feed: Block, norm: Callable[[str, int], Module], *, outputs: int
) -> tuple[Module, ...]:
    """width: of the tower; outputs: of what joins it to the language model."""
    patch, depth = vision.count("patch_size"), vision.count("temporal_patch_size")
    kernel = (vision.count("in_channels"), depth, patch, patch)
    modules = [conv("model.visual.patch_embed.proj", False, width, *kernel)]
    for number in range(vision.layers("depth")):
        name = f"model.visual.blocks.{number}."
        modules += (norm(f"{name}norm1", width), norm(f"{name}norm2", width))
        modules.append(linear(f"{name}attn.qkv", width, 3 * width, True))
        modules.append(linear(f"{name}attn.proj", width, width, True))
        modules += feed(f"{name}mlp.", number)
    merged = width * vision.count("spatial_merge_size") ** 2
    language = gated_mlp(of.hidden, of.intermediate)
    return (
        *modules,
        norm("model.visual.merger.ln_q", width),
        linear("model.visual.merger.mlp.0", merged, merged, True),
        linear("model.visual.merger.mlp.2", merged, outputs, True),
        *decoder(of, attention(of, qkv_bias=True), language, prefix=_LANGUAGE),
    )


def _qwen3_vl(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return (*_qwen3_tower(config), *qwen3(config.block("text_config"), of, prefix=_LANGUAGE))


def _qwen3_vl_moe(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return (*_qwen3_tower(config), *qwen3_moe(config.block("text_config"), of, prefix=_LANGUAGE))


def _qwen3_5(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return (*_qwen3_tower(config), *qwen3_5_text(config.block("text_config"), of, prefix=_LANGUAGE))


def _qwen3_tower(config: Fields) -> Iterator[Module]:
    vision, prefix = config.block("vision_config"), "model.visual."
    width, outputs = vision.count("hidden_size"), vision.count("out_hidden_size")
    patch, depth = vision.count("patch_size"), vision.count("temporal_patch_size")
    yield conv(f"{prefix}patch_embed.proj", True, width, vision.count("in_channels"), depth, patch, patch)
    yield single(f"{prefix}pos_embed", "embedding", vision.count("num_position_embeddings"), width)
    feed = plain_mlp(width, vision.count("intermediate_size"), names=_FC)
    for number in range(vision.layers("depth")):
        name = f"{prefix}blocks.{number}."
        yield layer_norm(f"{name}norm1", width)
        yield layer_norm(f"{name}norm2", width)
        yield linear(f"{name}attn.qkv", width, 3 * width, True)
        yield linear(f"{name}attn.proj", width, width, True)
        yield from feed(f"{name}mlp.", number)
    merged = width * vision.count("spatial_merge_size") ** 2
    yield layer_norm(f"{prefix}merger.norm", width)
    yield from _merging(f"{prefix}merger.", merged, outputs)
    for number in range(len(vision.listed("deepstack_visual_indexes", int) or ())):
        name = f"{prefix}deepstack_merger_list.{number}."
        yield layer_norm(f"{name}norm", merged)
        yield from _merging(name, merged, outputs)


def _merging(name: str, merged: int, outputs: int) -> Iterator[Module]:
    yield linear(f"{name}{_FC[0]}", merged, merged, True)
    yield linear(f"{name}{_FC[1]}", merged, outputs, True)


QWEN_VISION: Mapping[str, Family] = {
    "qwen2_vl": Family(_qwen2_vl, text_sizes),
    "qwen2_5_vl": Family(_qwen2_5_vl, text_sizes),
    "qwen3_vl": Family(_qwen3_vl, text_sizes),
    "qwen3_vl_moe": Family(_qwen3_vl_moe, text_sizes),
    "qwen3_5": Family(_qwen3_5, text_sizes),
    "qwen3_5_moe": Family(_qwen3_5, text_sizes),
}
"""By model_type."""
