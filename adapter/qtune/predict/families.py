"""The modules of each known model_type, from its config.json.

Source: transformers 5.5, models/<model_type>/modeling_<model_type>.py for the modules and their names,
configuration_<model_type>.py for the defaults of what a config.json leaves out.
tests/e2e/test_model_counts.py compares every tensor with the library's own model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from qtune.predict.decoder import (
    Block,
    Sizes,
    attention,
    decoder,
    experts,
    fused_mlp,
    gated_mlp,
    linear,
)
from qtune.predict.fields import Fields
from qtune.predict.shapes import Module

Family = Callable[[Fields, Sizes], tuple[Module, ...]]

_FOUR_NORMS = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "llama": {"tie_word_embeddings": False},
    "mistral": {"num_key_value_heads": 8},
    "mixtral": {"num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2},
    "qwen2": {"num_key_value_heads": 32},
    "qwen3": {"num_key_value_heads": 32, "head_dim": 128},
    "qwen2_moe": {
        "num_key_value_heads": 16,
        "qkv_bias": True,
        "decoder_sparse_step": 1,
        "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
        "num_experts": 60,
        "num_experts_per_tok": 4,
    },
    "qwen3_moe": {
        "num_key_value_heads": 4,
        "decoder_sparse_step": 1,
        "moe_intermediate_size": 768,
        "num_experts": 128,
        "num_experts_per_tok": 8,
    },
    "gemma": {"num_key_value_heads": 16, "head_dim": 256, "tie_word_embeddings": True},
    "gemma2": {"num_key_value_heads": 4, "head_dim": 256, "tie_word_embeddings": True},
    "gemma3_text": {
        "vocab_size": 262208,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "tie_word_embeddings": True,
    },
    "phi3": {},
    "glm": {"num_key_value_heads": 2, "head_dim": 128, "attention_bias": True},
    "glm4": {"num_key_value_heads": 2, "head_dim": 128, "attention_bias": True},
}
"""What transformers puts in where a config.json leaves it out, as far as it bears on shapes."""


def sizes(config: Fields) -> Sizes:
    """The widths under the names that nearly every config.json uses."""
    heads = config.count("num_attention_heads")
    hidden = config.count("hidden_size")
    return Sizes(
        hidden,
        config.count("intermediate_size"),
        config.count("num_hidden_layers"),
        heads,
        config.count("num_key_value_heads", heads),
        config.count("head_dim", hidden // heads),
        config.count("vocab_size"),
        config.flag("tie_word_embeddings"),
    )


def _llama(config: Fields, of: Sizes) -> tuple[Module, ...]:
    bias = config.flag("attention_bias")
    mlp = gated_mlp(of.hidden, of.intermediate, bias=config.flag("mlp_bias"))
    return decoder(of, attention(of, qkv_bias=bias, o_bias=bias), mlp)


def _mistral(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return decoder(of, attention(of), gated_mlp(of.hidden, of.intermediate))


def _mixtral(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return decoder(of, attention(of), experts(of.hidden, of.intermediate, config.count("num_local_experts")))


def _qwen2(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return decoder(of, attention(of, qkv_bias=True), gated_mlp(of.hidden, of.intermediate))


def _qwen3(config: Fields, of: Sizes) -> tuple[Module, ...]:
    bias = config.flag("attention_bias")
    attend = attention(of, qkv_bias=bias, o_bias=bias, norms=True)
    return decoder(of, attend, gated_mlp(of.hidden, of.intermediate))


def _qwen2_moe(config: Fields, of: Sizes) -> tuple[Module, ...]:
    routed = _routed(config, of)
    shared = gated_mlp(of.hidden, config.count("shared_expert_intermediate_size"))

    def sparse(name: str, layer: int) -> Iterator[Module]:
        yield from routed(name, layer)
        yield from shared(f"{name}shared_expert.", layer)
        yield linear(f"{name}shared_expert_gate", of.hidden, 1)

    return decoder(of, attention(of, qkv_bias=config.flag("qkv_bias")), _where_sparse(config, of, sparse))


def _qwen3_moe(config: Fields, of: Sizes) -> tuple[Module, ...]:
    bias = config.flag("attention_bias")
    attend = attention(of, qkv_bias=bias, o_bias=bias, norms=True)
    return decoder(of, attend, _where_sparse(config, of, _routed(config, of)))


def _routed(config: Fields, of: Sizes) -> Block:
    if not config.maybe("num_experts"):
        return gated_mlp(of.hidden, of.intermediate)
    return experts(of.hidden, config.count("moe_intermediate_size"), config.count("num_experts"))


def _where_sparse(config: Fields, of: Sizes, sparse: Block) -> Block:
    """Qwen's rule for which layers have experts."""
    dense = gated_mlp(of.hidden, of.intermediate)
    step, only_dense = config.count("decoder_sparse_step"), config.get("mlp_only_layers") or ()
    any_experts = bool(config.maybe("num_experts"))

    def block(name: str, layer: int) -> Iterator[Module]:
        is_sparse = any_experts and layer not in only_dense and (layer + 1) % step == 0
        return (sparse if is_sparse else dense)(name, layer)

    return block


def _gemma(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return _llama(Fields({**config.values, "mlp_bias": False}, config.where, config.defaults), of)


def _gemma2(config: Fields, of: Sizes) -> tuple[Module, ...]:
    bias = config.flag("attention_bias")
    attend = attention(of, qkv_bias=bias, o_bias=bias)
    return decoder(of, attend, gated_mlp(of.hidden, of.intermediate), norms=_FOUR_NORMS)


def _gemma3_text(config: Fields, of: Sizes) -> tuple[Module, ...]:
    bias = config.flag("attention_bias")
    attend = attention(of, qkv_bias=bias, o_bias=bias, norms=True)
    return decoder(of, attend, gated_mlp(of.hidden, of.intermediate), norms=_FOUR_NORMS)


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
    norms = (
        "input_layernorm",
        "post_attention_layernorm",
        "post_self_attn_layernorm",
        "post_mlp_layernorm",
    )
    return decoder(of, attend, fused_mlp(of.hidden, of.intermediate), norms=norms)


FAMILIES: Mapping[str, Family] = {
    "llama": _llama,
    "mistral": _mistral,
    "mixtral": _mixtral,
    "qwen2": _qwen2,
    "qwen2_moe": _qwen2_moe,
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3_text,
    "phi3": _phi3,
    "glm": _glm,
    "glm4": _glm4,
}
