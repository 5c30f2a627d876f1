"""The vision-language families that join a tower to a language model of any text family.

Source: transformers 5.5, models/<model_type>/modeling_<model_type>.py and configuration_<model_type>.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from qtune.predict.models.decoder import Family, Sizes, layer_norm, linear, rms_norm
from qtune.predict.models.deepseek import DEEPSEEK
from qtune.predict.models.defaults import defaults
from qtune.predict.models.fields import Fields
from qtune.predict.models.hybrid import HYBRID
from qtune.predict.models.recurrent import RECURRENT
from qtune.predict.models.shapes import Module
from qtune.predict.models.sparse import SPARSE
from qtune.predict.models.text import TEXT
from qtune.predict.models.towers import TOWERS, internvit, siglip

_LANGUAGE: Mapping[str, Family] = {**TEXT, **SPARSE, **DEEPSEEK, **HYBRID, **RECURRENT}
_PROJECTOR = "model.multi_modal_projector"


def _part(config: Fields, name: str, model_type: str) -> tuple[str, Fields]:
    """A part's model_type, `model_type` where it says none, and its fields over that type's defaults."""
    given = config.block(name)
    kind = str(given.get("model_type") or model_type)
    whole = {**defaults().get(kind, {}), **defaults()[name].get(kind, {})}
    return kind, Fields(given.values, config.where, whole)


def parts_are_known(content: Mapping[str, Any]) -> bool:
    """Whether the language model and the tower are known here, as far as the config names them."""

    def named(name: str) -> str | None:
        part = content.get(name)
        return str(part["model_type"]) if isinstance(part, Mapping) and part.get("model_type") else None

    text, vision = named("text_config"), named("vision_config")
    has_own_tower = content.get("model_type") in ("internvl", "idefics3", "smolvlm")
    return (text is None or text in _LANGUAGE) and (vision is None or has_own_tower or vision in TOWERS)


def _language(config: Fields, of: Sizes, text: str, prefix: str = "language_model.") -> Iterable[Module]:
    kind, fields = _part(config, "text_config", text)
    for module in _LANGUAGE[kind].modules(fields, of):
        is_inside = module.name.startswith("model.")
        yield replace(module, name=f"model.{prefix}{module.name[6:]}") if is_inside else module


def _sizes_of(text: str, *, by_either: bool = False) -> Callable[[Fields], Sizes]:
    """The language model's; by_either: tied where the model or its language model says so."""

    def sizes(config: Fields) -> Sizes:
        kind, fields = _part(config, "text_config", text)
        of = _LANGUAGE[kind].sizes(fields)
        return replace(of, tied=config.flag("tie_word_embeddings") or (by_either and of.tied))

    return sizes


def _tower(config: Fields, model_type: str) -> tuple[int, tuple[Module, ...]]:
    """The width of what sees, and its modules."""
    kind, fields = _part(config, "vision_config", model_type)
    return fields.count("hidden_size"), tuple(TOWERS[kind](fields))


def _features(config: Fields) -> int:
    """How many layers of the tower are looked at side by side."""
    return len(chosen) if isinstance(chosen := config.get("vision_feature_layer"), list) else 1


def _two_linears(config: Fields, of: Sizes, inputs: int) -> Iterable[Module]:
    bias = config.flag("multimodal_projector_bias")
    yield linear(f"{_PROJECTOR}.linear_1", inputs * _features(config), of.hidden, bias)
    yield linear(f"{_PROJECTOR}.linear_2", of.hidden, of.hidden, bias)


def _llava(config: Fields, of: Sizes) -> tuple[Module, ...]:
    width, tower = _tower(config, "clip_vision_model")
    return (*tower, *_two_linears(config, of, width), *_language(config, of, "llama"))


def _llava_next(config: Fields, of: Sizes) -> tuple[Module, ...]:
    return (Module("model", "other", (("image_newline", (of.hidden,)),)), *_llava(config, of))


def _llava_onevision(config: Fields, of: Sizes) -> tuple[Module, ...]:
    width, tower = _tower(config, "siglip_vision_model")
    newline = Module("model", "other", (("image_newline", (of.hidden,)),))
    return (newline, *tower, *_two_linears(config, of, width), *_language(config, of, "qwen2"))


def _mistral3(config: Fields, of: Sizes) -> tuple[Module, ...]:
    width, tower = _tower(config, "pixtral")
    merged = width * config.count("spatial_merge_size") ** 2
    return (
        *tower,
        rms_norm(f"{_PROJECTOR}.norm", width),
        linear(f"{_PROJECTOR}.patch_merger.merging_layer", merged, width),
        *_two_linears(config, of, width),
        *_language(config, of, "mistral"),
    )


def _paligemma(config: Fields, of: Sizes) -> tuple[Module, ...]:
    width, tower = _tower(config, "siglip_vision_model")
    projector = linear(f"{_PROJECTOR}.linear", width, config.count("projection_dim"), True)
    return (*tower, projector, *_language(config, of, "gemma"))


def _internvl(config: Fields, of: Sizes) -> tuple[Module, ...]:
    vision, ratio = config.block("vision_config"), config.get("downsample_ratio")
    merged = vision.count("hidden_size")
    if isinstance(ratio, int | float) and ratio > 0:
        merged *= int(1 / ratio) ** 2
    return (
        *internvit(vision),
        layer_norm(f"{_PROJECTOR}.layer_norm", merged),
        linear(f"{_PROJECTOR}.linear_1", merged, of.hidden, True),
        linear(f"{_PROJECTOR}.linear_2", of.hidden, of.hidden, True),
        *_language(config, of, "qwen2"),
    )


def _idefics3(config: Fields, of: Sizes) -> tuple[Module, ...]:
    vision = config.block("vision_config")
    merged = vision.count("hidden_size") * config.count("scale_factor") ** 2
    return (
        *siglip(vision, "model.vision_model."),
        linear("model.connector.modality_projection.proj", merged, of.hidden),
        *_language(config, of, "llama", "text_model."),
    )


COMPOSED: Mapping[str, Family] = {
    "llava": Family(_llava, _sizes_of("llama", by_either=True)),
    "llava_next": Family(_llava_next, _sizes_of("llama")),
    "llava_onevision": Family(_llava_onevision, _sizes_of("qwen2", by_either=True)),
    "internvl": Family(_internvl, _sizes_of("qwen2")),
    "mistral3": Family(_mistral3, _sizes_of("mistral")),
    "paligemma": Family(_paligemma, _sizes_of("gemma")),
    "idefics3": Family(_idefics3, _sizes_of("llama")),
    "smolvlm": Family(_idefics3, _sizes_of("llama")),
}
"""By model_type."""
