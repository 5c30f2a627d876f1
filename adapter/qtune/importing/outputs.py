"""Files that a training writes or a model brings: told what they are, and what to import instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.importing.source import ImportedFile

# LLaMA Board keeps these beside what it trained (llamafactory/webui/common.py, save_cmd and save_args).
_BOARDS_OWN = ("training_args.yaml", "llamaboard_config.yaml")
_FIX = "import the YAML, JSON or script that started the training"


def recognise(source: ImportedFile, project: Project) -> None:
    """Raises QtuneError for such a file, with what it holds that matters; returns None for any other."""
    keys = source.keys or {}
    for what, signs, tells in _KINDS:
        if all(sign in keys for sign in signs):
            raise QtuneError(
                f"is {what}{_shown(keys, tells)}: it does not say how the training was set up",
                where=source.display,
                fix=_fix(source),
            )


def _shown(keys: Mapping[str, Any], tells: tuple[str, ...]) -> str:
    said = [f"{key}: {keys[key]}" for key in tells if isinstance(keys.get(key), str | int | float)]
    return f" ({', '.join(said)})" if said else ""


def _fix(source: ImportedFile) -> str:
    directory = source.path.parent
    for near in (directory, directory.parent):
        for name in _BOARDS_OWN:
            if (near / name).is_file():
                return f"import {name}, which lies {'beside' if near == directory else 'above'} it"
    return _FIX


_KINDS = (
    (
        "the config of an adapter, which PEFT writes beside it",
        ("peft_type", "base_model_name_or_path"),
        ("base_model_name_or_path", "peft_type", "r", "lora_alpha"),
    ),
    (
        "the state of a training, which transformers writes into a checkpoint",
        ("global_step", "log_history"),
        (),
    ),
    ("a model's config.json, which comes with its weights", ("architectures", "model_type"), ("model_type",)),
    ("a model's config.json, which comes with its weights", ("hidden_size", "model_type"), ("model_type",)),
    ("a tokenizer's config", ("tokenizer_class", "model_max_length"), ()),
    ("what LLaMA Board remembers of its user", ("last_model", "path_dict"), ("last_model",)),
    ("the results of a training, which transformers writes at its end", ("train_loss", "train_runtime"), ()),
)
"""(what it is, the keys that tell it, the keys whose values are shown)."""
