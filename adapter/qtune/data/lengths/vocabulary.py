"""Whether the tokens that a config adds find room in the model's embedding, which often has rows to spare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from qtune.config.model import model_file
from qtune.data.lengths.tokens import FILE
from qtune.data.registrations import names_in
from qtune.errors import QtuneError
from qtune.files import read_object, read_yaml
from qtune.schema import argument


def outgrows_embedding(train: Mapping[str, Any], root: Path) -> bool:
    """Whether the tokenizer gets more tokens than the embedding has rows, or the model's files are not here.

    train: LLaMA-Factory arguments. The library resizes the embedding in this case alone
    (llamafactory/model/model_utils/embedding.py, resize_embedding_layer).
    """
    config, tokenizer = (_read(name, train, root) for name in ("config.json", FILE))
    text = config.get("text_config")
    rows = (text if isinstance(text, Mapping) else config).get("vocab_size")
    known = _known(tokenizer)
    return not isinstance(rows, int) or not known or len(known.union(_added(train, root))) > rows


def _read(name: str, train: Mapping[str, Any], root: Path) -> Mapping[str, Any]:
    file = model_file(name, train, root)
    return {} if file is None else read_object(file)


def _known(tokenizer: Mapping[str, Any]) -> set[str]:
    """The tokens of a tokenizer.json: of its model, a mapping or pairs by its kind, and those added since."""
    model, added = tokenizer.get("model"), tokenizer.get("added_tokens")
    vocabulary = model.get("vocab") if isinstance(model, Mapping) else None
    if isinstance(vocabulary, list):
        vocabulary = [pair[0] for pair in vocabulary]
    return {*(vocabulary or ()), *(token["content"] for token in added or ())}


def _added(train: Mapping[str, Any], root: Path) -> Iterable[str]:
    special = names_in(train.get("add_special_tokens"))
    if described := argument(train, "new_special_tokens_config"):
        with suppress(QtuneError, OSError, TypeError):  # a broken file is a finding of its own
            special = [*read_yaml(root / described, described).data]
    return [*names_in(train.get("add_tokens")), *special]
