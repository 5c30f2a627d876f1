"""What DoRA holds beside LoRA: at each layer it weighs every adapted matrix anew, and keeps two outputs.

All of it follows peft/tuners/lora/dora.py, DoraLinearLayer.forward, and was traced like `_LAYERS` of
`activations`: the outputs exactly, the gradients within 8%.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from qtune.predict.memory.setting import Setting
from qtune.predict.models.shapes import Linear
from qtune.schema import argument


class _Bytes(NamedTuple):
    """In bytes. output: for each token and output, of the base's result and the adapter's, which the
    magnitude's gradient needs. square: for each element of the identity matrix, as wide as the inputs, that
    is sent through the adapter. weight: for each element of the matrix whose norm is taken: the adapter's
    product, that product scaled, the base's weight where it is cast, and their sum. copy: of the cast weight
    that a dropout makes the layer keep. kept: for each token and (hidden unit, unit of the MLP), what a layer
    keeps beside the outputs; at_work: what the gradients of the layer at work take more than LoRA's."""

    output: int
    square: int
    weight: int
    copy: int
    kept: tuple[int, int]
    at_work: tuple[int, int]


# By the precisions of `activations`. `wide`: over quantised weights under autocast the magnitude, in float32,
# makes a layer's result float32, and nothing casts it back (peft/tuners/lora/bnb.py, Linear4bit.forward,
# which does so without autocast alone).
_BY_PRECISION: dict[str, _Bytes] = {
    "autocast": _Bytes(4, 6, 12, 2, (0, 0), (-10, 8)),
    "half": _Bytes(4, 2, 6, 0, (0, 0), (-7, 0)),
    "quantised half": _Bytes(4, 2, 8, 2, (0, 0), (-7, 0)),
    "single": _Bytes(8, 4, 12, 0, (0, 0), (-4, 0)),
    "mixed": _Bytes(6, 4, 16, 4, (0, 0), (-16, 9)),
    "wide": _Bytes(6, 6, 12, 2, (4, 6), (-9, 6)),
}


def is_wide(setting: Setting) -> bool:
    """Whether DoRA makes the hidden states between the layers float32."""
    quantized = setting.autocast and setting.quantized and not setting.on_cpu
    return quantized and setting.adapter and bool(argument(setting.train, "use_dora"))


def kept(setting: Setting, precision: str) -> int:
    """Bytes that the forward pass of one layer saves more than with LoRA."""
    each = _bytes(setting, precision)
    outputs = weights = 0
    for linear in _adapted(setting):
        outputs += linear.outputs * linear.count
        weights += linear.inputs * linear.outputs * linear.count
    copies = each.copy * weights if setting.train.get("lora_dropout") else 0
    of_layer = (each.output * outputs * setting.tokens + copies) // max(setting.model.num_hidden_layers, 1)
    return of_layer + _of_units(setting, each.kept)


def at_work(setting: Setting, precision: str) -> int:
    """Bytes that one layer takes more than with LoRA while it is gone back through, at the most."""
    return kept(setting, precision) + _of_units(setting, _bytes(setting, precision).at_work)


def weighing(setting: Setting, precision: str) -> int:
    """Bytes for the moment at which the dearest of the adapted matrices is weighed."""
    each = _bytes(setting, precision)
    return max(
        (
            each.square * linear.inputs**2 + each.weight * linear.inputs * linear.outputs
            for linear in _adapted(setting)
        ),
        default=0,
    )


def _bytes(setting: Setting, precision: str) -> _Bytes:
    if is_wide(setting):
        return _BY_PRECISION["wide"]
    return _BY_PRECISION["quantised half" if setting.quantized and precision == "half" else precision]


def _of_units(setting: Setting, each: tuple[int, int]) -> int:
    """Where the MLP has adapters."""
    if not any(linear.kind == "mlp" for linear in _adapted(setting)):
        return 0
    hidden, mlp = each
    return (hidden * setting.model.hidden_size + mlp * setting.model.intermediate_size) * setting.tokens


def _adapted(setting: Setting) -> Iterable[Linear]:
    """The linear layers of the language model's layers that have an adapter; none without DoRA."""
    if not setting.adapter or not argument(setting.train, "use_dora"):
        return
    words = {word for tensor in setting.trainable.tensors for word in tensor.name.split(".")}
    yield from (
        linear
        for linear in setting.model.linears
        if linear.name in words and linear.kind not in ("head", "vision") and not linear.stacked
    )
