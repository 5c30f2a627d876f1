"""A model's configs in the words of transformers 4 beside those of transformers 5, which reads both alike.

What transformers 5.5 writes, 4.57 does not read: a `rope_theta` inside `rope_parameters` is 10000 to it
without a word, a list of `extra_special_tokens` and the class TokenizersBackend are errors. Converters and
servers that are built on it, or have their own reader of config.json, do the same. Sources: transformers
5.5.4, modeling_rope_utils.py (RotaryEmbeddingConfigMixin), tokenization_utils_base.py (save_pretrained,
_from_pretrained), processing_utils.py; 4.57.6, models/*/configuration_*.py and tokenization_utils_base.py.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qtune.config.model import model_file
from qtune.files import read_object, write_atomic
from qtune.use.exporting.embeddings import differ

_TOKENIZER = "tokenizer_config.json"
_SENTENCEPIECE = "tokenizer.model"

# These take at the top what scales their full attention; others with parameters by layer would lose those.
_SCALED_BY_LAYER = ("gemma3", "gemma3_text", "gemma3n", "gemma3n_text")
_PHI = ("phi3", "phi4_multimodal")  # they refuse a `rope_scaling` of more than three keys
_ROPE = {"rope_theta": "rope_theta", "partial_rotary_factor": "partial_rotary_factor"}
_OWN_ROPE = {"gpt_neox": {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"}}
# transformers 5 takes them from the base's file, and leaves them out of its own.
_LEFT_OUT = ("add_bos_token", "add_eos_token")
_PROCESSORS = {
    "image_processor": "preprocessor_config.json",
    "feature_extractor": "preprocessor_config.json",
    "video_processor": "video_preprocessor_config.json",
}


def make_readable(directory: Path, train: Mapping[str, Any], root: Path) -> None:
    """Write the older words into the configs of the model or adapter in `directory`.

    train: the arguments of its training, which name the base model; root: the project's. Raises OSError, and
    QtuneError for weights that are broken.
    """
    if config := read_object(directory / "config.json"):
        _write(directory / "config.json", older_config(config, untied=differ(directory)))
        _keep_sentencepiece(directory, train, root)
    if tokenizer := read_object(directory / _TOKENIZER):
        file = model_file(_TOKENIZER, train, root)
        made = older_tokenizer(tokenizer, read_object(file) if file is not None else {})
        _write(directory / _TOKENIZER, made)
        if isinstance(made.get("extra_special_tokens"), dict) and "additional_special_tokens" in made:
            # transformers 5 takes one of the two from one file
            listed = {"additional_special_tokens": made["additional_special_tokens"]}
            _write(directory / "special_tokens_map.json", listed)
    whole = read_object(directory / "processor_config.json")
    for part, name in _PROCESSORS.items():
        if isinstance(whole.get(part), dict) and not (directory / name).exists():
            _write(directory / name, {"processor_class": whole.get("processor_class"), **whole[part]})


def _keep_sentencepiece(directory: Path, train: Mapping[str, Any], root: Path) -> None:
    """Copy the base's tokenizer.model, which converters want for Gemma and Llama 2, if no token was added."""
    vocabulary, spoken = (model_file(name, train, root) for name in (_SENTENCEPIECE, "tokenizer.json"))
    if vocabulary is None or spoken is None or (directory / _SENTENCEPIECE).exists():
        return
    if _added(spoken) == _added(directory / "tokenizer.json"):
        shutil.copyfile(vocabulary, directory / _SENTENCEPIECE)


def _added(file: Path) -> set[str]:
    """The tokens beyond the vocabulary, of a tokenizer.json."""
    return {str(token.get("content")) for token in read_object(file).get("added_tokens") or []}


def older_config(config: Mapping[str, Any], *, untied: bool = False) -> dict[str, Any]:
    """A config.json with the older names too, also of the models inside it.

    untied: the embeddings are two matrices, whatever it says of them: transformers 4 believes the config.
    """
    made = dict(config)
    if untied:
        made["tie_word_embeddings"] = False
    for name, value in config.items():
        if isinstance(value, dict) and "model_type" in value:
            made[name] = older_config(value)
    if isinstance(text := made.get("text_config"), dict) and "tie_word_embeddings" in made:
        # where transformers 4 looks
        made["text_config"] = {**text, "tie_word_embeddings": made["tie_word_embeddings"]}
    if "dtype" in config:
        made["torch_dtype"] = config["dtype"]
    if "num_local_experts" in config:  # Qwen3 MoE's word since transformers 5
        made.setdefault("num_experts", config["num_local_experts"])
    return made | _older_rope(config)


def _older_rope(config: Mapping[str, Any]) -> dict[str, Any]:
    parameters, model_type = config.get("rope_parameters"), config.get("model_type")
    if not isinstance(parameters, dict):
        return {}
    whole = parameters.get("full_attention", parameters)
    nested = whole is not parameters
    names = _OWN_ROPE.get(str(model_type), _ROPE)
    made = {older: whole[name] for name, older in names.items() if name in whole}
    if nested and "rope_theta" in (sliding := parameters.get("sliding_attention", {})):
        made["rope_local_base_freq"] = sliding["rope_theta"]
    scaling = {name: value for name, value in whole.items() if name not in names}
    if scaling.get("rope_type") == "longrope" and model_type in _PHI:
        scaling = {"type": "longrope", **{name: scaling[name] for name in ("short_factor", "long_factor")}}
    elif "rope_type" in scaling:
        scaling["type"] = scaling["rope_type"]  # the word before it, which ollama reads of Qwen2
    if scaling.keys() - {"rope_type", "type"} and (not nested or model_type in _SCALED_BY_LAYER):
        made["rope_scaling"] = scaling
    return made


def older_tokenizer(config: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """A tokenizer_config.json in names that both read; base: that of the model it was made of."""
    made = {**{name: base[name] for name in _LEFT_OUT if name in base}, **config}
    if made.get("tokenizer_class") == "TokenizersBackend":
        made["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(made.get("extra_special_tokens"), list):
        made["additional_special_tokens"] = made.pop("extra_special_tokens")
    if named := made.get("model_specific_special_tokens"):
        made["extra_special_tokens"] = named
    return made


def _write(file: Path, content: Mapping[str, Any]) -> None:
    write_atomic(file, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
