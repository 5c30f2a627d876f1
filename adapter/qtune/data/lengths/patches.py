"""How the processors of the Qwen-VL families scale pictures and frames of videos, and cut them into patches.

Sources: llamafactory/data/mm_plugin.py, Qwen2VLPlugin; transformers/models/qwen2_vl/
image_processing_qwen2_vl.py and models/qwen3_vl/video_processing_qwen3_vl.py, smart_resize.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune.config.model import model_file
from qtune.errors import QtuneError
from qtune.files import read_object
from qtune.schema import argument

_DEFAULTS = {
    "Qwen2VLImageProcessor": (14, 56 * 56, 28 * 28 * 1280),
    "Qwen2VLVideoProcessor": (14, 128 * 28 * 28, 28 * 28 * 768),
    "Qwen3VLVideoProcessor": (16, 128 * 32 * 32, 32 * 32 * 768),
}
"""Of each processor: patch_size, and its bounds in pixels."""

_LEAST_SIDE, _MOST_RATIO, _RATIO_MADE = 28, 200, 180


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """How pictures, or the frames of videos, are scaled and cut into patches; each bound is in pixels.

    given_least, given_most: the bounds that LLaMA-Factory scales to first (image_min_pixels and so on);
    least, most: those of the model's processor. patch_size: in pixels; merge_size: so many patches in a row,
    and so many rows of them, make a token; temporal_patch_size: so many frames make one.
    """

    given_least: int
    given_most: int
    least: int
    most: int
    patch_size: int
    merge_size: int
    temporal_patch_size: int

    def tokens(self, width: int, height: int, frames: int = 1) -> int:
        """Tokens of one picture; frames: of a video whose processor's bounds are for all its frames together.

        Raises ValueError where the library cannot scale it.
        """
        width, height = self._regularized(width, height)
        factor = self.patch_size * self.merge_size
        across, down = (round(side / factor) * factor for side in (width, height))
        if across * down * frames > self.most:
            scale = math.sqrt(width * height * frames / self.most)
            across, down = (
                max(factor, math.floor(side / scale / factor) * factor) for side in (width, height)
            )
        elif across * down * frames < self.least:
            scale = math.sqrt(self.least / (width * height * frames))
            across, down = (math.ceil(side * scale / factor) * factor for side in (width, height))
        return (across // factor) * (down // factor)

    def groups(self, frames: int) -> int:
        """How many groups of frames make tokens of their own."""
        return math.ceil(frames / self.temporal_patch_size)

    def _regularized(self, width: int, height: int) -> tuple[int, int]:
        """MMPluginMixin._preprocess_image, Qwen2VLPlugin._preprocess_image"""
        if width * height > self.given_most:
            scale = math.sqrt(self.given_most / (width * height))
            width, height = int(width * scale), int(height * scale)
        if not (width and height):
            raise ValueError("nothing is left of a side")
        if width * height < self.given_least:
            scale = math.sqrt(self.given_least / (width * height))
            width, height = int(width * scale), int(height * scale)
        if min(width, height) < _LEAST_SIDE:
            width, height = max(width, _LEAST_SIDE), max(height, _LEAST_SIDE)
        if width / height > _MOST_RATIO:
            width = height * _RATIO_MADE
        if height / width > _MOST_RATIO:
            height = width * _RATIO_MADE
        return width, height


def patch_grid(kind: str, type_name: str, train: Mapping[str, Any], root: Path) -> PatchGrid:
    """How the model's own processor cuts pictures (kind `image`) or videos (`video`).

    type_name: of that processor, as transformers calls it; train: LLaMA-Factory arguments; root: of the
    project. Raises QtuneError, with the reason, where the processor is of another type or not here.
    Sources: transformers/image_processing_base.py, get_image_processor_dict; video_processing_utils.py,
    get_video_processor_dict; models/auto/video_processing_auto.py, from_pretrained.
    """
    settings = _content("processor_config.json", train, root).get(f"{kind}_processor")
    for name in (f"{kind}_preprocessor_config.json", "preprocessor_config.json"):
        settings = settings or _content(name, train, root)
    if not isinstance(settings, dict) or not settings:
        raise QtuneError("the settings of the model's processor are not on this machine")
    of_pictures = str(settings.get("image_processor_type", ""))
    given = str(settings.get(f"{kind}_processor_type") or of_pictures.replace("Image", "Video"))
    if given.removesuffix("Fast") != type_name or "auto_map" in settings:
        raise QtuneError(f"the {kind}s of the model's {given or 'own processor'} are not counted")
    patch_size, least, most = _DEFAULTS[type_name]
    size = settings.get("size")
    bounds = size if isinstance(size, dict) else {}
    found = (
        settings.get("min_pixels") or bounds.get("shortest_edge", least),
        settings.get("max_pixels") or bounds.get("longest_edge", most),
        settings.get("patch_size", patch_size),
        settings.get("merge_size", 2),
        settings.get("temporal_patch_size", 2),
    )
    if not all(isinstance(number, int) and number > 0 for number in found):
        raise QtuneError("the settings of the model's processor are damaged")
    return PatchGrid(argument(train, f"{kind}_min_pixels"), argument(train, f"{kind}_max_pixels"), *found)


def _content(name: str, train: Mapping[str, Any], root: Path) -> Mapping[str, Any]:
    file = model_file(name, train, root)
    return read_object(file) if file is not None else {}
