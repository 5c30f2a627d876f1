"""The shapes of the model that a config names: from its files, else from the built-in table.

Of a model_type without a family they are what the library builds of config.json, where somebody asks it
(`Build`), else what the weights' headers tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune.config.model import local_model
from qtune.errors import QtuneError
from qtune.machine.hub import cached_file
from qtune.predict.models import catalogue
from qtune.predict.models.checkpoint_names import modules_of
from qtune.predict.models.decoder import Sizes
from qtune.predict.models.defaults import defaults
from qtune.predict.models.families import family_of
from qtune.predict.models.fields import Fields
from qtune.predict.models.headers import read_directory, read_json
from qtune.predict.models.shapes import Model, Module
from qtune.schema import argument
from qtune.schema.architectures import architecture
from qtune.schema.library import model_types

__all__ = ["Build", "Built", "Model", "from_config", "load", "load_named"]

_WHERE = "model_name_or_path"


@dataclass(frozen=True)
class Built:
    """A model as the library builds it. numbers: of its language model's config, defaults included."""

    modules: tuple[Module, ...]
    numbers: Mapping[str, int | list[int]]


Build = Callable[[Mapping[str, Any]], Built | None]
"""Builds a model of config.json's content; None where there is no library, QtuneError where it cannot."""


def _nobody(content: Mapping[str, Any]) -> None:
    return None


def load_named(train: Mapping[str, Any], root: Path, build: Build = _nobody) -> Model:
    """The model that LLaMA-Factory's arguments name; raises QtuneError as `load`, and where none is named."""
    name = train.get("model_name_or_path")
    if not isinstance(name, str):
        fix = "-m NAME, or model_name_or_path under `train:` in qtune.yaml"
        raise QtuneError("no model is named", fix=fix)
    revision, cache_dir = argument(train, "model_revision"), train.get("cache_dir")
    return load(name, root, revision=revision, cache_dir=cache_dir, build=build)


def load(
    name: str, root: Path, *, revision: str = "main", cache_dir: str | None = None, build: Build = _nobody
) -> Model:
    """The model `name` of a project at `root`: a directory, or a hub's id in a cache or in the table.

    revision, cache_dir: LLaMA-Factory's model_revision and cache_dir; build: asked for a model_type that has
    no family here. Reads no network and no weights; raises QtuneError where nothing tells the shapes.
    """
    if (directory := local_model(name, root)) is not None:
        return _from_directory(name, directory, build)
    if (file := cached_file("config.json", name, revision, cache_dir)) is not None:
        return _from_directory(name, file.parent, build)
    entry = catalogue.find(name)
    if entry is None:
        near = catalogue.near(name)
        meant = f"did you mean `{near}`? Else " if near else ""
        enough = f"its config.json is enough: `hf download {name} config.json`, or a directory that has one"
        raise QtuneError(
            f"the shapes of {name!r} are not known: it is in no cache here and not in the built-in table",
            where=_WHERE,
            fix=meant + enough,
        )
    config = dict(entry.config)
    if entry.quantization:
        config["quantization_config"] = {"quant_method": entry.quantization, "bits": entry.bits}
    return from_config(name, config, source=f"the built-in table, {entry.id}")


def from_config(name: str, content: Mapping[str, Any], *, source: str) -> Model:
    """The model that a config.json's content describes; its model_type has to have a family."""
    model_type = _model_type(content, source)
    family = family_of(content)
    if family is None:
        raise _untold(model_type, source)
    config = Fields(content, source, defaults().get(model_type, {}))
    sizes = family.sizes(config)
    return _model(name, source, model_type, config, family.modules(config, sizes), sizes)


def _untold(model_type: str, where: str) -> QtuneError:
    whole = "download the whole model in safetensors format"
    without = "and there is no model.safetensors to read shapes from"
    if model_type not in model_types():
        return QtuneError(f"model_type {model_type!r} is not known, {without}", where=where, fix=whole)
    return QtuneError(
        f"only transformers knows how {model_type!r} is built, it is not installed here, {without}",
        where=where,
        fix=f"install the training stack: pip install 'qtune[train]', or {whole}",
    )


def _from_directory(name: str, directory: Path, build: Build) -> Model:
    file = directory / "config.json"
    if not file.is_file():
        raise QtuneError(
            "there is no such model directory" if not directory.is_dir() else "the model has no config.json",
            where=str(file),
            fix=f"correct {_WHERE}",
        )
    content, where = read_json(file), str(file)
    model_type = _model_type(content, where)
    if family_of(content) is not None:
        return from_config(name, content, source=where)
    problem = _untold(model_type, where)
    if model_type in model_types():
        told = Fields(_told(content), where, {})
        for name_of_layers in ("num_hidden_layers", "num_layers", "n_layer"):
            if isinstance(told.get(name_of_layers), int):
                told.layers(name_of_layers)  # each would be built
        try:
            if (built := build(content)) is not None:
                config = Fields({**told.values, **built.numbers}, where, {})
                sizes = _told_sizes(config.values, built.modules)
                return _model(name, where, model_type, config, built.modules, sizes)
        except QtuneError as error:
            problem = QtuneError(error.what, where=where, fix=error.fix)
    if (stored := read_directory(directory)) is None:
        raise problem
    tied, found = content.get("tie_word_embeddings"), architecture(model_type)
    modules = modules_of(
        stored, tied=None if tied is None else bool(tied), where=str(directory), architecture=found
    )
    config, source = Fields(_told(content), where, {}), f"the headers of the weights in {directory}"
    sizes = _told_sizes(config.values, modules)
    return _model(name, source, model_type, config, modules, sizes, exact=found is not None)


def _model_type(content: Mapping[str, Any], where: str) -> str:
    found = content.get("model_type")
    if not isinstance(found, str):
        raise QtuneError("`model_type` is missing", where=where, fix="download the model's files again")
    return found


def _model(
    name: str,
    source: str,
    model_type: str,
    config: Fields,
    modules: tuple[Module, ...],
    sizes: Sizes,
    *,
    exact: bool = True,
) -> Model:
    blocks = (config, config.block("text_config"))  # the whole model's, and its language model's

    def said(*names: str) -> Any:
        return next((block.get(key) for key in names for block in blocks if block.get(key)), None)

    def count(*names: str) -> int:
        found = said(*names)
        if isinstance(found, list):  # one for each layer, or for each kind of experts
            found = max((each for each in found if isinstance(each, int)), default=0)
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
        num_experts=count("num_experts"),
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


def _told(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config with its language model's values beside its own."""
    text = content.get("text_config")
    return {**content, **text} if isinstance(text, Mapping) else content


def _told_sizes(values: Mapping[str, Any], modules: tuple[Module, ...]) -> Sizes:
    """The widths that a config gives under the usual names, 0 for the rest."""

    def count(*names: str) -> int:
        found = next((values[name] for name in names if isinstance(values.get(name), int)), 0)
        return max(int(found), 0)

    heads = count("num_attention_heads", "n_head", "num_heads")
    hidden = count("hidden_size", "n_embd", "d_model")
    tables = [module.weights[0][1] for module in modules if module.kind == "embedding"]
    plain = count("qk_nope_head_dim")  # latent attention: heads of a part that is rotated and one that is not
    return Sizes(
        hidden,
        count("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim") or 4 * hidden,
        count("num_hidden_layers", "num_layers", "n_layer"),
        heads,
        count("num_key_value_heads", "multi_query_group_num") or heads,
        (plain + count("qk_rope_head_dim") if plain else count("head_dim", "kv_channels"))
        or (hidden // heads if heads else 0),
        count("vocab_size", "padded_vocab_size") or max((shape[0] for shape in tables), default=0),
        any(module.tied for module in modules) or bool(values.get("tie_word_embeddings", False)),
    )
