"""The families that mix attention with short convolutions or Mamba's state spaces.

Source: transformers 5.5, models/<model_type>/modeling_<model_type>.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from qtune.predict.models.decoder import (
    Block,
    Family,
    Sizes,
    attention,
    conv,
    decoder,
    experts,
    gated_mlp,
    linear,
    rms_norm,
    usual_sizes,
)
from qtune.predict.models.fields import Fields
from qtune.predict.models.shapes import Module
from qtune.predict.models.sparse import granite_experts
from qtune.predict.models.text import attention_as_told


def _lfm2_moe_sizes(config: Fields) -> Sizes:
    of = usual_sizes(config)
    return replace(of, tied=config.flag("tie_embedding")) if "tie_embedding" in config.values else of


def _lfm2_sizes(config: Fields) -> Sizes:
    """With what the feed-forward makes of its width (modeling_lfm2.py, Lfm2MLP)."""
    of = _lfm2_moe_sizes(config)
    width = config.maybe("block_ff_dim") or of.intermediate
    if config.flag("block_auto_adjust_ff_dim"):
        step, factor = config.count("block_multiple_of"), config.get("block_ffn_dim_multiplier")
        width = int((factor if isinstance(factor, int | float) else 1) * int(2 * width / 3))
        width = -(-width // step) * step
    return replace(of, intermediate=width)


def _lfm2(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return _convolutions(config, of, _w_mlp(of))


def _lfm2_moe(config: Fields, of: Sizes) -> tuple[Module, ...]:
    width, count = config.count("moe_intermediate_size"), config.count("num_experts")
    dense, first = _w_mlp(of), config.maybe("num_dense_layers") or 0
    routed = experts(of.hidden, width, count, kind="linear")

    def feed(name: str, layer: int) -> Iterator[Module]:
        return (dense if layer < first else routed)(name, layer)

    return _convolutions(config, of, feed)


def _w_mlp(of: Sizes) -> Block:
    def block(name: str, layer: int) -> Iterator[Module]:
        yield linear(f"{name}w1", of.hidden, of.intermediate)
        yield linear(f"{name}w3", of.hidden, of.intermediate)
        yield linear(f"{name}w2", of.intermediate, of.hidden)

    return block


def _convolutions(config: Fields, of: Sizes, feed: Block) -> tuple[Module, ...]:
    """Attention in some layers, a gated convolution in the others."""
    bias, length = config.flag("conv_bias"), config.count("conv_L_cache")
    chosen = config.listed("full_attn_idxs", int)
    types = config.listed("layer_types", str, of.layers) or [
        "full_attention" if chosen is None or layer in chosen else "conv" for layer in range(of.layers)
    ]
    full = attention(of, norms=True, names=("q_layernorm", "k_layernorm"), output="out_proj")

    def attend(name: str, layer: int) -> Iterator[Module]:
        if types[layer] == "full_attention":
            yield from full(name, layer)
            return
        name = name.removesuffix("self_attn.") + "conv."
        yield conv(f"{name}conv", bias, of.hidden, 1, length)
        yield linear(f"{name}in_proj", of.hidden, 3 * of.hidden, bias)
        yield linear(f"{name}out_proj", of.hidden, of.hidden, bias)

    norms = ("operator_norm", "ffn_norm")
    return decoder(of, attend, feed, norms=norms, feed_name="feed_forward", last_norm="embedding_norm")


def _mamba(config: Fields, of: Sizes, *, output_bias: str, norm: bool) -> Block:
    """output_bias: the argument that says whether the output layer has one."""
    heads, kernel = config.count("mamba_n_heads"), config.count("mamba_d_conv")
    inner = config.maybe("mamba_d_ssm") or config.count("mamba_expand") * of.hidden
    mixed = inner + 2 * config.count("mamba_n_groups") * config.count("mamba_d_state")

    def block(name: str, layer: int) -> Iterator[Module]:
        name = name.removesuffix("self_attn.") + "mamba"
        yield Module(name, "other", tuple((part, (heads,)) for part in ("dt_bias", "A_log", "D")))
        yield conv(f"{name}.conv1d", config.flag("mamba_conv_bias"), mixed, 1, kernel)
        yield linear(f"{name}.in_proj", of.hidden, inner + mixed + heads, config.flag("mamba_proj_bias"))
        if norm:
            yield rms_norm(f"{name}.norm", inner)
        yield linear(f"{name}.out_proj", inner, of.hidden, config.flag(output_bias))

    return block


def _granitemoehybrid(config: Fields, of: Sizes) -> tuple[Module, ...]:
    types = config.listed("layer_types", str, of.layers) or ["mamba"] * of.layers
    return decoder(of, _either(config, of, types), granite_experts(config, of))


def _bamba(config: Fields, of: Sizes) -> tuple[Module, ...]:
    chosen = config.listed("attn_layer_indices", int) or ()
    types = ["attention" if layer in chosen else "mamba" for layer in range(of.layers)]
    return _feeding_forward(config, of, _either(config, of, types))


def _either(config: Fields, of: Sizes, types: Sequence[str]) -> Block:
    full = attention_as_told(config, of)
    mamba = _mamba(config, of, output_bias="mamba_proj_bias", norm=True)

    def attend(name: str, layer: int) -> Iterator[Module]:
        return (mamba if types[layer] == "mamba" else full)(name, layer)

    return attend


def _falcon_h1(config: Fields, of: Sizes) -> tuple[Module, ...]:
    full = attention_as_told(config, of)
    mamba = _mamba(config, of, output_bias="projectors_bias", norm=config.flag("mamba_rms_norm"))

    def attend(name: str, layer: int) -> Iterator[Module]:
        yield from mamba(name, layer)
        yield from full(name, layer)

    return _feeding_forward(config, of, attend)


def _feeding_forward(config: Fields, of: Sizes, attend: Block) -> tuple[Module, ...]:
    mlp = gated_mlp(of.hidden, of.intermediate, bias=config.flag("mlp_bias"))
    norms = ("input_layernorm", "pre_ff_layernorm")
    return decoder(of, attend, mlp, norms=norms, feed_name="feed_forward", last_norm="final_layernorm")


RECURRENT: Mapping[str, Family] = {
    "lfm2": Family(_lfm2, _lfm2_sizes),
    "lfm2_moe": Family(_lfm2_moe, _lfm2_moe_sizes),
    "granitemoehybrid": Family(_granitemoehybrid),
    "bamba": Family(_bamba),
    "falcon_h1": Family(_falcon_h1),
}
"""By model_type."""
