"""The tensors that PEFT adds to one module: LoRA, DoRA and OFT."""

from __future__ import annotations

import math
from collections.abc import Iterator

from qtune.predict.models.shapes import Module, Shape
from qtune.predict.parameters.choice import Train
from qtune.schema import argument


def adapter_tensors(module: Module, train: Train) -> Iterator[tuple[str, Shape]]:
    """Name and shape of each tensor that the module's adapter has.

    rsLoRA and PiSSA change how they start and scale, not their shapes.
    """
    first, second, *kernel = module.weights[0][1]
    if module.kind == "conv" and not kernel:  # transformers/pytorch_utils.py, Conv1D: (inputs, outputs)
        first, second = second, first
    if argument(train, "finetuning_type") == "oft":
        yield f"{module.name}.oft_R.weight", _oft(second * math.prod(kernel), train)
        return
    rank = int(argument(train, "lora_rank"))
    if module.kind == "embedding":  # peft/tuners/lora/layer.py, Embedding: (rows, width)
        yield f"{module.name}.lora_embedding_A", (rank, first)
        yield f"{module.name}.lora_embedding_B", (second, rank)
        width = second
    else:
        yield f"{module.name}.lora_A.weight", (rank, second, *kernel)
        yield f"{module.name}.lora_B.weight", (first, rank, *(1 for _ in kernel))
        width = first
    if argument(train, "use_dora"):  # peft/tuners/lora/dora.py: one magnitude for each output
        yield f"{module.name}.lora_magnitude_vector.weight", (width,)


def _oft(inputs: int, train: Train) -> Shape:
    """Blocks of a rotation of the inputs, each half a square without its diagonal.

    Source: peft/tuners/oft/layer.py, OFTLayer.update_layer: either the blocks' number or their size is
    given, 0 stands for the other.
    """
    blocks, size = int(argument(train, "oft_rank")), int(argument(train, "oft_block_size"))
    if blocks:
        blocks = _divisor(inputs, blocks)
        size = inputs // blocks
    else:
        size = _divisor(inputs, size)
        blocks = inputs // size
    return (blocks, size * (size - 1) // 2)


def _divisor(inputs: int, wanted: int) -> int:
    """The divisor of `inputs` nearest to `wanted`, the smaller of two as near (adjust_oft_parameters)."""
    if wanted >= inputs:
        return inputs
    higher = next(number for number in range(wanted, inputs + 1) if inputs % number == 0)
    lower = next(number for number in range(wanted, 0, -1) if inputs % number == 0)
    return lower if wanted - lower <= higher - wanted else higher
