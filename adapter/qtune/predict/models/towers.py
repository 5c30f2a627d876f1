"""What sees, before the language models of several families: SigLIP, CLIP, Pixtral and InternViT.

Source: transformers 5.5, modeling_siglip.py, modeling_clip.py, modeling_pixtral.py, modeling_internvl.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from qtune.predict.models.decoder import conv, gated_mlp, layer_norm, linear, plain_mlp, rms_norm, single
from qtune.predict.models.fields import Fields
from qtune.predict.models.shapes import Module

_ENCODER = "model.vision_tower.vision_model."


def _width(vision: Fields) -> int:
    return vision.count("hidden_size")


def _patches(vision: Fields) -> int:
    return (vision.side("image_size") // vision.side("patch_size")) ** 2


def _of_patches(vision: Fields, name: str, *, bias: bool) -> Module:
    patch = vision.side("patch_size")
    return conv(name, bias, _width(vision), vision.count("num_channels"), patch, patch)


def siglip(vision: Fields, prefix: str = _ENCODER) -> Iterator[Module]:
    """SigLIP's, with its head where `vision_use_head` says so; prefix: of its modules' names."""
    width = _width(vision)
    yield _of_patches(vision, f"{prefix}embeddings.patch_embedding", bias=True)
    yield single(f"{prefix}embeddings.position_embedding", "embedding", _patches(vision), width)
    yield from _encoder(vision, prefix)
    if vision.flag("vision_use_head"):
        joined = (("in_proj_weight", (3 * width, width)), ("in_proj_bias", (3 * width,)))
        yield Module(f"{prefix}head", "other", (("probe", (1, 1, width)),))
        yield Module(f"{prefix}head.attention", "other", joined)
        # of a class of torch's own, which bitsandbytes leaves alone (torch/nn/modules/activation.py)
        yield replace(linear(f"{prefix}head.attention.out_proj", width, width, True), packed=False)
        yield layer_norm(f"{prefix}head.layernorm", width)
        yield from plain_mlp(width, vision.count("intermediate_size"))(f"{prefix}head.mlp.", 0)


def _clip(vision: Fields) -> Iterator[Module]:
    width, prefix = _width(vision), _ENCODER
    yield Module(f"{prefix}embeddings", "other", (("class_embedding", (width,)),))
    yield _of_patches(vision, f"{prefix}embeddings.patch_embedding", bias=False)
    yield single(f"{prefix}embeddings.position_embedding", "embedding", _patches(vision) + 1, width)
    yield layer_norm(f"{prefix}pre_layrnorm", width)
    yield from _encoder(vision, prefix)


def _encoder(vision: Fields, prefix: str) -> Iterator[Module]:
    width = _width(vision)
    feed = plain_mlp(width, vision.count("intermediate_size"))
    for number in range(vision.layers("num_hidden_layers")):
        name = f"{prefix}encoder.layers.{number}."
        yield layer_norm(f"{name}layer_norm1", width)
        for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
            yield linear(f"{name}self_attn.{part}", width, width, True)
        yield layer_norm(f"{name}layer_norm2", width)
        yield from feed(f"{name}mlp.", number)
    yield layer_norm(f"{prefix}post_layernorm", width)


def _pixtral(vision: Fields) -> Iterator[Module]:
    width, prefix = _width(vision), "model.vision_tower."
    feed = gated_mlp(width, vision.count("intermediate_size"))
    yield _of_patches(vision, f"{prefix}patch_conv", bias=False)
    yield rms_norm(f"{prefix}ln_pre", width)
    for number in range(vision.layers("num_hidden_layers")):
        name = f"{prefix}transformer.layers.{number}."
        yield rms_norm(f"{name}attention_norm", width)
        yield from feed(f"{name}feed_forward.", number)
        for part in ("k_proj", "v_proj", "q_proj", "o_proj"):
            yield linear(f"{name}attention.{part}", width, width)
        yield rms_norm(f"{name}ffn_norm", width)


def internvit(vision: Fields) -> Iterator[Module]:
    """InternVL's own."""
    width, prefix = _width(vision), "model.vision_tower."
    own = [("cls_token", (1, 1, width))]
    if vision.flag("use_mask_token"):
        own.append(("mask_token", (1, 1, width)))
    if vision.flag("use_absolute_position_embeddings"):
        own.append(("position_embeddings", (1, _patches(vision) + 1, width)))
    yield Module(f"{prefix}embeddings", "other", tuple(own))
    yield _of_patches(vision, f"{prefix}embeddings.patch_embeddings.projection", bias=True)
    norm = rms_norm if vision.get("norm_type") == "rms_norm" else layer_norm
    feed = plain_mlp(width, vision.count("intermediate_size"))
    for number in range(vision.layers("num_hidden_layers")):
        name = f"{prefix}encoder.layer.{number}"
        yield Module(name, "other", (("lambda_1", (width,)), ("lambda_2", (width,))))
        for part in ("q_proj", "k_proj", "v_proj"):
            yield linear(f"{name}.attention.{part}", width, width, vision.flag("attention_bias"))
        yield linear(f"{name}.attention.projection_layer", width, width, True)
        if vision.flag("use_qk_norm"):
            yield rms_norm(f"{name}.attention.q_norm", width)
            yield rms_norm(f"{name}.attention.k_norm", width)
        yield from feed(f"{name}.mlp.", number)
        yield norm(f"{name}.layernorm_before", width)
        yield norm(f"{name}.layernorm_after", width)
    if not vision.flag("use_mean_pooling"):
        yield layer_norm(f"{prefix}layernorm", width)


TOWERS = {"siglip_vision_model": siglip, "clip_vision_model": _clip, "pixtral": _pixtral}
"""By the model_type in `vision_config`."""
