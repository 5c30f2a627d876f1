"""The vision-language families with a tower and a language model of their own.

Source: transformers 5.5, models/<model_type>/modeling_<model_type>.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from qtune.predict.models.decoder import (
    Family,
    Sizes,
    attention,
    conv,
    decoder,
    fused_mlp,
    gated_mlp,
    layer_norm,
    linear,
    plain_mlp,
    rms_norm,
    single,
    text_sizes,
    usual_sizes,
)
from qtune.predict.models.deepseek import from_first
from qtune.predict.models.fields import Fields
from qtune.predict.models.shapes import Module
from qtune.predict.models.sparse import llama4_text
from qtune.predict.models.text import GLM4_NORMS, gemma3_text
from qtune.predict.models.towers import siglip

_LANGUAGE = "model.language_model."


def _gemma3(config: Fields, of: Sizes) -> tuple[Module, ...]:
    vision, projector = config.block("vision_config"), "model.multi_modal_projector"
    width = vision.count("hidden_size")
    return (
        *siglip(vision),
        Module(projector, "other", (("mm_input_projection_weight", (width, of.hidden)),)),
        single(f"{projector}.mm_soft_emb_norm", "norm", width),
        *gemma3_text(config.block("text_config"), of, prefix=_LANGUAGE),
    )


def _glm4v(config: Fields, of: Sizes) -> tuple[Module, ...]:
    attend, feed = attention(of, qkv_bias=True), fused_mlp(of.hidden, of.intermediate)
    return (*_glm_tower(config), *decoder(of, attend, feed, norms=GLM4_NORMS, prefix=_LANGUAGE))


def _glm4v_moe(config: Fields, of: Sizes) -> tuple[Module, ...]:
    text = config.block("text_config")
    attend = attention(of, qkv_bias=text.flag("attention_bias"))
    return (*_glm_tower(config), *decoder(of, attend, from_first(text, of), prefix=_LANGUAGE))


def _glm_tower(config: Fields) -> Iterator[Module]:
    vision, prefix = config.block("vision_config"), "model.visual."
    width, outputs = vision.count("hidden_size"), vision.count("out_hidden_size")
    patch, merge = vision.side("patch_size"), vision.count("spatial_merge_size")
    kernel = (vision.count("temporal_patch_size"), patch, patch)
    positions = (vision.side("image_size") // patch) ** 2
    yield single(f"{prefix}embeddings.position_embedding", "embedding", positions, width)
    yield conv(f"{prefix}patch_embed.proj", True, width, vision.count("in_channels"), *kernel)
    feed = gated_mlp(width, outputs)
    for number in range(vision.layers("depth")):
        name = f"{prefix}blocks.{number}."
        yield rms_norm(f"{name}norm1", width)
        yield rms_norm(f"{name}norm2", width)
        yield linear(f"{name}attn.qkv", width, 3 * width, vision.flag("attention_bias"))
        yield linear(f"{name}attn.proj", width, width)
        yield from feed(f"{name}mlp.", number)
    yield linear(f"{prefix}merger.proj", outputs, outputs)
    yield layer_norm(f"{prefix}merger.post_projection_norm", outputs)
    yield from gated_mlp(outputs, vision.count("intermediate_size"))(f"{prefix}merger.", 0)
    yield rms_norm(f"{prefix}post_conv_layernorm", width)
    yield conv(f"{prefix}downsample", True, outputs, width, merge, merge)
    yield rms_norm(f"{prefix}post_layernorm", width)


def _llama4(config: Fields, of: Sizes) -> tuple[Module, ...]:
    vision, prefix = config.block("vision_config"), "vision_model."
    width, patch = vision.count("hidden_size"), vision.side("patch_size")
    intermediate, outputs = vision.count("intermediate_size"), vision.count("vision_output_dim")
    positions = (vision.side("image_size") // patch) ** 2 + 1
    own = (("class_embedding", (width,)), ("positional_embedding_vlm", (positions, width)))
    adapted = vision.count("projector_output_dim")
    text = llama4_text(config.block("text_config"), of)
    return (
        Module(prefix.rstrip("."), "other", own),
        linear(f"{prefix}patch_embedding.linear", vision.count("num_channels") * patch**2, width),
        layer_norm(f"{prefix}layernorm_pre", width),
        layer_norm(f"{prefix}layernorm_post", width),
        *_plain_layers(vision, f"{prefix}model.", vision.layers("num_hidden_layers"), bias=True),
        linear(f"{prefix}vision_adapter.mlp.fc1", intermediate, vision.count("projector_input_dim")),
        linear(f"{prefix}vision_adapter.mlp.fc2", adapted, adapted),
        linear("multi_modal_projector.linear_1", outputs, of.hidden),
        *(replace(module, name=f"language_model.{module.name}") for module in text),
    )


def _llama4_sizes(config: Fields) -> Sizes:
    return usual_sizes(config.block("text_config"))


def _plain_layers(vision: Fields, prefix: str, layers: int, *, bias: bool) -> Iterator[Module]:
    width = vision.count("hidden_size")
    feed = plain_mlp(width, vision.count("intermediate_size"))
    for number in range(layers):
        name = f"{prefix}layers.{number}."
        for part in ("q_proj", "k_proj", "v_proj", "o_proj"):
            yield linear(f"{name}self_attn.{part}", width, width, bias)
        yield from feed(f"{name}mlp.", number)
        yield layer_norm(f"{name}input_layernorm", width)
        yield layer_norm(f"{name}post_attention_layernorm", width)


def _mllama(config: Fields, of: Sizes) -> tuple[Module, ...]:
    crossed = config.block("text_config").listed("cross_attention_layers", int) or ()
    own, across = attention(of), attention(of, norms=True)

    def attend(name: str, layer: int) -> Iterator[Module]:
        if layer not in crossed:
            yield from own(name, layer)
            return
        name = name.removesuffix(".self_attn.")
        yield Module(name, "other", (("cross_attn_attn_gate", (1,)), ("cross_attn_mlp_gate", (1,))))
        yield from across(f"{name}.cross_attn.", layer)

    first, *rest = decoder(of, attend, gated_mlp(of.hidden, of.intermediate), prefix=_LANGUAGE)
    # eight words more than the output layer has, for the picture (modeling_mllama.py, MllamaTextModel)
    table = single(first.name, "embedding", of.vocabulary + 8, of.hidden)
    outputs = config.block("vision_config").count("vision_output_dim")
    projector = linear("model.multi_modal_projector", outputs, of.hidden, True)
    return (*_mllama_tower(config.block("vision_config")), table, *rest, projector)


def _mllama_tower(vision: Fields) -> Iterator[Module]:
    prefix, width, patch = "model.vision_model.", vision.count("hidden_size"), vision.side("patch_size")
    tiles = vision.count("max_num_tiles")
    ratios = len(vision.listed("supported_aspect_ratios", list) or range(8)) + 1
    positions = (vision.side("image_size") // patch) ** 2 + 1
    gated, one = f"{prefix}gated_positional_embedding", (("gate", (1,)),)
    yield Module(prefix.rstrip("."), "other", (("class_embedding", (width,)),))
    yield conv(f"{prefix}patch_embedding", False, width, vision.count("num_channels"), patch, patch)
    yield Module(gated, "other", (*one, ("embedding", (positions, width))))
    yield single(f"{gated}.tile_embedding", "embedding", ratios, tiles * positions * width)
    for part in ("pre_tile_positional_embedding", "post_tile_positional_embedding"):
        yield Module(f"{prefix}{part}", "other", one)
        yield single(f"{prefix}{part}.embedding", "embedding", ratios, tiles * width)
    yield layer_norm(f"{prefix}layernorm_pre", width)
    yield layer_norm(f"{prefix}layernorm_post", width)
    local, last = vision.layers("num_hidden_layers"), vision.layers("num_global_layers")
    yield from _plain_layers(vision, f"{prefix}transformer.", local, bias=False)
    for number in range(last):
        gates = (("gate_attn", (1,)), ("gate_ffn", (1,)))
        yield Module(f"{prefix}global_transformer.layers.{number}", "other", gates)
    yield from _plain_layers(vision, f"{prefix}global_transformer.", last, bias=False)


VISION: Mapping[str, Family] = {
    "gemma3": Family(_gemma3, text_sizes),
    "glm4v": Family(_glm4v, text_sizes),
    "glm4v_moe": Family(_glm4v_moe, text_sizes),
    "llama4": Family(_llama4, _llama4_sizes),
    "mllama": Family(_mllama, _llama4_sizes),
}
"""By model_type."""
