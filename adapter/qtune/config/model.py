"""The directory of the model that a config names, here or in the hub's cache, and what stands in it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from qtune.files import read_object
from qtune.values import Config

_TOKENIZER = "tokenizer_config.json"


def local_model(name: str, root: Path) -> Path | None:
    """The directory that `name` means, None where it can only be a hub's id.

    `data/tiny-qwen2` could be either: it is a directory where its first part is one in the project.
    """
    path = root / Path(name)
    with suppress(RuntimeError):  # no such user
        path = root / Path(name).expanduser()
    parts = Path(name).parts
    looks_local = name.startswith((".", "/", "~")) or len(parts) > 2
    if path.exists() or looks_local or (len(parts) == 2 and (root / parts[0]).is_dir()):
        return path
    return None


def model_file(name: str, train: Mapping[str, Any], root: Path) -> Path | None:
    """A file of the model that a config trains; None where it has none, or was never downloaded."""
    model = train.get("model_name_or_path")
    if not isinstance(model, str):
        return None
    if (directory := local_model(model, root)) is not None:
        return directory / name if (directory / name).is_file() else None
    from qtune.machine.hub import cached_file  # only for what is not a directory

    return cached_file(name, model, train.get("model_revision") or "main", train.get("cache_dir"))


def has_chat_template(train: Mapping[str, Any], root: Path) -> bool | None:
    """Whether the tokenizer of a model has one chat template; None where the tokenizer is not here.

    Of several LLaMA-Factory takes none (data/template.py, get_template_and_fix_tokenizer).
    Source: transformers/tokenization_utils_base.py, PreTrainedTokenizerBase._from_pretrained.
    """
    settings = model_file(_TOKENIZER, train, root)
    if settings is None:
        return None
    several = (settings.parent / "additional_chat_templates").is_dir()
    alone = model_file("chat_template.jinja", train, root)
    return not several and (alone is not None or isinstance(read_object(settings).get("chat_template"), str))


def text_ends(train: Mapping[str, Any], root: Path) -> tuple[str, ...]:
    """What the tokenizer of a model writes before, after and behind a text; empty where it is not here."""
    path = model_file(_TOKENIZER, train, root)
    named = {} if path is None else special_tokens(tokenizer_settings(path.parent))
    found = (named.get(name) for name in ("bos_token", "eos_token", "pad_token"))
    return tuple(dict.fromkeys(text for text in found if text))


def tokenizer_settings(directory: Path) -> dict[str, Any]:
    """What the files of a model say about its tokenizer, empty where they say nothing."""
    older = read_object(directory / "special_tokens_map.json")
    return {**older, **read_object(directory / _TOKENIZER)}


def special_tokens(settings: Mapping[str, Any]) -> dict[str, str]:
    """The text of each special token that has a name, such as `bos_token`."""
    found = {key: _token(value) for key, value in settings.items() if key.endswith("_token")}
    return {name: token for name, token in found.items() if token}


def _token(value: Any) -> str:
    """The text of a special token, which is written as text or as an object."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else ""


def model_type(config: Config, root: Path) -> str | None:
    """`model_type` of a local model's config.json, None where it cannot be read."""
    name = config.get("train", "model_name_or_path")
    directory = local_model(name, root) if isinstance(name, str) else None
    found = read_object(directory / "config.json").get("model_type") if directory else None
    return found if isinstance(found, str) else None
