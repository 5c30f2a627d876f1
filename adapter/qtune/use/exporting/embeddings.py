"""Whether the embeddings of a stored model are one matrix or two.

Where `add_tokens`, `resize_vocab` or `additional_target` train both, merging leaves two in a model whose
config says one: transformers 5 believes the weights (modeling_utils.py, tie_weights), transformers 4 the
config.
"""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from qtune.predict.models.headers import Stored, read_header

_INPUT = re.compile(r"(^|\.)(embed_tokens|tok_embeddings|word_embeddings|wte|embed_in)\.weight$")
_OUTPUT = re.compile(r"(^|\.)(lm_head|output_layer|embed_out)\.weight$|^output\.weight$")
_CHUNK = 1 << 20  # bytes


def differ(directory: Path) -> bool:
    """Whether two matrices of one shape lie there, for input and output, that are not equal.

    Equal ones are as good as one: both versions tie them, and the second is only waste.
    """
    tensors = [(tensor, file) for file in directory.glob("*.safetensors") for tensor in read_header(file)]
    inputs, outputs = ([one for one in tensors if name.search(one[0].name)] for name in (_INPUT, _OUTPUT))
    return any(
        first[0].shape == second[0].shape and not _equal(*first, *second)
        for first, second in product(inputs, outputs)
    )


def _equal(one: Stored, one_file: Path, other: Stored, other_file: Path) -> bool:
    if one.dtype != other.dtype:
        return False
    with one_file.open("rb") as first, other_file.open("rb") as second:
        first.seek(one.data.start)
        second.seek(other.data.start)
        starts = range(0, len(one.data), _CHUNK)
        lengths = (min(_CHUNK, len(one.data) - start) for start in starts)
        return all(first.read(length) == second.read(length) for length in lengths)
