"""The families of models that see: a language model, a vision tower and what joins them.

Source: transformers 5.5, models/<model_type>/modeling_<model_type>.py and models/siglip/modeling_siglip.py,
with the defaults of configuration_<model_type>.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from qtune.predict.models.decoder import (
    Family,
    Sizes,
    attention,
    decoder,
    gated_mlp,
    linear,
    single,
    usual_sizes,
)
from qtune.predict.models.fields import Fields
from qtune.predict.models.shapes import Module
from qtune.predict.models.text import TEXT, gemma3_text

_QWEN2_VL_VISION = {
    "depth": 32,
    "embed_dim": 1280,
    "hidden_size": 3584,
    "mlp_ratio": 4,
    "in_channels": 3,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
_QWEN2_5_VL_VISION = {
    **_QWEN2_VL_VISION,
    "hidden_size": 3584,
    "intermediate_size": 3420,
    "out_hidden_size": 3584,
}
_SIGLIP = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 16,
    "vision_use_head": True,
}


def _text_of(defaults: Mapping[str, Any]) -> Callable[[Fields], Sizes]:
    """The reader of the language model's widths: from `text_config`, or beside it in older files."""

    def read(config: Fields) -> Sizes:
        found = config.block("text_config", defaults)
        text = found if found.values else Fields(config.values, config.where, defaults)
        tied = {"tie_word_embeddings": config.flag("tie_word_embeddings")}
        return usual_sizes(Fields({**text.values, **tied}, config.where, defaults))

    return read


def _layer_norm(name: str, width: int) -> Module:
    return Module(name, "norm", (("weight", (width,)), ("bias", (width,))))


def _qwen2_vl(config: Fields, of: Sizes) -> tuple[Module, ...]:
    vision = config.block("vision_config", _QWEN2_VL_VISION)
    width = vision.count("embed_dim")
    inner = width * vision.count("mlp_ratio")

    def block(name: str) -> Iterator[Module]:
        yield _layer_norm(f"{name}norm1", width)
        yield _layer_norm(f"{name}norm2", width)
        yield linear(f"{name}attn.qkv", width, 3 * width, True)
        yield linear(f"{name}attn.proj", width, width, True)
        yield linear(f"{name}mlp.fc1", width, inner, True)
        yield linear(f"{name}mlp.fc2", inner, width, True)

    modules = [_patches(vision, width)]
    for number in range(vision.layers("depth")):
        modules += block(f"model.visual.blocks.{number}.")
    modules.append(_layer_norm("model.visual.merger.ln_q", width))
    modules += _merger(vision, width, vision.count("hidden_size"))
    return (*modules, *_qwen2_text(of))


def _qwen2_5_vl(config: Fields, of: Sizes) -> tuple[Module, ...]:
    vision = config.block("vision_config", _QWEN2_5_VL_VISION)
    width = vision.count("hidden_size")
    feed = gated_mlp(width, vision.count("intermediate_size"), bias=True)

    def block(name: str) -> Iterator[Module]:
        yield single(f"{name}norm1", "norm", width)
        yield single(f"{name}norm2", "norm", width)
        yield linear(f"{name}attn.qkv", width, 3 * width, True)
        yield linear(f"{name}attn.proj", width, width, True)
        yield from feed(f"{name}mlp.", 0)

    modules = [_patches(vision, width)]
    for number in range(vision.layers("depth")):
        modules += block(f"model.visual.blocks.{number}.")
    modules.append(single("model.visual.merger.ln_q", "norm", width))
    modules += _merger(vision, width, vision.count("out_hidden_size"))
    return (*modules, *_qwen2_text(of))


def _patches(vision: Fields, width: int) -> Module:
    patch = vision.count("patch_size")
    depth = vision.count("temporal_patch_size")
    channels = vision.count("in_channels")
    return single("model.visual.patch_embed.proj", "conv", width, channels, depth, patch, patch)


def _merger(vision: Fields, width: int, outputs: int) -> Iterator[Module]:
    merged = width * vision.count("spatial_merge_size") ** 2
    yield linear("model.visual.merger.mlp.0", merged, merged, True)
    yield linear("model.visual.merger.mlp.2", merged, outputs, True)


def _qwen2_text(of: Sizes) -> tuple[Module, ...]:
    feed = gated_mlp(of.hidden, of.intermediate)
    return decoder(of, attention(of, qkv_bias=True), feed, prefix="model.language_model.")


def _gemma3(config: Fields, of: Sizes) -> tuple[Module, ...]:
    vision = config.block("vision_config", _SIGLIP)
    text = config.block("text_config", TEXT["gemma3_text"].defaults)
    width = vision.count("hidden_size")
    joined = Module(
        "model.multi_modal_projector", "other", (("mm_input_projection_weight", (width, of.hidden)),)
    )
    return (
        *_siglip(vision, width),
        joined,
        single("model.multi_modal_projector.mm_soft_emb_norm", "norm", width),
        *gemma3_text(text, of, prefix="model.language_model."),
    )


def _siglip(vision: Fields, width: int) -> Iterator[Module]:
    prefix, patch = "model.vision_tower.vision_model.", vision.count("patch_size")
    inner, channels = vision.count("intermediate_size"), vision.count("num_channels")
    conv = (("weight", (width, channels, patch, patch)), ("bias", (width,)))
    yield Module(f"{prefix}embeddings.patch_embedding", "conv", conv)
    positions = (vision.count("image_size") // patch) ** 2
    yield single(f"{prefix}embeddings.position_embedding", "embedding", positions, width)
    for number in range(vision.layers("num_hidden_layers")):
        name = f"{prefix}encoder.layers.{number}."
        yield _layer_norm(f"{name}layer_norm1", width)
        for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
            yield linear(f"{name}self_attn.{part}", width, width, True)
        yield _layer_norm(f"{name}layer_norm2", width)
        yield linear(f"{name}mlp.fc1", width, inner, True)
        yield linear(f"{name}mlp.fc2", inner, width, True)
    yield _layer_norm(f"{prefix}post_layernorm", width)
    if vision.flag("vision_use_head"):
        joined = (("in_proj_weight", (3 * width, width)), ("in_proj_bias", (3 * width,)))
        yield Module(f"{prefix}head", "other", (("probe", (1, 1, width)),))
        yield Module(f"{prefix}head.attention", "other", joined)
        yield linear(f"{prefix}head.attention.out_proj", width, width, True)
        yield _layer_norm(f"{prefix}head.layernorm", width)
        yield linear(f"{prefix}head.mlp.fc1", width, inner, True)
        yield linear(f"{prefix}head.mlp.fc2", inner, width, True)


VISION: Mapping[str, Family] = {
    "qwen2_vl": Family(_qwen2_vl, {}, _text_of({"num_key_value_heads": 8})),
    "qwen2_5_vl": Family(_qwen2_5_vl, {}, _text_of({"num_key_value_heads": 8})),
    "gemma3": Family(_gemma3, {"tie_word_embeddings": True}, _text_of(TEXT["gemma3_text"].defaults)),
}
"""By model_type."""
