"""The families in which most layers have linear attention (a gated delta net), and each fourth a full one.

Source: transformers 5.5, models/qwen3_next/modeling_qwen3_next.py and models/qwen3_5/modeling_qwen3_5.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qtune.predict.models.decoder import Block, Family, Sizes, attention, decoder, gated_mlp, linear, single
from qtune.predict.models.fields import Fields
from qtune.predict.models.shapes import Module
from qtune.predict.models.sparse import where_sparse, with_shared_expert

_FULL = "full_attention"


def _qwen3_next(config: Fields, of: Sizes) -> tuple[Module, ...]:
    keys, values, heads = _widths(config)
    inputs = {"in_proj_qkvz": 2 * keys + 2 * values, "in_proj_ba": 2 * heads}
    sparse = where_sparse(config, of, with_shared_expert(config, of))
    return decoder(of, _attention(config, of, inputs), sparse)


def qwen3_5_text(config: Fields, of: Sizes, prefix: str) -> tuple[Module, ...]:
    """Qwen 3.5's language model, dense or with experts; prefix: of its modules' names."""
    keys, values, heads = _widths(config)
    inputs = {
        "in_proj_qkv": 2 * keys + values,
        "in_proj_z": values,
        "in_proj_b": heads,
        "in_proj_a": heads,
    }
    is_sparse = bool(config.maybe("num_experts"))
    feed = with_shared_expert(config, of) if is_sparse else gated_mlp(of.hidden, of.intermediate)
    return decoder(of, _attention(config, of, inputs), feed, prefix=prefix)


def _widths(config: Fields) -> tuple[int, int, int]:
    """Of all keys and of all values of a delta net, and how many heads the values have."""
    heads = config.count("linear_num_value_heads")
    keys = config.count("linear_num_key_heads") * config.count("linear_key_head_dim")
    return keys, heads * config.count("linear_value_head_dim"), heads


def _attention(config: Fields, of: Sizes, inputs: Mapping[str, int]) -> Block:
    """Full attention or a delta net, as the layer's type says; inputs: the delta net's input layers."""
    bias, interval = config.flag("attention_bias"), config.count("full_attention_interval", 4)
    types = config.listed("layer_types", str, of.layers) or [
        "linear_attention" if (layer + 1) % interval else _FULL for layer in range(of.layers)
    ]
    full = attention(of, qkv_bias=bias, o_bias=bias, norms=True, gated=True)
    keys, values, heads = _widths(config)

    def block(name: str, layer: int) -> Iterator[Module]:
        if types[layer] == _FULL:
            yield from full(name, layer)
            return
        name = name.removesuffix("self_attn.") + "linear_attn"
        yield Module(name, "other", (("dt_bias", (heads,)), ("A_log", (heads,))))
        yield single(f"{name}.conv1d", "conv", 2 * keys + values, 1, config.count("linear_conv_kernel_dim"))
        yield single(f"{name}.norm", "norm", config.count("linear_value_head_dim"))
        yield linear(f"{name}.out_proj", values, of.hidden)
        for part, outputs in inputs.items():
            yield linear(f"{name}.{part}", of.hidden, outputs)

    return block


HYBRID: Mapping[str, Family] = {"qwen3_next": Family(_qwen3_next)}
"""By model_type."""
