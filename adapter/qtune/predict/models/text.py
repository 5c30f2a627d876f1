"""The families of text models whose code is in transformers.

Source: transformers 5.5, models/<model_type>/modeling_<model_type>.py for the modules and their names.
tests/e2e/test_model_counts.py compares every tensor with the library's own model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qtune.predict.models.decoder import (
    Block,
    Family,
    Sizes,
    attention,
    decoder,
    experts,
    fused_mlp,
    gated_mlp,
    linear,
)
from qtune.predict.models.fields import Fields
from qtune.predict.models.shapes import Module

_FOUR_NORMS = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)


def _attention(config: Fields, of: Sizes, *, norms: bool = False) -> Block:
    """With biases on all of q, k, v and o where `attention_bias` says so."""
    bias = config.flag("attention_bias")
    return attention(of, qkv_bias=bias, o_bias=bias, norms=norms)


def _llama(config: Fields, of: Sizes) -> tuple[Module, ...]:
    mlp = gated_mlp(of.hidden, of.intermediate, bias=config.flag("mlp_bias"))
    return decoder(of, _attention(config, of), mlp)


def _mistral(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return decoder(of, attention(of), gated_mlp(of.hidden, of.intermediate))


def _mixtral(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return decoder(of, attention(of), experts(of.hidden, of.intermediate, config.count("num_local_experts")))


def _qwen2(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return decoder(of, attention(of, qkv_bias=True), gated_mlp(of.hidden, of.intermediate))


def qwen3(config: Fields, of: Sizes, prefix: str = "model.") -> tuple[Module, ...]:
    """Qwen 3's dense language model; prefix: of its modules' names."""
    mlp = gated_mlp(of.hidden, of.intermediate)
    return decoder(of, _attention(config, of, norms=True), mlp, prefix=prefix)


def _qwen2_moe(config: Fields, of: Sizes) -> tuple[Module, ...]:
    sparse = where_sparse(config, of, with_shared_expert(config, of))
    return decoder(of, attention(of, qkv_bias=config.flag("qkv_bias")), sparse)


def with_shared_expert(config: Fields, of: Sizes) -> Block:
    """Routed experts beside one that each token meets, through a gate."""
    routed = _routed(config, of)
    shared = gated_mlp(of.hidden, config.count("shared_expert_intermediate_size"))

    def sparse(name: str, layer: int) -> Iterator[Module]:
        yield from routed(name, layer)
        yield from shared(f"{name}shared_expert.", layer)
        yield linear(f"{name}shared_expert_gate", of.hidden, 1)

    return sparse


def qwen3_moe(config: Fields, of: Sizes, prefix: str = "model.") -> tuple[Module, ...]:
    """Qwen 3's language model with experts; prefix: of its modules' names."""
    sparse = where_sparse(config, of, _routed(config, of))
    return decoder(of, _attention(config, of, norms=True), sparse, prefix=prefix)


def _routed(config: Fields, of: Sizes) -> Block:
    if not config.maybe("num_experts"):
        return gated_mlp(of.hidden, of.intermediate)
    return experts(of.hidden, config.count("moe_intermediate_size"), config.count("num_experts"))


def where_sparse(config: Fields, of: Sizes, sparse: Block) -> Block:
    """`sparse` in the layers to which Qwen gives experts, an ordinary MLP in the others."""
    dense = gated_mlp(of.hidden, of.intermediate)
    step, only_dense = config.count("decoder_sparse_step"), config.get("mlp_only_layers") or ()
    any_experts = bool(config.maybe("num_experts"))

    def block(name: str, layer: int) -> Iterator[Module]:
        is_sparse = any_experts and layer not in only_dense and (layer + 1) % step == 0
        return (sparse if is_sparse else dense)(name, layer)

    return block


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
    return decoder(of, _attention(config, of), gated_mlp(of.hidden, of.intermediate))


def _gemma2(config: Fields, of: Sizes) -> tuple[Module, ...]:
    feed = gated_mlp(of.hidden, of.intermediate)
    return decoder(of, _attention(config, of), feed, norms=_FOUR_NORMS)


def gemma3_text(config: Fields, of: Sizes, prefix: str = "model.") -> tuple[Module, ...]:
    """Gemma 3's language model; prefix: of its modules' names."""
    attend = _attention(config, of, norms=True)
    return decoder(of, attend, gated_mlp(of.hidden, of.intermediate), norms=_FOUR_NORMS, prefix=prefix)


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


TEXT: Mapping[str, Family] = {
    "llama": Family(_llama),
    "mistral": Family(_mistral),
    "mixtral": Family(_mixtral),
    "qwen2": Family(_qwen2),
    "qwen2_moe": Family(_qwen2_moe),
    "qwen3": Family(qwen3),
    "qwen3_moe": Family(qwen3_moe),
    "gemma": Family(_gemma),
    "gemma2": Family(_gemma2),
    "gemma3_text": Family(gemma3_text),
    "phi3": Family(_phi3),
    "glm": Family(_glm),
    "glm4": Family(_glm4),
    "seed_oss": Family(_seed_oss),
    "ernie4_5": Family(_ernie4_5),
    "hunyuan_v1_dense": Family(_hunyuan),
}
"""By model_type."""
