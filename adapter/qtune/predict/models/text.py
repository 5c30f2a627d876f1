"""The families of text models whose code is in transformers.

Source: transformers 5.5, models/<model_type>/modeling_<model_type>.py for the modules and their names.
tests/e2e/test_model_counts.py compares every tensor with the library's own model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from qtune.predict.models.decoder import (
    Block,
    Family,
    Sizes,
    attention,
    decoder,
    fused_mlp,
    gated_mlp,
    layer_norm,
    linear,
    plain_mlp,
    single,
)
from qtune.predict.models.fields import Fields
from qtune.predict.models.shapes import Module

FOUR_NORMS = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)
GLM4_NORMS = (
    "input_layernorm",
    "post_attention_layernorm",
    "post_self_attn_layernorm",
    "post_mlp_layernorm",
)
_AFTER = ("post_attention_layernorm", "post_feedforward_layernorm")


def attention_as_told(config: Fields, of: Sizes, norms: bool | Literal["all heads"] = False) -> Block:
    """With biases on all of q, k, v and o where `attention_bias` says so."""
    bias = config.flag("attention_bias")
    return attention(of, qkv_bias=bias, o_bias=bias, norms=norms)


def _llama(config: Fields, of: Sizes) -> tuple[Module, ...]:
    mlp = gated_mlp(of.hidden, of.intermediate, bias=config.flag("mlp_bias"))
    return decoder(of, attention_as_told(config, of), mlp)


def _mistral(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return decoder(of, attention(of), gated_mlp(of.hidden, of.intermediate))


def _qwen2(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return decoder(of, attention(of, qkv_bias=True), gated_mlp(of.hidden, of.intermediate))


def qwen3(config: Fields, of: Sizes, prefix: str = "model.") -> tuple[Module, ...]:
    """Qwen 3's dense language model; prefix: of its modules' names."""
    mlp = gated_mlp(of.hidden, of.intermediate)
    return decoder(of, attention_as_told(config, of, norms=True), mlp, prefix=prefix)


def _seed_oss(config: Fields, of: Sizes) -> tuple[Module, ...]:
    bias, o_bias = config.flag("attention_bias"), config.flag("attention_out_bias")
    mlp = gated_mlp(of.hidden, of.intermediate, bias=config.flag("mlp_bias"))
    return decoder(of, attention(of, qkv_bias=bias, o_bias=o_bias), mlp)


def _ernie4_5(config: Fields, of: Sizes) -> tuple[Module, ...]:
    bias = config.flag("use_bias")
    mlp = gated_mlp(of.hidden, of.intermediate, bias=bias)
    return decoder(of, attention(of, qkv_bias=bias, o_bias=bias), mlp)


def _hunyuan(config: Fields, of: Sizes) -> tuple[Module, ...]:
    bias, names = config.flag("attention_bias"), ("query_layernorm", "key_layernorm")
    attend = attention(of, qkv_bias=bias, o_bias=bias, norms=True, names=names)
    return decoder(of, attend, gated_mlp(of.hidden, of.intermediate))


def _gemma(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return decoder(of, attention_as_told(config, of), gated_mlp(of.hidden, of.intermediate))


def _gemma2(config: Fields, of: Sizes) -> tuple[Module, ...]:
    feed = gated_mlp(of.hidden, of.intermediate)
    return decoder(of, attention_as_told(config, of), feed, norms=FOUR_NORMS)


def gemma3_text(config: Fields, of: Sizes, prefix: str = "model.") -> tuple[Module, ...]:
    """Gemma 3's language model; prefix: of its modules' names."""
    attend = attention_as_told(config, of, norms=True)
    return decoder(of, attend, gated_mlp(of.hidden, of.intermediate), norms=FOUR_NORMS, prefix=prefix)


def _phi3(config: Fields, of: Sizes) -> tuple[Module, ...]:
    def attend(name: str, layer: int) -> Iterator[Module]:
        yield linear(f"{name}o_proj", of.query, of.hidden)
        yield linear(f"{name}qkv_proj", of.hidden, of.query + 2 * of.key_value)

    return decoder(of, attend, fused_mlp(of.hidden, of.intermediate))


def _glm(config: Fields, of: Sizes) -> tuple[Module, ...]:
    attend = attention(of, qkv_bias=config.flag("attention_bias"))
    return decoder(of, attend, fused_mlp(of.hidden, of.intermediate))


def _glm4(config: Fields, of: Sizes) -> tuple[Module, ...]:
    attend = attention(of, qkv_bias=config.flag("attention_bias"))
    return decoder(of, attend, fused_mlp(of.hidden, of.intermediate), norms=GLM4_NORMS)


def _olmo(config: Fields, of: Sizes) -> tuple[Module, ...]:
    mlp = gated_mlp(of.hidden, of.intermediate)
    return decoder(of, attention_as_told(config, of), mlp, norms=(), last_norm=None)


def _olmo2(config: Fields, of: Sizes) -> tuple[Module, ...]:
    attend = attention_as_told(config, of, norms="all heads")
    return decoder(of, attend, gated_mlp(of.hidden, of.intermediate), norms=_AFTER)


def _exaone4(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return decoder(of, attention(of, norms=True), gated_mlp(of.hidden, of.intermediate), norms=_AFTER)


def _cohere(config: Fields, of: Sizes) -> tuple[Module, ...]:
    plain = attention_as_told(config, of)

    def attend(name: str, layer: int) -> Iterator[Module]:
        yield from plain(name, layer)
        if config.flag("use_qk_norm"):
            yield single(f"{name}q_norm", "norm", of.heads, of.head_dim)
            yield single(f"{name}k_norm", "norm", of.key_value_heads, of.head_dim)

    return decoder(of, attend, gated_mlp(of.hidden, of.intermediate), norms=("input_layernorm",))


def _starcoder2(config: Fields, of: Sizes) -> tuple[Module, ...]:
    bias = config.flag("use_bias")
    feed = plain_mlp(of.hidden, of.intermediate, ("c_fc", "c_proj"), bias=bias)
    return decoder(of, attention(of, qkv_bias=bias, o_bias=bias), feed, norm=layer_norm)


def _nemotron(config: Fields, of: Sizes) -> tuple[Module, ...]:
    feed = plain_mlp(of.hidden, of.intermediate, ("up_proj", "down_proj"), bias=config.flag("mlp_bias"))
    return decoder(of, attention_as_told(config, of), feed, norm=layer_norm)


def _phi(config: Fields, of: Sizes) -> tuple[Module, ...]:
    plain = attention(of, qkv_bias=True, o_bias=True, output="dense")

    def attend(name: str, layer: int) -> Iterator[Module]:
        yield from plain(name, layer)
        if config.flag("qk_layernorm"):
            yield layer_norm(f"{name}q_layernorm", of.hidden // of.heads)
            yield layer_norm(f"{name}k_layernorm", of.hidden // of.heads)

    return decoder(
        of,
        attend,
        plain_mlp(of.hidden, of.intermediate),
        norms=("input_layernorm",),
        norm=layer_norm,
        last_norm="final_layernorm",
        head_bias=True,
    )


TEXT: Mapping[str, Family] = {
    "llama": Family(_llama),
    "mistral": Family(_mistral),
    "qwen2": Family(_qwen2),
    "qwen3": Family(qwen3),
    "gemma": Family(_gemma),
    "gemma2": Family(_gemma2),
    "gemma3_text": Family(gemma3_text),
    "phi3": Family(_phi3),
    "glm": Family(_glm),
    "glm4": Family(_glm4),
    "seed_oss": Family(_seed_oss),
    "ernie4_5": Family(_ernie4_5),
    "hunyuan_v1_dense": Family(_hunyuan),
    "smollm3": Family(_llama),
    "granite": Family(_llama),
    "ministral3": Family(_mistral),
    "olmo": Family(_olmo),
    "olmo2": Family(_olmo2),
    "olmo3": Family(_olmo2),
    "exaone4": Family(_exaone4),
    "cohere": Family(_cohere),
    "cohere2": Family(_cohere),
    "starcoder2": Family(_starcoder2),
    "nemotron": Family(_nemotron),
    "phi": Family(_phi),
}
"""By model_type."""
