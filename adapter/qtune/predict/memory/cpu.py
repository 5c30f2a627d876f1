"""What a training on the CPU takes beside the formulas: memory that the C library and mapped files keep."""

from __future__ import annotations

from qtune.predict.memory.activations import at_work_bytes
from qtune.predict.memory.constants import HEAP_BLOCK, HEAP_KEPT
from qtune.predict.memory.estimate import MemoryPart
from qtune.predict.memory.setting import Setting


def kept_by_allocator(setting: Setting) -> list[MemoryPart]:
    """Freed blocks that glibc keeps, and pages of the checkpoint behind quantised weights; none on a GPU.

    The blocks are those of activations, and under ZeRO those of gradients: ZeRO copies each gradient out of
    the block that the backward pass made (deepspeed/runtime/zero/stage_1_and_2.py, stage3.py).
    The embeddings of a quantised model are not copied out of the mapped file, so that all of it stays mapped
    (safetensors; transformers/core_model_loading.py).
    """
    if not setting.on_cpu:
        return []
    work = at_work_bytes(setting)
    largest = setting.model.intermediate_size * setting.tokens * setting.compute_bytes
    share = min(1.0, HEAP_BLOCK / largest) if largest else 1.0
    freed = HEAP_KEPT * work * share
    if setting.zero:
        freed += setting.trainable.parameters * setting.trained_bytes * small_share(setting)
    parts = [MemoryPart("freed blocks", int(freed), "gpu", "which the C library keeps")]
    if setting.quantization is not None and setting.model.quantization is None:
        size = setting.model.quantizable_parameters * setting.checkpoint_bytes
        parts.append(MemoryPart("mapped checkpoint", size, "gpu", "from which the weights were quantised"))
    return parts


def small_share(setting: Setting) -> float:
    """Share of the gradients that the C library keeps once they are freed: those of small tensors."""
    found = setting.trainable
    small = sum(item.size for item in found.tensors if item.size * setting.trained_bytes < HEAP_BLOCK)
    return small / found.parameters if found.parameters else 0.0
