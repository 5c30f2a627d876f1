"""Which arguments make a model's vocabulary larger, whose embeddings the library then trains whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.schema import argument

TOKENS = ("add_tokens", "add_special_tokens", "new_special_tokens_config")
"""Each switches `resize_vocab` on (llamafactory/model/patcher.py, patch_tokenizer)."""


def resizes_vocabulary(train: Mapping[str, Any]) -> bool:
    """Whether a training with these LLaMA-Factory arguments resizes the embeddings.

    A token that the vocabulary has already adds nothing, which only the model's own tokenizer tells.
    """
    return any(argument(train, name) for name in ("resize_vocab", *TOKENS))
