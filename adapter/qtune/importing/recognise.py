"""What a file is, by its content, whatever it is called."""

from __future__ import annotations

from qtune.config.aliases import aliases
from qtune.config.kl import KL_BETA
from qtune.config.presets import KEYS as PRESET_KEYS
from qtune.config.project import Project
from qtune.config.renames import renamed
from qtune.errors import QtuneError
from qtune.importing import board, other_uses, outputs
from qtune.importing.accelerate import settings as accelerate
from qtune.importing.deepspeed import zero
from qtune.importing.deepspeed.file import DeepSpeedFile
from qtune.importing.embedded import recognise as embedded
from qtune.importing.original import Original, Recogniser
from qtune.importing.parts import Translation
from qtune.importing.scripts import commands, other_commands
from qtune.importing.source import ImportedFile, not_a_config
from qtune.importing.toolkits import nested
from qtune.importing.toolkits import recognise as toolkits
from qtune.schema import arguments

_MODEL = "model_name_or_path"
# With a model and one of these a config is a whole one.
_SIGNATURE = (
    *("stage", "finetuning_type", "template", "prompt_template", "dataset", "dataset_dir"),
    *("do_train", "lora_target", "cutoff_len"),
)
_DEEPSPEED = ("zero_optimization", "train_micro_batch_size_per_gpu", "train_batch_size")


def recognise(source: ImportedFile, project: Project) -> Original:
    """The file as the first of the kinds below that it is.

    Raises QtuneError where it is none of them, or trains nothing.
    """
    for kind in _KINDS:
        original = kind(source, project)
        if original is not None:
            other_uses.require_training(original)
            return original
    raise not_a_config(source)


def _preset(source: ImportedFile, project: Project) -> None:
    keys = source.keys or {}
    if "train" in keys and set(keys) <= set(PRESET_KEYS):
        fix = "put it into one of the project's preset directories as it is"
        raise QtuneError("is a qtune preset already", where=source.display, fix=fix)


def _llamafactory(source: ImportedFile, project: Project) -> Original | None:
    keys = source.keys or {}
    if _MODEL in keys and any(key in keys for key in _SIGNATURE) and not nested.has_its_own(keys):
        return Original("a LLaMA-Factory config", source, source.values(), whole=True)
    return None


def _deepspeed(source: ImportedFile, project: Project) -> Original | None:
    keys = source.keys or {}
    if not any(key in keys for key in _DEEPSPEED) or _MODEL in keys:
        return None
    part = zero.translate(DeepSpeedFile(keys, source.lines, source.display), Translation(), whole=False)
    return Original("a DeepSpeed config", source, part=part)


def _training_config(source: ImportedFile, project: Project) -> Original | None:
    """A config of no toolkit in particular, most of whose keys are known."""
    flat, renamed_part = nested.flatten(source)
    known = [key for key in flat if any(key in names for names in (arguments(), aliases(), renamed()))]
    enough = bool(known) if nested.has_its_own(source.keys or {}) else 2 * len(known) >= len(flat)
    if source.keys is None or not enough:
        return None
    left, part = nested.translate(flat, source, project)
    return Original("a training config", source, left, renamed_part + part, near_base=flat.get(KL_BETA))


_KINDS: tuple[Recogniser, ...] = (
    embedded.recognise,
    commands.recognise,
    other_commands.recognise,
    _preset,
    board.recognise,
    outputs.recognise,
    accelerate.recognise,
    toolkits.recognise,
    _llamafactory,
    _deepspeed,
    _training_config,
)
