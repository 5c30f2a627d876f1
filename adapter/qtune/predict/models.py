"""The shapes of the model that a config names: from its files, else from the built-in table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qtune.config.model import local_model
from qtune.errors import QtuneError
from qtune.predict.families import DEFAULTS, FAMILIES, sizes
from qtune.predict.fields import Fields
from qtune.predict.shapes import Linear, Model, Module, Tensor

__all__ = ["Linear", "Model", "Module", "Tensor", "from_config", "load"]


def load(name: str, root: Path) -> Model:
    """The model `name` of a project at `root`: a directory, or a hub's id in a cache or the table."""
    directory = local_model(name, root)
    if directory is None:
        raise QtuneError(
            f"nothing tells the shapes of {name!r}", where="model_name_or_path", fix="download it"
        )
    file = directory / "config.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise QtuneError(
            f"cannot be read: {error}", where=str(file), fix="download the model again"
        ) from error
    return from_config(name, content, source=str(file))


def from_config(name: str, content: Mapping[str, Any], *, source: str) -> Model:
    """The model that a config.json's content describes."""
    model_type = content.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise QtuneError(f"model_type {model_type!r} is not known", where=source, fix="use a known one")
    config = Fields(content, source, DEFAULTS[model_type])
    of = sizes(config)
    dtype = content.get("dtype") or content.get("torch_dtype")
    quantization = content.get("quantization_config")
    return Model(
        name=name,
        source=source,
        model_type=model_type,
        modules=FAMILIES[model_type](config, of),
        hidden_size=of.hidden,
        intermediate_size=of.intermediate,
        num_hidden_layers=of.layers,
        num_attention_heads=of.heads,
        num_key_value_heads=of.key_value_heads,
        head_dim=of.head_dim,
        vocab_size=of.vocabulary,
        max_position_embeddings=config.maybe("max_position_embeddings") or 0,
        tie_word_embeddings=of.tied,
        num_experts=config.maybe("num_experts") or config.maybe("num_local_experts") or 0,
        num_experts_per_tok=config.maybe("num_experts_per_tok") or 0,
        moe_intermediate_size=config.maybe("moe_intermediate_size") or 0,
        dtype=dtype if isinstance(dtype, str) else None,
        quantization=quantization.get("quant_method") if isinstance(quantization, Mapping) else None,
    )
