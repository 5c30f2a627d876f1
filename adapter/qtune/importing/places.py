"""Relative paths of a config, which start where it ran, as paths that start from the project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qtune.config.project import Project
from qtune.data.adding.register import file_name
from qtune.data.registrations import names_in
from qtune.importing.datasets import is_hub
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.source import LAYER, ImportedFile
from qtune.values import DATASETS, Origin, Value

_LISTS = ("adapter_name_or_path", "ref_model_adapters", "reward_model_adapters")
_MODELS = ("model_name_or_path", "ref_model", "reward_model")
_FILES = ("resume_from_checkpoint", "media_dir", "new_special_tokens_config")
_FILES_OR_JSON = ("accelerator_config", "fsdp_config")
_WRITTEN = ("tokenized_path",)


def settled(part: Translation, source: ImportedFile, project: Project) -> Translation:
    """The part with its arguments' paths as the project sees them, and a word on each that is another now.

    What could be a path and is nowhere is a warning, but for what a training writes.
    """
    for name in (*_MODELS, *_LISTS, *_FILES, *_FILES_OR_JSON, *_WRITTEN):
        value = part.values.get(("train", name))
        if value is None or not isinstance(value.value, str) or value.value.startswith("{"):
            continue
        given = names_in(value.value) if name in _LISTS else [value.value] if value.value else []
        seen = [_seen(text, source, project) for text in given]
        moved = ",".join(there or text for there, text in zip(seen, given, strict=True))
        if moved != ",".join(given):
            part += Translation({("train", name): Value(moved, value.origin)})
            part += noted(name, f"{value.value} is {moved} from the project's directory", value.origin)
        for text, there in zip(given, seen, strict=True):
            if there is None and name not in _WRITTEN:
                part += _nowhere(name, text, value.origin)
    return part


def _seen(text: str, source: ImportedFile, project: Project) -> str | None:
    """The path that `text` means in the original as the project writes it; None where it is nowhere."""
    found = source.find(text)
    if found is None:
        return None
    # a shell has a home directory, the library none
    if not text.startswith("~") and found.resolve() == (project.root / text).resolve():
        return text
    return file_name(found, project, project.root)


def _nowhere(name: str, text: str, origin: Origin) -> Translation:
    """What to say of a path that is not there: nothing of what is a hub's id by its form."""
    is_path = text.startswith((".", "/", "~")) or len(Path(text).parts) > 2
    if name in _MODELS and not is_path:
        return Translation()
    if name in _LISTS and not is_path:
        return noted(name, f"{text} is nowhere here, so that it is taken for a hub's id", origin)
    fix = "put it where the project's directory has it, or correct it in the preset"
    return warned(name, f"there is no {text} from here, nor from where the original lies", fix, origin)


def media_dir(keys: Mapping[str, Value], source: ImportedFile, project: Project) -> Translation:
    """LLaMA-Factory looks for media in dataset_dir where nothing else is said, and qtune moves that one.

    Source: llamafactory/hparams/data_args.py, __post_init__.
    """
    if any(key in keys and keys[key].value is not None for key in ("media_dir", "image_dir")):
        return Translation()
    value = keys.get("dataset_dir", Value("data", Origin(LAYER)))
    if is_hub(value.value):
        return Translation()
    info = source.find(f"{value.value}/{DATASETS}")
    if info is not None:
        value = Value(file_name(info.parent, project, project.root), value.origin)
    return Translation({("train", "media_dir"): value})
