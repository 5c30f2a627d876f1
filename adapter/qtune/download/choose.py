"""The choice of the files of a model's repository that a training needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# The same weights for other programs, and what a training left behind.
_OTHERS = re.compile(
    r"(^|/)(onnx|openvino|coreml|original|runs|checkpoint-\d+|global_step\d+)/"
    r"|\.(gguf|ggml|onnx|onnx_data|msgpack|h5|tflite|ot|mlmodel|llamafile|nemo|engine|pdparams|ckpt)$"
    r"|(^|/)(optimizer|scheduler|scaler|training_args|rng_state\w*)\.(pt|pth|bin)$"
    r"|(^|/)(openvino_model\.\w+|events\.out\.tfevents\..*)$"
)
_SAFETENSORS = re.compile(r"(^|/)[^/]+\.safetensors$")
_PICKLED = re.compile(
    r"(^|/)(pytorch_model|adapter_model|tf_model|consolidated|model)[\w.-]*\.(bin|pt|pth)(\.index\.json)?$"
)
# Mistral's own layout, and weights of another precision, beside those that transformers loads by itself.
_TWICE = re.compile(
    r"^(consolidated[\w.-]*|model\.(?!safetensors)[\w-]+(-\d+-of-\d+)?)\.safetensors(\.index[\w.]*\.json)?$"
)
_LOADED = re.compile(r"^model(-\d+-of-\d+)?\.safetensors$")
_WEIGHTS = re.compile(r"\.(safetensors|bin|pt|pth)$")


@dataclass(frozen=True, slots=True)
class File:
    """One file of a repository, its bytes, and how many of them lie in the cache already."""

    name: str
    size: int
    here: int = 0


def for_training(files: Sequence[File]) -> list[File]:
    """Without what holds the same weights once more: of several kinds the safetensors stay."""
    kept = [file for file in files if not _OTHERS.search(file.name)]
    if any(_LOADED.match(file.name) for file in kept):
        kept = [file for file in kept if not _TWICE.match(file.name)]
    if any(_SAFETENSORS.search(file.name) for file in kept):
        kept = [file for file in kept if not _PICKLED.search(file.name)]
    return kept


def has_weights(files: Sequence[File]) -> bool:
    """Whether a training could load them; an adapter's are weights too."""
    return any(_WEIGHTS.search(file.name) for file in files)
