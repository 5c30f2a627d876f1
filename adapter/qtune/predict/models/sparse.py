"""The families of text models whose experts are routed in a way of their own.

Source: transformers 5.5, models/<model_type>/modeling_<model_type>.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from qtune.predict.models.decoder import (
    Block,
    Family,
    Sizes,
    attention,
    decoder,
    experts,
    gated_mlp,
    linear,
    rms_norm,
    usual_sizes,
)
from qtune.predict.models.fields import Fields
from qtune.predict.models.shapes import Module


def _gpt_oss(config: Fields, of: Sizes) -> tuple[Module, ...]:
    bias, count = config.flag("attention_bias"), config.count("num_local_experts")
    plain = attention(of, qkv_bias=bias, o_bias=bias)

    def attend(name: str, layer: int) -> Iterator[Module]:
        yield Module(name.rstrip("."), "other", (("sinks", (of.heads,)),))
        yield from plain(name, layer)

    def feed(name: str, layer: int) -> Iterator[Module]:
        yield Module(f"{name}router", "router", (("weight", (count, of.hidden)), ("bias", (count,))))
        stacked = (
            ("gate_up_proj", (count, of.hidden, 2 * of.intermediate)),
            ("gate_up_proj_bias", (count, 2 * of.intermediate)),
            ("down_proj", (count, of.intermediate, of.hidden)),
            ("down_proj_bias", (count, of.hidden)),
        )
        yield Module(f"{name}experts", "experts", stacked)

    return decoder(of, attend, feed)


def _glm4_moe(config: Fields, of: Sizes) -> tuple[Module, ...]:
    attend = attention(of, qkv_bias=config.flag("attention_bias"), norms=config.flag("use_qk_norm"))
    return decoder(of, attend, _from(config.maybe("first_k_dense_replace") or 0, config, of))


def _deepseek_v3(config: Fields, of: Sizes) -> tuple[Module, ...]:
    bias, values = config.flag("attention_bias"), config.count("v_head_dim")
    rank, queries = config.count("kv_lora_rank"), config.maybe("q_lora_rank")
    plain, rotated = config.count("qk_nope_head_dim"), config.count("qk_rope_head_dim")

    def attend(name: str, layer: int) -> Iterator[Module]:
        wide = of.heads * (plain + rotated)
        if queries:
            yield linear(f"{name}q_a_proj", of.hidden, queries, bias)
            yield rms_norm(f"{name}q_a_layernorm", queries)
            yield linear(f"{name}q_b_proj", queries, wide)
        else:
            yield linear(f"{name}q_proj", of.hidden, wide)
        yield linear(f"{name}kv_a_proj_with_mqa", of.hidden, rank + rotated, bias)
        yield rms_norm(f"{name}kv_a_layernorm", rank)
        yield linear(f"{name}kv_b_proj", rank, of.heads * (plain + values))
        yield linear(f"{name}o_proj", of.heads * values, of.hidden, bias)

    return decoder(of, attend, _from(config.maybe("first_k_dense_replace") or 0, config, of))


def _deepseek_sizes(config: Fields) -> Sizes:
    of = usual_sizes(config)
    return replace(of, head_dim=config.count("qk_nope_head_dim") + config.count("qk_rope_head_dim"))


def _from(first: int, config: Fields, of: Sizes) -> Block:
    """Ordinary MLPs before layer `first`; from there on routed experts, and shared ones joined to one MLP."""
    width = config.count("moe_intermediate_size")
    routed = experts(of.hidden, width, config.count("n_routed_experts"))
    shared = gated_mlp(of.hidden, width * config.count("n_shared_experts"))
    dense = gated_mlp(of.hidden, of.intermediate)

    def block(name: str, layer: int) -> Iterator[Module]:
        if layer < first:
            yield from dense(name, layer)
        else:
            yield from routed(name, layer)
            yield from shared(f"{name}shared_experts.", layer)

    return block


SPARSE: Mapping[str, Family] = {
    "gpt_oss": Family(_gpt_oss),
    "glm4_moe": Family(_glm4_moe),
    "deepseek_v3": Family(_deepseek_v3, _deepseek_sizes),
}
"""By model_type."""
