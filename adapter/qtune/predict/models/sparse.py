"""The families of text models with routed experts in every layer, or in every so many.

Source: transformers 5.5, models/<model_type>/modeling_<model_type>.py.
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
    gated_mlp,
    layer_norm,
    linear,
)
from qtune.predict.models.fields import Fields
from qtune.predict.models.shapes import Module
from qtune.predict.models.text import attention_as_told


def _mixtral(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return decoder(of, attention(of), experts(of.hidden, of.intermediate, config.count("num_local_experts")))


def _minimax_m2(config: Fields, of: Sizes) -> tuple[Module, ...]:
    feed = experts(of.hidden, of.intermediate, config.count("num_local_experts"))
    return decoder(of, attention(of, norms="all heads"), feed)


def _olmoe(config: Fields, of: Sizes) -> tuple[Module, ...]:
    feed = experts(of.hidden, of.intermediate, config.count("num_experts"))
    return decoder(of, attention_as_told(config, of, norms="all heads"), feed)


def _phimoe(config: Fields, of: Sizes) -> tuple[Module, ...]:
    feed = experts(of.hidden, of.intermediate, config.count("num_local_experts"), router="router")
    bias = config.flag("lm_head_bias")
    return decoder(of, attention_as_told(config, of), feed, norm=layer_norm, head_bias=bias)


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
    return decoder(of, attention_as_told(config, of, norms=True), sparse, prefix=prefix)


def _routed(config: Fields, of: Sizes) -> Block:
    if not config.maybe("num_experts"):
        return gated_mlp(of.hidden, of.intermediate)
    return experts(of.hidden, config.count("moe_intermediate_size"), config.count("num_experts"))


def where_sparse(config: Fields, of: Sizes, sparse: Block) -> Block:
    """`sparse` in the layers to which Qwen gives experts, an ordinary MLP in the others."""
    dense = gated_mlp(of.hidden, of.intermediate)
    step, only_dense = config.count("decoder_sparse_step"), config.listed("mlp_only_layers", int) or ()
    any_experts = bool(config.maybe("num_experts"))

    def block(name: str, layer: int) -> Iterator[Module]:
        is_sparse = any_experts and layer not in only_dense and (layer + 1) % step == 0
        return (sparse if is_sparse else dense)(name, layer)

    return block


def _hunyuan(config: Fields, of: Sizes) -> tuple[Module, ...]:
    bias, names = config.flag("attention_bias"), ("query_layernorm", "key_layernorm")
    attend = attention(of, qkv_bias=bias, o_bias=bias, norms=True, names=names)
    routed = experts(of.hidden, of.intermediate, config.count("num_experts"), "gate.wg", "linear")
    shared = gated_mlp(of.hidden, of.intermediate)

    def feed(name: str, layer: int) -> Iterator[Module]:
        yield from routed(name, layer)
        yield from shared(f"{name}shared_mlp.", layer)

    return decoder(of, attend, feed)


def _granitemoe(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return decoder(of, attention_as_told(config, of), granite_experts(config, of))


def granite_experts(config: Fields, of: Sizes) -> Block:
    """Each of the two stacks in a module of its own, beside an MLP that each token meets, if there is one."""
    count, shared = config.maybe("num_local_experts"), config.maybe("shared_intermediate_size")

    def feed(name: str, layer: int) -> Iterator[Module]:
        name = name.removesuffix("mlp.")
        if count:
            sparse = f"{name}block_sparse_moe."
            inputs, outputs = (count, 2 * of.intermediate, of.hidden), (count, of.hidden, of.intermediate)
            yield linear(f"{sparse}router.layer", of.hidden, count)
            yield Module(f"{sparse}input_linear", "experts", (("weight", inputs),))
            yield Module(f"{sparse}output_linear", "experts", (("weight", outputs),))
        if shared:
            yield linear(f"{name}shared_mlp.input_linear", of.hidden, 2 * shared)
            yield linear(f"{name}shared_mlp.output_linear", shared, of.hidden)

    return feed


def _gpt_oss(config: Fields, of: Sizes) -> tuple[Module, ...]:
    count, plain = config.count("num_local_experts"), attention_as_told(config, of)

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


def llama4_text(config: Fields, of: Sizes) -> tuple[Module, ...]:
    """Llama 4's language model."""
    count, step = config.count("num_local_experts"), config.count("interleave_moe_layer_step")
    sparse, told = range(step - 1, of.layers, step), config.listed("moe_layers", int)
    dense = gated_mlp(of.hidden, config.count("intermediate_size_mlp"))
    shared = gated_mlp(of.hidden, of.intermediate)

    def feed(name: str, layer: int) -> Iterator[Module]:
        if layer not in (sparse if told is None else told):
            yield from dense(name, layer)
            return
        stacked = (
            ("gate_up_proj", (count, of.hidden, 2 * of.intermediate)),
            ("down_proj", (count, of.intermediate, of.hidden)),
        )
        yield Module(f"{name}experts", "experts", stacked)
        yield Module(f"{name}router", "router", (("weight", (count, of.hidden)),))
        yield from shared(f"{name}shared_expert.", layer)

    return decoder(of, attention_as_told(config, of), feed, feed_name="feed_forward")


SPARSE: Mapping[str, Family] = {
    "mixtral": Family(_mixtral),
    "qwen2_moe": Family(_qwen2_moe),
    "qwen3_moe": Family(qwen3_moe),
    "gpt_oss": Family(_gpt_oss),
    "llama4_text": Family(llama4_text),
    "olmoe": Family(_olmoe),
    "phimoe": Family(_phimoe),
    "minimax_m2": Family(_minimax_m2),
    "hunyuan_v1_moe": Family(_hunyuan),
    "granitemoe": Family(_granitemoe),
    "granitemoeshared": Family(_granitemoe),
}
"""By model_type."""
