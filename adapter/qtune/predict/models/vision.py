"""The families of vision-language models: a language model, a vision tower and a projector between them.

Source: transformers 5.5, models/<model_type>/modeling_<model_type>.py and models/siglip/modeling_siglip.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from qtune.predict.models.decoder import (
    Block,
    Family,
    Sizes,
    attention,
    decoder,
    gated_mlp,
    layer_norm,
    linear,
    plain_mlp,
    rms_norm,
    single,
    usual_sizes,
)
from qtune.predict.models.fields import Fields
from qtune.predict.models.hybrid import qwen3_5_text
from qtune.predict.models.shapes import Module
from qtune.predict.models.text import gemma3_text, qwen3, qwen3_moe

_FC = ("linear_fc1", "linear_fc2")
_LANGUAGE = "model.language_model."


def _text_sizes(config: Fields) -> Sizes:
    """The language model's widths: from `text_config`, or beside it in older files."""
    text = config.block("text_config")
    tied = {"tie_word_embeddings": config.flag("tie_word_embeddings")}
    return usual_sizes(Fields({**(text.values or config.values), **tied}, config.where, text.defaults))


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
    modules = [single("model.visual.patch_embed.proj", "conv", width, *kernel)]
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
    kernel = (width, vision.count("in_channels"), depth, patch, patch)
    yield Module(f"{prefix}patch_embed.proj", "conv", (("weight", kernel), ("bias", (width,))))
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
    for number in range(len(vision.get("deepstack_visual_indexes") or ())):
        name = f"{prefix}deepstack_merger_list.{number}."
        yield layer_norm(f"{name}norm", merged)
        yield from _merging(name, merged, outputs)


def _merging(name: str, merged: int, outputs: int) -> Iterator[Module]:
    yield linear(f"{name}{_FC[0]}", merged, merged, True)
    yield linear(f"{name}{_FC[1]}", merged, outputs, True)


def _gemma3(config: Fields, of: Sizes) -> tuple[Module, ...]:
    vision, projector = config.block("vision_config"), "model.multi_modal_projector"
    width = vision.count("hidden_size")
    return (
        *_siglip(vision, width),
        Module(projector, "other", (("mm_input_projection_weight", (width, of.hidden)),)),
        single(f"{projector}.mm_soft_emb_norm", "norm", width),
        *gemma3_text(config.block("text_config"), of, prefix=_LANGUAGE),
    )


def _siglip(vision: Fields, width: int) -> Iterator[Module]:
    prefix, patch = "model.vision_tower.vision_model.", vision.count("patch_size")
    feed, channels = plain_mlp(width, vision.count("intermediate_size")), vision.count("num_channels")
    conv = (("weight", (width, channels, patch, patch)), ("bias", (width,)))
    yield Module(f"{prefix}embeddings.patch_embedding", "conv", conv)
    positions = (vision.count("image_size") // patch) ** 2
    yield single(f"{prefix}embeddings.position_embedding", "embedding", positions, width)
    for number in range(vision.layers("num_hidden_layers")):
        name = f"{prefix}encoder.layers.{number}."
        yield layer_norm(f"{name}layer_norm1", width)
        for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
            yield linear(f"{name}self_attn.{part}", width, width, True)
        yield layer_norm(f"{name}layer_norm2", width)
        yield from feed(f"{name}mlp.", number)
    yield layer_norm(f"{prefix}post_layernorm", width)
    if vision.flag("vision_use_head"):
        joined = (("in_proj_weight", (3 * width, width)), ("in_proj_bias", (3 * width,)))
        yield Module(f"{prefix}head", "other", (("probe", (1, 1, width)),))
        yield Module(f"{prefix}head.attention", "other", joined)
        # of a class of torch's own, which bitsandbytes leaves alone (torch/nn/modules/activation.py)
        yield replace(linear(f"{prefix}head.attention.out_proj", width, width, True), packed=False)
        yield layer_norm(f"{prefix}head.layernorm", width)
        yield from feed(f"{prefix}head.mlp.", 0)


VISION: Mapping[str, Family] = {
    "qwen2_vl": Family(_qwen2_vl, _text_sizes),
    "qwen2_5_vl": Family(_qwen2_5_vl, _text_sizes),
    "qwen3_vl": Family(_qwen3_vl, _text_sizes),
    "qwen3_vl_moe": Family(_qwen3_vl_moe, _text_sizes),
    "qwen3_5": Family(_qwen3_5, _text_sizes),
    "qwen3_5_moe": Family(_qwen3_5, _text_sizes),
    "gemma3": Family(_gemma3, _text_sizes),
}
"""By model_type."""
