"""The arguments that the library itself wrote beside a model, held against those that were recorded."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qtune.values import Config

FILE = "training_args.bin"
"""What transformers writes into each checkpoint and beside the model (transformers/trainer.py, _save)."""


class _Anything:
    """An object of the file, as its state and no more."""

    def __init__(self, *arguments: Any) -> None:
        self.state: Any = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Plain(pickle.Unpickler):
    """Reads numbers, texts and lists; whatever the file names as a class is `_Anything`, so no code runs."""

    def find_class(self, module: str, name: str) -> type[_Anything]:
        return _Anything

    def persistent_load(self, pid: Any) -> None:
        return None


def times(directory: Path) -> dict[Path, int]:
    """When each such file of the run in `directory` was written, in nanoseconds."""
    found = (*directory.glob(FILE), *directory.glob(f"checkpoint-*/{FILE}"))
    return {path: path.stat().st_mtime_ns for path in found}


def since(directory: Path, before: Mapping[Path, int]) -> list[Path]:
    """Those that were written since they had the `times` of `before`, the newest first."""
    new = {path: time for path, time in times(directory).items() if time != before.get(path)}
    return sorted(new, key=new.__getitem__, reverse=True)


def difference(file: Path, config: Config) -> str | None:
    """The first number with which the library trained otherwise than `config` says, None where none is.

    A file in another format tells nothing. Numbers alone are compared: the library turns texts into values of
    its own. It also goes by another batch where it looks for one itself, and by accelerator_config's steps.
    """
    told = _arguments(file)
    train = config.block("train")
    if train.get("auto_find_batch_size"):
        train.pop("per_device_train_batch_size", None)
    if train.get("accelerator_config"):
        train.pop("gradient_accumulation_steps", None)
    for name, value in train.items():
        trained = told.get(name, value)
        if _is_number(value) and trained is not None and trained != value:
            return f"{name} {trained}, where {value} is recorded"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _arguments(path: Path) -> Mapping[str, Any]:
    """By name; nothing of a file that is not torch's zip of one object."""
    try:
        with zipfile.ZipFile(path) as file:
            [name] = [name for name in file.namelist() if name.endswith("/data.pkl")]
            with file.open(name) as stream:
                read = _Plain(stream).load()
    except Exception:  # whatever a release makes of it, the training is what it is
        return {}
    state = getattr(read, "state", None)
    return state if isinstance(state, dict) else {}
