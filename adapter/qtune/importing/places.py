"""Relative paths of a config, which start where it ran, as paths that start from the project."""

from __future__ import annotations

from collections.abc import Sequence

from qtune.config.names import few
from qtune.config.project import Project
from qtune.data.adding.register import file_name
from qtune.data.registrations import names_in
from qtune.importing.nowhere import ADAPTERS, MODELS, nowhere
from qtune.importing.original import Original
from qtune.importing.parts import Translation, noted
from qtune.importing.registry import ONLINE, REMOTE, Registry, has_media
from qtune.importing.source import LAYER, ImportedFile
from qtune.values import Origin, Value

_FILES = (
    *("resume_from_checkpoint", "media_dir", "new_special_tokens_config"),
    *("kt_weight_path", "kt_expert_checkpoint_path"),
)
_FILES_OR_JSON = ("accelerator_config", "fsdp_config")
_WRITTEN = ("tokenized_path", "cache_dir")


def settled(part: Translation, read: Original, project: Project) -> Translation:
    """The part with its arguments' paths as the project sees them, and a word on each.

    What could be a path and is nowhere is a warning, but for what a training writes.
    """
    for name in (*MODELS, *ADAPTERS, *_FILES, *_FILES_OR_JSON, *_WRITTEN):
        value = part.values.get(("train", name))
        if value is None or not isinstance(value.value, str) or value.value.startswith("{"):
            continue
        given = names_in(value.value) if name in ADAPTERS else [value.value] if value.value else []
        seen = [(text, _seen(text, read.source, project)) for text in given]
        part += _found(name, seen, value.origin)
        for text in (text for text, there in seen if there is None):
            if name in _WRITTEN:
                message = f"there is no {text} yet: the training makes it in the project's directory"
                part += noted(name, message, value.origin)
            else:
                part += nowhere(name, text, value.origin, read)
    return part


def _found(name: str, seen: Sequence[tuple[str, str | None]], origin: Origin) -> Translation:
    """The argument as the project writes it; seen: each path as given, and as `_seen` has it."""
    found = [(text, there) for text, there in seen if there is not None]
    moved = [f"{text} is {there}" for text, there in found if text != there]
    if moved:
        value = Value(",".join(there or text for text, there in seen), origin)
        return Translation({("train", name): value}) + noted(
            name, f"{few(moved)} from the project's directory", origin
        )
    return noted(name, f"{few([text for text, _ in found])} is there", origin) if found else Translation()


def _seen(text: str, source: ImportedFile, project: Project) -> str | None:
    """The path that `text` means in the original as the project writes it; None where it is nowhere."""
    found = source.find(text)
    if found is None:
        return None
    # a shell has a home directory, the library none
    if not text.startswith("~") and found.resolve() == (project.root / text).resolve():
        return text
    return file_name(found, project, project.root)


def media_dir(part: Translation, read: Original, registry: Registry | None, project: Project) -> Translation:
    """LLaMA-Factory looks for media in dataset_dir where nothing else is said, and qtune moves that one.

    Source: llamafactory/hparams/data_args.py, __post_init__.
    """
    given = read.keys.get("dataset_dir", Value("data", Origin(LAYER, read.source.display)))
    if part.train("media_dir") is not None or str(given.value).startswith((ONLINE, REMOTE)):
        return Translation()
    if registry is None:
        return Translation({("train", "media_dir"): given})
    directory = file_name(registry.directory, project, project.root)
    there = Translation({("train", "media_dir"): Value(directory, given.origin)})
    if any(map(has_media, part.datasets.values())):
        there += noted("media_dir", f"{directory}, where {registry.display} lies", given.origin)
    return there
