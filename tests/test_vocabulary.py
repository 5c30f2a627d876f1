"""Tokens that a config adds, against the rows of the model's embedding.

Measured with llamafactory 0.9.5: QLoRA with `add_tokens` trains where the embedding has rows to spare, and
stops with "Cannot resize embedding layers of a quantized model" where it has none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from trees import write_tree

from qtune.data.lengths.vocabulary import outgrows_embedding

WORDS = {"a": 0, "b": 1}
ADDED = [{"id": 2, "content": "<end>"}]


def outgrows(root: Path, rows: int, vocabulary: Any = WORDS, **train: Any) -> bool:
    tree = {
        "model/config.json": {"model_type": "qwen2", "vocab_size": rows},
        "model/tokenizer.json": {"model": {"vocab": vocabulary}, "added_tokens": ADDED},
        "tokens.yaml": "<x>: a\n<y>: b\n",
    }
    write_tree(root, tree)
    return outgrows_embedding({"model_name_or_path": "model", **train}, root)


@pytest.mark.parametrize("vocabulary", [WORDS, [["a", 0.0], ["b", -1.0]]])
@pytest.mark.parametrize(
    ("train", "needed"),
    [
        ({"add_tokens": "<x>, <y>"}, 5),
        ({"add_tokens": "<x>", "add_special_tokens": "<x>,<y>,<z>"}, 6),
        ({"add_tokens": "a,<end>"}, 3),
        ({"new_special_tokens_config": "tokens.yaml", "add_special_tokens": "<z>"}, 5),
        ({"resize_vocab": True}, 3),
    ],
)
def test_rows_to_spare_take_new_tokens(
    tmp_path: Path, train: dict[str, Any], needed: int, vocabulary: Any
) -> None:
    assert not outgrows(tmp_path, needed, vocabulary, **train)
    assert outgrows(tmp_path, needed - 1, vocabulary, **train)


def test_what_is_not_here_is_taken_for_full(tmp_path: Path) -> None:
    assert outgrows_embedding({"model_name_or_path": "Qwen/Qwen3-8B", "add_tokens": "<x>"}, tmp_path)
    text = {"model_type": "qwen3_5", "text_config": {"vocab_size": 9}}
    assert not outgrows(tmp_path, 9, add_tokens="<x>")
    (tmp_path / "model" / "config.json").write_text(json.dumps(text), encoding="utf-8")
    assert not outgrows_embedding({"model_name_or_path": "model", "add_tokens": "<x>"}, tmp_path)
    (tmp_path / "model" / "tokenizer.json").unlink()
    assert outgrows_embedding({"model_name_or_path": "model", "add_tokens": "<x>"}, tmp_path)
