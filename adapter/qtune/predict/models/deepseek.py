"""The families that follow DeepSeek: dense first layers, then routed experts beside shared ones.

Source: transformers 5.5, models/<model_type>/modeling_<model_type>.py.
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
    experts,
    gated_mlp,
    linear,
    rms_norm,
    usual_sizes,
)
from qtune.predict.models.fields import Fields
from qtune.predict.models.shapes import Module, ModuleKind
from qtune.predict.models.text import attention_as_told


def _glm4_moe(config: Fields, of: Sizes) -> tuple[Module, ...]:
    attend = attention(of, qkv_bias=config.flag("attention_bias"), norms=config.flag("use_qk_norm"))
    return decoder(of, attend, from_first(config, of))


def _dots1(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return decoder(of, attention_as_told(config, of, norms=True), from_first(config, of))


def _deepseek_v2(config: Fields, of: Sizes) -> tuple[Module, ...]:
    bias = config.flag("mlp_bias")
    return decoder(of, _latent_attention(config, of), from_first(config, of, router="linear", bias=bias))


def _deepseek_v3(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return decoder(of, _latent_attention(config, of), from_first(config, of))


def _glm4_moe_lite(config: Fields, of: Sizes) -> tuple[Module, ...]:
    types = config.listed("mlp_layer_types", str, of.layers) or ["dense"] + ["sparse"] * (of.layers - 1)
    feed = _beside_shared(config, of, lambda layer: types[layer] == "sparse")
    return decoder(of, _latent_attention(config, of), feed)


def _latent_attention(config: Fields, of: Sizes) -> Block:
    """Queries, and keys and values together, through a narrow layer each (DeepSeek-AI 2024, section 2.1)."""
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

    return attend


def _latent_sizes(config: Fields) -> Sizes:
    of = usual_sizes(config)
    return replace(of, head_dim=config.count("qk_nope_head_dim") + config.count("qk_rope_head_dim"))


def from_first(config: Fields, of: Sizes, *, router: ModuleKind = "router", bias: bool = False) -> Block:
    """Routed experts beside shared ones from layer `first_k_dense_replace` on."""
    first = config.maybe("first_k_dense_replace") or 0
    return _beside_shared(config, of, lambda layer: layer >= first, router=router, bias=bias)


def _beside_shared(
    config: Fields,
    of: Sizes,
    is_sparse: Callable[[int], bool],
    *,
    router: ModuleKind = "router",
    bias: bool = False,
) -> Block:
    """Routed experts, and shared ones joined to one MLP; an ordinary MLP where a layer is not sparse."""
    width, shared_count = config.count("moe_intermediate_size"), config.maybe("n_shared_experts")
    routed = experts(of.hidden, width, config.count("n_routed_experts"), kind=router)
    dense = gated_mlp(of.hidden, of.intermediate, bias=bias)
    shared = gated_mlp(of.hidden, width * (shared_count or 0), bias=bias)

    def block(name: str, layer: int) -> Iterator[Module]:
        if not is_sparse(layer):
            yield from dense(name, layer)
            return
        yield from routed(name, layer)
        if shared_count:
            yield from shared(f"{name}shared_experts.", layer)

    return block


def _ernie4_5_moe(config: Fields, of: Sizes) -> tuple[Module, ...]:
    bias, count = config.flag("use_bias"), config.count("moe_num_experts")
    width, shared_count = config.count("moe_intermediate_size"), config.maybe("moe_num_shared_experts")
    routed = experts(of.hidden, width, count)
    dense = gated_mlp(of.hidden, of.intermediate, bias=bias)
    shared = gated_mlp(of.hidden, width * (shared_count or 0), bias=bias)
    step, first = config.count("moe_layer_interval"), config.maybe("moe_layer_start_index") or 0
    is_open = config.get("moe_layer_end_index") == -1
    last = of.layers - 1 if is_open else config.count("moe_layer_end_index")

    def feed(name: str, layer: int) -> Iterator[Module]:
        if (layer + 1) % step or not first <= layer <= last:
            yield from dense(name, layer)
            return
        yield from routed(name, layer)
        correction = (("e_score_correction_bias", (1, count)),)
        yield Module(f"{name}gate.moe_statics", "other", correction, frozen=True)
        if shared_count:
            yield from shared(f"{name}shared_experts.", layer)

    return decoder(of, attention(of, qkv_bias=bias, o_bias=bias), feed, head_bias=bias)


DEEPSEEK: Mapping[str, Family] = {
    "glm4_moe": Family(_glm4_moe),
    "glm4_moe_lite": Family(_glm4_moe_lite, _latent_sizes),
    "deepseek_v2": Family(_deepseek_v2, _latent_sizes),
    "deepseek_v3": Family(_deepseek_v3, _latent_sizes),
    "dots1": Family(_dots1),
    "ernie4_5_moe": Family(_ernie4_5_moe),
}
"""By model_type."""
