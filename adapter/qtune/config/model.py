"""The local directory of the model that a config names, and what stands in it."""

from __future__ import annotations

from pathlib import Path

from qtune.files import read_object
from qtune.machine.hub import cached_file
from qtune.values import Config

_TOKENIZER = "tokenizer_config.json"


def local_model(name: str, root: Path) -> Path | None:
    """The directory that `name` means, None where it can only be a hub's id.

    `data/tiny-qwen2` could be either: it is a directory where its first part is one in the project.
    """
    path = root / Path(name).expanduser()
    parts = Path(name).parts
    looks_local = name.startswith((".", "/", "~")) or len(parts) > 2
    if path.exists() or looks_local or (len(parts) == 2 and (root / parts[0]).is_dir()):
        return path
    return None


def has_chat_template(name: str, root: Path) -> bool | None:
    """Whether the tokenizer of a model has one chat template; None where the tokenizer is not here.

    Of several LLaMA-Factory takes none (data/template.py, get_template_and_fix_tokenizer).
    Source: transformers/tokenization_utils_base.py, PreTrainedTokenizerBase._from_pretrained.
    """
    settings, alone = (_file(name, root, file) for file in (_TOKENIZER, "chat_template.jinja"))
    if settings is None:
        return None
    several = (settings.parent / "additional_chat_templates").is_dir()
    return not several and (alone is not None or isinstance(read_object(settings).get("chat_template"), str))


def text_ends(name: str, root: Path) -> tuple[str, ...]:
    """What the tokenizer of a model writes before, after and behind a text; empty where it is not here."""
    path = _file(name, root, _TOKENIZER)
    settings = {} if path is None else read_object(path)
    tokens = [settings.get(key) for key in ("bos_token", "eos_token", "pad_token")]
    texts = [token.get("content") if isinstance(token, dict) else token for token in tokens]
    return tuple(dict.fromkeys(text for text in texts if text and isinstance(text, str)))


def _file(name: str, root: Path, file: str) -> Path | None:
    """A file of a model, in its directory or in a hub's cache."""
    directory = local_model(name, root)
    path = cached_file(file, name) if directory is None else directory / file
    return path if path is not None and path.is_file() else None


def model_type(config: Config, root: Path) -> str | None:
    """`model_type` of a local model's config.json, None where it cannot be read."""
    name = config.get("train", "model_name_or_path")
    directory = local_model(name, root) if isinstance(name, str) else None
    found = read_object(directory / "config.json").get("model_type") if directory else None
    return found if isinstance(found, str) else None
