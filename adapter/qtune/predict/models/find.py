"""The shapes of the model that a config names: from its files, else from the built-in table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qtune.config.model import local_model
from qtune.errors import QtuneError
from qtune.machine.hub import cached_file
from qtune.predict.models import catalogue
from qtune.predict.models.checkpoint_names import modules_of
from qtune.predict.models.decoder import Sizes
from qtune.predict.models.families import defaults, family_of
from qtune.predict.models.fields import Fields
from qtune.predict.models.headers import read_directory, read_json
from qtune.predict.models.shapes import Model, Module
from qtune.schema import argument

__all__ = ["Model", "from_config", "load", "load_named"]

_WHERE = "model_name_or_path"


def load_named(train: Mapping[str, Any], root: Path) -> Model:
    """The model that LLaMA-Factory's arguments name; raises QtuneError as `load`, and where none is named."""
    name = train.get("model_name_or_path")
    if not isinstance(name, str):
        fix = "-m NAME, or model_name_or_path under `train:` in qtune.yaml"
        raise QtuneError("no model is named", fix=fix)
    return load(name, root, revision=argument(train, "model_revision"), cache_dir=train.get("cache_dir"))


def load(name: str, root: Path, *, revision: str = "main", cache_dir: str | None = None) -> Model:
    """The model `name` of a project at `root`: a directory, or a hub's id in a cache or in the table.

    revision, cache_dir: LLaMA-Factory's model_revision and cache_dir. Reads no network and no weights;
    raises QtuneError where nothing tells the shapes.
    """
    if (directory := local_model(name, root)) is not None:
        return _from_directory(name, directory)
    if (file := cached_file("config.json", name, revision, cache_dir)) is not None:
        return _from_directory(name, file.parent)
    entry = catalogue.find(name)
    if entry is None:
        near = catalogue.near(name)
        meant = f"did you mean `{near}`? Else " if near else ""
        raise QtuneError(
            f"the shapes of {name!r} are not known: it is in no cache here and not in the built-in table",
            where=_WHERE,
            fix=f"{meant}download the model first, or name a directory that holds its config.json",
        )
    config = dict(entry.config)
    if entry.quantization:
        config["quantization_config"] = {"quant_method": entry.quantization, "bits": entry.bits}
    return from_config(name, config, source=f"the built-in table, {entry.id}")


def from_config(name: str, content: Mapping[str, Any], *, source: str) -> Model:
    """The model that a config.json's content describes; its model_type has to be a known one."""
    model_type = _model_type(content, source)
    family = family_of(content)
    if family is None:
        raise QtuneError(
            f"model_type {model_type!r} is not known, and there is no model.safetensors to read shapes from",
            where=source,
            fix="download the whole model in safetensors format",
        )
    config = Fields(content, source, defaults().get(model_type, {}))
    sizes = family.sizes(config)
    return _model(name, source, model_type, content, family.modules(config, sizes), sizes)


def _from_directory(name: str, directory: Path) -> Model:
    file = directory / "config.json"
    if not file.is_file():
        raise QtuneError(
            "there is no such model directory" if not directory.is_dir() else "the model has no config.json",
            where=str(file),
            fix=f"correct {_WHERE}",
        )
    content = read_json(file)
    model_type = _model_type(content, str(file))
    if family_of(content) is not None or (stored := read_directory(directory)) is None:
        return from_config(name, content, source=str(file))
    tied = bool(content.get("tie_word_embeddings"))
    modules = modules_of(stored, tied=tied, where=str(directory))
    source = f"the headers of the weights in {directory}"
    return _model(name, source, model_type, content, modules, _told_sizes(content, modules), exact=False)


def _model_type(content: Mapping[str, Any], where: str) -> str:
    found = content.get("model_type")
    if not isinstance(found, str):
        raise QtuneError("`model_type` is missing", where=where, fix="download the model's files again")
    return found


def _model(
    name: str,
    source: str,
    model_type: str,
    content: Mapping[str, Any],
    modules: tuple[Module, ...],
    sizes: Sizes,
    *,
    exact: bool = True,
) -> Model:
    text = content.get("text_config")
    inner = text if isinstance(text, Mapping) else {}

    def said(*names: str) -> Any:
        """The first of the names that the config gives, for the whole model or for its language model."""
        return next((block[key] for key in names for block in (content, inner) if block.get(key)), None)

    def count(*names: str) -> int:
        found = said(*names)
        return found if isinstance(found, int) else 0

    quantization = said("quantization_config")
    quantized = quantization if isinstance(quantization, Mapping) else {}
    method, dtype = quantized.get("quant_method"), said("dtype", "torch_dtype")
    return Model(
        name=name,
        source=source,
        model_type=model_type,
        modules=modules,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.intermediate,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.key_value_heads,
        head_dim=sizes.head_dim,
        vocab_size=sizes.vocabulary,
        max_position_embeddings=count("max_position_embeddings", "seq_length"),
        tie_word_embeddings=sizes.tied,
        num_experts=count("num_experts", "num_local_experts", "n_routed_experts"),
        num_experts_per_tok=count("num_experts_per_tok"),
        moe_intermediate_size=count("moe_intermediate_size"),
        dtype=dtype if isinstance(dtype, str) else None,
        quantization=(method if isinstance(method, str) else "unknown") if quantized else None,
        quantization_bits=_bits(quantized),
        exact=exact,
    )


def _bits(quantized: Mapping[str, Any]) -> int | None:
    """transformers/utils/quantization_config.py: `bits` of GPTQ and AWQ, two flags of bitsandbytes."""
    if quantized.get("load_in_4bit"):
        return 4
    if quantized.get("load_in_8bit") or quantized.get("quant_method") == "fp8":
        return 8
    bits = quantized.get("bits", quantized.get("w_bit"))
    return bits if isinstance(bits, int) else None


def _told_sizes(content: Mapping[str, Any], modules: tuple[Module, ...]) -> Sizes:
    """The widths that a config of an unknown model_type gives under the usual names, 0 for the rest."""
    text = content.get("text_config")
    values = {**content, **text} if isinstance(text, Mapping) else content

    def count(*names: str) -> int:
        found = next((values[name] for name in names if isinstance(values.get(name), int)), 0)
        return max(int(found), 0)

    heads = count("num_attention_heads", "n_head", "num_heads")
    hidden = count("hidden_size", "n_embd", "d_model")
    tables = [module.weights[0][1] for module in modules if module.kind == "embedding"]
    return Sizes(
        hidden,
        count("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim") or 4 * hidden,
        count("num_hidden_layers", "num_layers", "n_layer"),
        heads,
        count("num_key_value_heads", "multi_query_group_num") or heads,
        count("head_dim", "kv_channels") or (hidden // heads if heads else 0),
        count("vocab_size", "padded_vocab_size") or max((shape[0] for shape in tables), default=0),
        any(module.tied for module in modules) or bool(values.get("tie_word_embeddings", False)),
    )
