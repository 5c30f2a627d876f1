"""The local directory of the model that a config names, and what stands in it."""

from __future__ import annotations

from pathlib import Path

from qtune.files import read_object
from qtune.machine.hub import cached_file
from qtune.values import Config


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
    directory = local_model(name, root)
    settings, alone = (
        cached_file(file, name) if directory is None else directory / file
        for file in ("tokenizer_config.json", "chat_template.jinja")
    )
    if settings is None or not settings.is_file():
        return None
    several = (settings.parent / "additional_chat_templates").is_dir()
    if several or (alone is not None and alone.is_file()):
        return not several
    return isinstance(read_object(settings).get("chat_template"), str)


def model_type(config: Config, root: Path) -> str | None:
    """`model_type` of a local model's config.json, None where it cannot be read."""
    name = config.get("train", "model_name_or_path")
    directory = local_model(name, root) if isinstance(name, str) else None
    found = read_object(directory / "config.json").get("model_type") if directory else None
    return found if isinstance(found, str) else None
