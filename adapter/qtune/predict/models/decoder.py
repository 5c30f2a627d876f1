"""The building blocks of the families of models: linear layers, norms, attention, MLPs, whole decoders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from qtune.predict.models.fields import Fields
from qtune.predict.models.shapes import Module, ModuleKind


def linear(name: str, inputs: int, outputs: int, bias: bool = False) -> Module:
    """A torch.nn.Linear."""
    weights: tuple[tuple[str, tuple[int, ...]], ...] = (("weight", (outputs, inputs)),)
    return Module(name, "linear", (*weights, ("bias", (outputs,))) if bias else weights)


def single(name: str, kind: ModuleKind, *shape: int) -> Module:
    """A module whose one parameter is its weight."""
    return Module(name, kind, (("weight", shape),))


def conv(name: str, bias: bool, *weight: int) -> Module:
    """A convolution; weight: outputs, inputs, kernel."""
    own: tuple[tuple[str, tuple[int, ...]], ...] = (("weight", weight),)
    return Module(name, "conv", (*own, ("bias", (weight[0],))) if bias else own)


def rms_norm(name: str, width: int) -> Module:
    """A norm with a scale alone."""
    return single(name, "norm", width)


def layer_norm(name: str, width: int) -> Module:
    """A torch.nn.LayerNorm: scale and bias."""
    return Module(name, "norm", (("weight", (width,)), ("bias", (width,))))


@dataclass(frozen=True)
class Sizes:
    """The widths that nearly every config.json gives."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    vocabulary: int
    tied: bool

    @property
    def query(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def key_value(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.key_value_heads * self.head_dim


def usual_sizes(config: Fields) -> Sizes:
    """The widths under the names that nearly every config.json uses."""
    heads = config.count("num_attention_heads")
    hidden = config.count("hidden_size")
    return Sizes(
        hidden,
        config.count("intermediate_size"),
        config.layers("num_hidden_layers"),
        heads,
        config.count("num_key_value_heads", heads),
        config.count("head_dim", hidden // heads),
        config.count("vocab_size"),
        config.flag("tie_word_embeddings"),
    )


def text_sizes(config: Fields) -> Sizes:
    """The language model's widths in a model that sees: from `text_config`, or beside it in older files."""
    text = config.block("text_config")
    tied = {"tie_word_embeddings": config.flag("tie_word_embeddings")}
    return usual_sizes(Fields({**(text.values or config.values), **tied}, config.where, text.defaults))


@dataclass(frozen=True)
class Family:
    """How the modules of one model_type follow from its config.json."""

    modules: Callable[[Fields, Sizes], tuple[Module, ...]]
    sizes: Callable[[Fields], Sizes] = usual_sizes


Block = Callable[[str, int], Iterator[Module]]
"""The modules of one block, given its name with a dot and the number of its layer."""


def attention(
    sizes: Sizes,
    *,
    qkv_bias: bool = False,
    o_bias: bool = False,
    norms: bool | Literal["all heads"] = False,
    names: tuple[str, str] = ("q_norm", "k_norm"),
    output: str = "o_proj",
    gated: bool = False,
) -> Block:
    """q, k, v and o as layers of their own; output: o's name.

    norms: one over each head's queries and keys, or over all heads' together, called by `names`; gated: q
    makes a gate for each as well.
    """
    widths = (sizes.query, sizes.key_value) if norms == "all heads" else (sizes.head_dim,) * 2

    def block(name: str, layer: int) -> Iterator[Module]:
        yield linear(f"{name}q_proj", sizes.hidden, (1 + gated) * sizes.query, qkv_bias)
        yield linear(f"{name}k_proj", sizes.hidden, sizes.key_value, qkv_bias)
        yield linear(f"{name}v_proj", sizes.hidden, sizes.key_value, qkv_bias)
        yield linear(f"{name}{output}", sizes.query, sizes.hidden, o_bias)
        if norms:
            for norm, width in zip(names, widths, strict=True):
                yield rms_norm(f"{name}{norm}", width)

    return block


def gated_mlp(hidden: int, intermediate: int, *, bias: bool = False) -> Block:
    """gate, up and down as layers of their own."""

    def block(name: str, layer: int) -> Iterator[Module]:
        yield linear(f"{name}gate_proj", hidden, intermediate, bias)
        yield linear(f"{name}up_proj", hidden, intermediate, bias)
        yield linear(f"{name}down_proj", intermediate, hidden, bias)

    return block


def plain_mlp(
    hidden: int, intermediate: int, names: tuple[str, str] = ("fc1", "fc2"), *, bias: bool = True
) -> Block:
    """Two layers, as vision towers have them."""

    def block(name: str, layer: int) -> Iterator[Module]:
        yield linear(f"{name}{names[0]}", hidden, intermediate, bias)
        yield linear(f"{name}{names[1]}", intermediate, hidden, bias)

    return block


def fused_mlp(hidden: int, intermediate: int) -> Block:
    """gate and up as one layer."""

    def block(name: str, layer: int) -> Iterator[Module]:
        yield linear(f"{name}gate_up_proj", hidden, 2 * intermediate)
        yield linear(f"{name}down_proj", intermediate, hidden)

    return block


def experts(
    hidden: int, intermediate: int, count: int, router: str = "gate", kind: ModuleKind = "router"
) -> Block:
    """A router and the experts, stacked in two 3-D parameters as transformers 5 keeps them.

    kind: `linear` where the router is a torch.nn.Linear, which adapters and quantisers take for any other.
    """

    def block(name: str, layer: int) -> Iterator[Module]:
        yield single(f"{name}{router}", kind, count, hidden)
        stacked = (
            ("gate_up_proj", (count, 2 * intermediate, hidden)),
            ("down_proj", (count, hidden, intermediate)),
        )
        yield Module(f"{name}experts", "experts", stacked)

    return block


def decoder(
    sizes: Sizes,
    attend: Block,
    feed: Block,
    *,
    norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm"),
    norm: Callable[[str, int], Module] = rms_norm,
    prefix: str = "model.",
    feed_name: str = "mlp",
    last_norm: str | None = "norm",
    head_bias: bool = False,
) -> tuple[Module, ...]:
    """Embedding, layers of attention and feed-forward with their norms, final norm, output layer.

    norm: makes each of the norms. last_norm: None where the final norm has no parameters.
    """
    modules = [single(f"{prefix}embed_tokens", "embedding", sizes.vocabulary, sizes.hidden)]
    for layer in range(sizes.layers):
        name = f"{prefix}layers.{layer}."
        modules += attend(f"{name}self_attn.", layer)
        modules += feed(f"{name}{feed_name}.", layer)
        modules += (norm(f"{name}{each}", sizes.hidden) for each in norms)
    if last_norm:
        modules.append(norm(f"{prefix}{last_norm}", sizes.hidden))
    return (*modules, *output_layer(sizes, head_bias))


def output_layer(sizes: Sizes, bias: bool = False) -> tuple[Module, ...]:
    """`lm_head`, whose weight is the embedding's where the two are tied; a bias is its own even then."""
    head = linear("lm_head", sizes.hidden, sizes.vocabulary)
    own = (Module("lm_head", "other", (("bias", (sizes.vocabulary,)),)),) if bias else ()
    if sizes.tied:
        return (replace(head, tied=True), *own)
    return (linear("lm_head", sizes.hidden, sizes.vocabulary, bias),)
