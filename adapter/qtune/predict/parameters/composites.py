"""What LLaMA-Factory freezes of models that see or hear, by parts of names.

Source: llamafactory/model/model_utils/visual.py, COMPOSITE_MODELS; tests/e2e/test_model_counts.py compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Composite:
    """Parts of names: of the projector, the tower, the language model, and what LoRA keeps away from."""

    projector: tuple[str, ...] = ("multi_modal_projector",)
    vision: tuple[str, ...] = ("vision_tower",)
    language: tuple[str, ...] = ("language_model", "lm_head")
    conflicts: tuple[str, ...] = ()


_BLOCKS = ("visual.patch_embed", "visual.blocks")
_PLACED_BLOCKS = ("visual.pos_embed", *_BLOCKS)
_DEEP_BLOCKS = (*_PLACED_BLOCKS, "visual.deepstack_merger_list")
_QWEN2_VL = Composite(("visual.merger",), _BLOCKS, conflicts=("patch_embed",))
_QWEN3_VL = Composite(("visual.merger",), _DEEP_BLOCKS, conflicts=("patch_embed",))
_QWEN3_5 = Composite(("model.visual.merger",), _PLACED_BLOCKS, conflicts=("patch_embed",))
_USUAL = Composite()

COMPOSITES: Mapping[str, Composite] = {
    "dots_ocr": Composite(("vision_tower.merger",), language=("model", "lm_head"), conflicts=("merger",)),
    "gemma3": _USUAL,
    "gemma3n": Composite(
        vision=("vision_tower", "audio_tower"), conflicts=("timm_model", "subsample_conv_projection")
    ),
    "gemma4": Composite(
        ("model.embed_vision", "model.embed_audio"),
        ("vision_tower", "audio_tower"),
        conflicts=("per_layer_projection_norm",),
    ),
    "glm4v": _QWEN2_VL,
    "glm4v_moe": _QWEN2_VL,
    "glm_ocr": _QWEN2_VL,
    "internvl": _USUAL,
    "interns1": _USUAL,
    "Keye": Composite(
        ("mlp_AR",),
        ("visual.vision_model.patch_embedding", "visual.vision_model.encoder"),
        ("model", "lm_head"),
        ("patch_embedding",),
    ),
    "kimi_vl": _USUAL,
    "llama4": Composite(vision=("vision_model",)),
    "llava": _USUAL,
    "llava_next": _USUAL,
    "llava_next_video": _USUAL,
    "minicpmv": Composite(("resampler",), ("vpm",), ("llm",)),
    "minicpmv4_6": Composite(("model.merger",), ("model.vision_tower",), ("model.language_model", "lm_head")),
    "minicpmo": Composite(
        ("resampler",),
        ("vpm", "apm", "audio_avg_pooler", "audio_projection_layer", "tts"),
        ("llm",),
        ("audio_projection_layer",),
    ),
    "mistral3": Composite(("model.multi_modal_projector",)),
    "mllama": Composite(vision=("vision_model",)),
    "paligemma": _USUAL,
    "qwen2_audio": Composite(vision=("audio_tower",)),
    "qwen2_5_omni_thinker": Composite(
        ("visual.merger", "audio_tower.proj"),
        (*_BLOCKS, "audio_tower"),
        ("model", "lm_head"),
        ("patch_embed",),
    ),
    "qwen2_vl": _QWEN2_VL,
    "qwen2_5_vl": _QWEN2_VL,
    "qwen3_vl": _QWEN3_VL,
    "qwen3_vl_moe": _QWEN3_VL,
    "qwen3_omni_moe_thinker": Composite(
        ("visual.merger", "audio_tower.proj"), (*_DEEP_BLOCKS, "audio_tower"), conflicts=("patch_embed",)
    ),
    "qwen3_5": _QWEN3_5,
    "qwen3_5_moe": _QWEN3_5,
    "video_llava": _USUAL,
}
"""By model_type."""
