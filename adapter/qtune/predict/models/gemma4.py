"""Gemma 4: layers of two widths, inputs of their own, some with experts; towers for pictures and sound.

Source: transformers 5.5, models/gemma4/modeling_gemma4.py.
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
    experts,
    gated_mlp,
    linear,
    rms_norm,
    single,
    text_sizes,
)
from qtune.predict.models.fields import Fields
from qtune.predict.models.shapes import Module
from qtune.predict.models.text import FOUR_NORMS

_FULL = "full_attention"


def _text(config: Fields, of: Sizes, prefix: str = "model.") -> tuple[Module, ...]:
    types = [*(config.listed("layer_types", str, of.layers) or _types(of.layers))]
    types[of.layers - 1] = _FULL
    own = config.maybe("hidden_size_per_layer_input")
    shared_from = of.layers - (config.maybe("num_kv_shared_layers") or 0)
    bias, wide = config.flag("attention_bias"), config.flag("use_double_wide_mlp")
    one_for_both, heads = config.flag("attention_k_eq_v"), config.maybe("num_global_key_value_heads")
    full_heads = heads if one_for_both and heads else of.key_value_heads
    full = replace(of, head_dim=config.count("global_head_dim", of.head_dim), key_value_heads=full_heads)

    def is_shared(layer: int) -> bool:
        return layer >= shared_from > 0

    def attend(name: str, layer: int) -> Iterator[Module]:
        is_full = types[layer] == _FULL
        left_out = {"v_proj"} if one_for_both and is_full else set()
        if is_shared(layer):  # an earlier layer's keys and values
            left_out = {"k_proj", "v_proj", "k_norm"}
        block = attention(full if is_full else of, qkv_bias=bias, o_bias=bias, norms=True)
        yield from (module for module in block(name, layer) if module.last_name not in left_out)

    def feed(name: str, layer: int) -> Iterator[Module]:
        width = of.intermediate * (2 if wide and is_shared(layer) else 1)
        yield from gated_mlp(of.hidden, width)(name, layer)
        name = name.removesuffix("mlp.")
        if own:
            yield linear(f"{name}per_layer_input_gate", of.hidden, own)
            yield linear(f"{name}per_layer_projection", own, of.hidden)
            yield rms_norm(f"{name}post_per_layer_input_norm", of.hidden)
        if config.flag("enable_moe_block"):
            count = config.count("num_experts")
            scales = (("scale", (of.hidden,)), ("per_expert_scale", (count,)))
            yield Module(f"{name}router", "other", scales)
            routed = experts(of.hidden, config.count("moe_intermediate_size"), count, "router.proj", "linear")
            yield from routed(name, layer)
            for norm in ("post_feedforward_layernorm_1", "post_feedforward_layernorm_2"):
                yield rms_norm(f"{name}{norm}", of.hidden)
            yield rms_norm(f"{name}pre_feedforward_layernorm_2", of.hidden)

    modules = decoder(of, attend, feed, norms=FOUR_NORMS, prefix=prefix)
    return (*modules, *_inputs(config, of, own, prefix)) if own else modules


def _types(layers: int) -> list[str]:
    return [_FULL if (layer + 1) % 6 == 0 else "sliding_attention" for layer in range(layers)]


def _inputs(config: Fields, of: Sizes, own: int, prefix: str) -> Iterator[Module]:
    """What each layer gets of each word beside the layer before it; own: its width."""
    words = config.count("vocab_size_per_layer_input")
    yield single(f"{prefix}embed_tokens_per_layer", "embedding", words, of.layers * own)
    yield linear(f"{prefix}per_layer_model_projection", of.hidden, of.layers * own)
    yield rms_norm(f"{prefix}per_layer_projection_norm", own)


def _gemma4(config: Fields, of: Sizes) -> tuple[Module, ...]:
    modules = list(_text(config.block("text_config"), of, prefix="model.language_model."))
    if config.values.get("vision_config") is not None:
        vision = config.block("vision_config")
        modules += _tower(vision)
        modules.append(_projection("vision", vision.count("hidden_size"), of))
    if config.values.get("audio_config") is not None:
        audio = config.block("audio_config")
        modules += _ear(audio)
        modules.append(_projection("audio", audio.count("output_proj_dims"), of))
    return tuple(modules)


def _projection(kind: str, width: int, of: Sizes) -> Module:
    return linear(f"model.embed_{kind}.embedding_projection", width, of.hidden)


def _clippable(name: str, inputs: int, outputs: int) -> Module:
    return linear(f"{name}.linear", inputs, outputs)


def _tower(vision: Fields) -> Iterator[Module]:
    prefix, width, head = "model.vision_tower.", vision.count("hidden_size"), vision.count("head_dim")
    table = (2, vision.count("position_embedding_size"), width)
    yield Module(f"{prefix}patch_embedder", "other", (("position_embedding_table", table),))
    yield linear(f"{prefix}patch_embedder.input_proj", 3 * vision.count("patch_size") ** 2, width)
    query = vision.count("num_attention_heads") * head
    key, inner = vision.count("num_key_value_heads") * head, vision.count("intermediate_size")
    for number in range(vision.layers("num_hidden_layers")):
        name = f"{prefix}encoder.layers.{number}."
        yield _clippable(f"{name}self_attn.q_proj", width, query)
        yield _clippable(f"{name}self_attn.k_proj", width, key)
        yield _clippable(f"{name}self_attn.v_proj", width, key)
        yield _clippable(f"{name}self_attn.o_proj", query, width)
        yield rms_norm(f"{name}self_attn.q_norm", head)
        yield rms_norm(f"{name}self_attn.k_norm", head)
        yield _clippable(f"{name}mlp.gate_proj", width, inner)
        yield _clippable(f"{name}mlp.up_proj", width, inner)
        yield _clippable(f"{name}mlp.down_proj", inner, width)
        yield from (rms_norm(f"{name}{norm}", width) for norm in FOUR_NORMS)


def _ear(audio: Fields) -> Iterator[Module]:
    prefix, width = "model.audio_tower.", audio.count("hidden_size")
    channels = audio.listed("subsampling_conv_channels", int, 2) or (128, 32)
    sampled = f"{prefix}subsample_conv_projection."
    for number, inputs in enumerate((1, channels[0])):
        yield conv(f"{sampled}layer{number}.conv", False, channels[number], inputs, 3, 3)
        yield rms_norm(f"{sampled}layer{number}.norm", channels[number])
    yield linear(f"{sampled}input_proj_linear", channels[0] // 4 * channels[1], width)
    scale = (("per_dim_scale", (width // audio.count("num_attention_heads"),)),)
    for number in range(audio.layers("num_hidden_layers")):
        name = f"{prefix}layers.{number}."
        for part in ("feed_forward1.", "feed_forward2."):
            yield _clippable(f"{name}{part}ffw_layer_1", width, 4 * width)
            yield _clippable(f"{name}{part}ffw_layer_2", 4 * width, width)
            yield rms_norm(f"{name}{part}pre_layer_norm", width)
            yield rms_norm(f"{name}{part}post_layer_norm", width)
        yield Module(f"{name}self_attn", "other", scale)
        for part in ("q_proj", "k_proj", "v_proj", "post"):
            yield _clippable(f"{name}self_attn.{part}", width, width)
        yield linear(f"{name}self_attn.relative_k_proj", width, width)
        yield _clippable(f"{name}lconv1d.linear_start", width, 2 * width)
        yield _clippable(f"{name}lconv1d.linear_end", width, width)
        yield conv(f"{name}lconv1d.depthwise_conv1d", False, width, 1, audio.count("conv_kernel_size"))
        for norm in ("lconv1d.pre_layer_norm", "lconv1d.conv_norm"):
            yield rms_norm(f"{name}{norm}", width)
        for norm in ("norm_pre_attn", "norm_post_attn", "norm_out"):
            yield rms_norm(f"{name}{norm}", width)
    yield linear(f"{prefix}output_proj", width, audio.count("output_proj_dims"), True)


GEMMA4: Mapping[str, Family] = {
    "gemma4": Family(_gemma4, text_sizes),
    "gemma4_text": Family(_text),
}
"""By model_type."""
