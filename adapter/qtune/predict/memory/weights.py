"""Bytes of a model's weights as they lie in memory: by dtype, quantised or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.predict.memory.setting import Setting
from qtune.predict.models.shapes import Model
from qtune.schema import argument
from qtune.units import count_text

_ABSMAX_BLOCK = 64
_NESTED_BLOCK = 256


def bytes_of_4_bit(weights: int, double_quantization: bool) -> float:
    """Bytes of `weights` elements in NF4 or FP4 with their scales.

    Two elements a byte; a float32 scale for each 64 of them; with double quantisation one byte for the scale,
    and a float32 scale for each 256 scales.
    Source: bitsandbytes/functional.py, quantize_4bit (blocksize=64, compress_statistics: quantize_blockwise
    with blocksize=256); QLoRA, Dettmers et al. 2023, section 3.
    """
    scales = weights / _ABSMAX_BLOCK
    return weights / 2 + (scales * (1 + 4 / _NESTED_BLOCK) if double_quantization else scales * 4)


def bytes_per_quantized(method: str, bits: int, double_quantization: bool) -> float:
    """Bytes of one quantised element with its share of the scales.

    bitsandbytes 8 bits: one byte, scales of whole rows are too few to count (bitsandbytes/nn/modules.py,
    Int8Params). GPTQ, AWQ, HQQ and the like: groups of 128 with a 16-bit scale and a zero point of `bits`.
    """
    if method in ("bnb", "bitsandbytes"):
        return bytes_of_4_bit(1, double_quantization) if bits == 4 else bits / 8
    return bits / 8 + (2 + bits / 8) / 128


def left_in_16_bits(train: Mapping[str, Any], model: Model) -> str:
    """Says what of a mixture of experts is not quantised where the model is as it is loaded; else empty.

    Source: transformers/integrations/bitsandbytes.py, replace_with_bnb_linear.
    """
    stacked = sum(linear.inputs * linear.outputs * linear.count for linear in model.linears if linear.stacked)
    if not stacked or train.get("quantization_bit") is None:
        return ""
    share = f"{count_text(stacked)} of {count_text(model.parameters)} parameters"
    why = "transformers 5 stacks them, and only linear layers are quantised"
    return f"the experts ({share}) stay in 16 bits: {why}"


def scale_bytes(setting: Setting) -> int:
    """Bytes of the scales of 4-bit weights, which each process keeps whole: they are no parameters.

    Source: bitsandbytes/nn/modules.py, Linear4bit.quant_state; ZeRO-3 and FSDP shard parameters alone.
    """
    if setting.quantization is None or setting.quantization[1] != 4:
        return 0
    packed = setting.model.quantizable_parameters
    return int(bytes_of_4_bit(packed, bool(argument(setting.train, "double_quantization"))) - packed / 2)


def frozen_bytes(setting: Setting) -> int:
    """Bytes of the model's own weights that are not trained, of all processes together once.

    upcast_layernorm keeps norms in float32 (llamafactory/model/model_utils/checkpointing.py).
    """
    model, train = setting.model, setting.train
    frozen = model.parameters - setting.trainable.of("weight")
    total = 0.0
    if setting.quantization is not None:
        method, bits = setting.quantization
        packed = min(model.quantizable_parameters, frozen)
        total += packed * bytes_per_quantized(method, bits, bool(argument(train, "double_quantization")))
        frozen -= packed
    if train.get("upcast_layernorm") and setting.adapter:
        norms = sum(module.size for module in model.modules if module.kind == "norm")
        total += max(4 - setting.weight_bytes, 0) * norms
    return int(total + frozen * setting.weight_bytes)


def reference_bytes(setting: Setting) -> int:
    """Bytes of a second, frozen model beside the one that is trained; 0 where none is made.

    Made where `ref_model` names one, or without adapters for the losses that compare with it; with adapters
    the model itself answers with them disabled. It is taken to be as large as the model.
    Source: llamafactory/train/trainer_utils.py, create_ref_model; hparams/finetuning_args.py, use_ref_model.
    """
    train = setting.train
    if setting.loss not in ("anchored", "preferences", "kto", "ppo"):
        return 0
    if train.get("ref_model") is not None:
        bits = train.get("ref_model_quantization_bit")
    elif setting.method != "lora":
        bits = train.get("quantization_bit")
    else:
        return 0
    return _second_model(setting, bits, 2 if setting.mixed and setting.zero else setting.checkpoint_bytes)


def reward_model_bytes(setting: Setting) -> int:
    """Bytes of PPO's reward model, taken to be as large as the model; adapters and servers take none.

    Source: llamafactory/train/trainer_utils.py, create_reward_model.
    """
    if setting.loss != "ppo" or argument(setting.train, "reward_model_type") != "full":
        return 0
    bits = setting.train.get("reward_model_quantization_bit")
    return _second_model(setting, bits, setting.checkpoint_bytes)


def _second_model(setting: Setting, bits: int | None, width: int) -> int:
    """Bytes of a model as large as the one that is trained; width: of an element that is not quantised."""
    packed = setting.model.quantizable_parameters if bits is not None else 0
    each = bytes_per_quantized("bnb", int(bits), True) if bits is not None else 0.0
    return int(packed * each + (setting.model.parameters - packed) * width)


def largest_dequantized(setting: Setting) -> int:
    """Bytes of the largest quantised layer made 16-bit again, which each product needs for its moment.

    Source: bitsandbytes/autograd/_functions.py, MatMul4Bit (dequantize_4bit of the whole weight).
    """
    if setting.quantization is None:
        return 0
    width = 4 if setting.on_cpu and not setting.mixed else 2
    packed = (each for each in setting.model.linears if each.kind != "head" and not each.stacked)
    sizes = (linear.inputs * linear.outputs for linear in packed)
    return width * max(sizes, default=0)
