"""`tokenized_path: auto`: tokens kept from run to run, below a name that changes with whatever makes them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from qtune.config.auto import AUTO, DECIDED
from qtune.config.model import local_model
from qtune.config.project import Project
from qtune.data.digests import sha256
from qtune.data.file_types import data_files
from qtune.data.registrations import Registration, complete_entry, names_in, read_registrations
from qtune.data.sources import is_local
from qtune.files import from_json, table_beside
from qtune.schema import SUPPORTED, arguments
from qtune.values import Config, Layer, Origin, Value

KEY = ("train", "tokenized_path")
DIRECTORY = ".tokenized"
"""Below the project's runs."""
_LAYER = f"{DECIDED}the data"
_DATASETS = ("dataset", "eval_dataset")

# Of a model's files those that hold no weights may concern its tokenizer.
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")


@cache
def token_arguments() -> tuple[str, ...]:
    """The arguments on which the tokens of a dataset depend."""
    table = table_beside(__file__, "token_arguments.yaml")
    of_data = [name for name, known in arguments().items() if known.group == "data"]
    effective = [name for name in of_data if name not in table["without_effect"]]
    return (*effective, *table["of_the_model"], *table["of_the_training"])


def tokens_layer(config: Config, project: Project) -> Layer | None:
    """A layer that puts a directory in place of `tokenized_path: auto`, None where there is nothing to put.

    `auto` stays where data is missing or cannot be followed, which the checks report. Several nodes make
    their tokens anew: one that found some would wait for ever for one that did not
    (llamafactory/data/loader.py, get_dataset: it returns before the barriers of main_process_first).
    """
    found = config.find(*KEY)
    if found is None or found.value != AUTO:
        return None
    directory = None
    if config.nnodes == 1 and (directory := tokens_directory(config, project)) is None:
        return None
    return Layer(_LAYER, {KEY: Value(directory, Origin(_LAYER, found.origin.file, found.origin.line))})


def is_automatic(config: Config) -> bool:
    """Whether `tokenized_path` is qtune's own, from `auto`, also where train.yaml was edited by hand."""
    path = config.get(*KEY)
    return isinstance(path, str) and Path(path).parent.name == DIRECTORY


def unfollowed(registration: Registration) -> str | None:
    """Why a change of this data could go unnoticed, None where it could not."""
    if registration.path is None:
        return f"`{registration.name}` lies elsewhere"
    if registration.has_media:
        return f"`{registration.name}` names images, videos or audios, whose sizes make tokens too"
    return None


def tokens_directory(config: Config, project: Project) -> str | None:
    """Where the tokens of this config belong, relative to the project's root.

    Its name is a hash of everything that makes them: the arguments, the registrations, the contents of all
    data files, the tokenizer's files, the library's version. None where one of the datasets is not here, or
    `unfollowed`. Reads every data file, once for each process.
    """
    registrations = read_registrations(project)
    train = config.block("train")
    sets: dict[str, list[Any]] = {}
    for key in _DATASETS:
        sets[key] = []
        for name in names_in(train.get(key)):
            registration = registrations.get(name)
            if registration is None or unfollowed(registration) or not is_local(registration):
                return None
            sets[key].append(_dataset(registration, project.root))
    made_from = {
        "llamafactory": SUPPORTED,
        "arguments": {name: train.get(name, arguments()[name].default) for name in token_arguments()}
        | {key: names_in(train.get(key)) for key in _DATASETS},
        "datasets": sets,
        "model": _model(train, project.root),
    }
    text = json.dumps(made_from, sort_keys=True, default=str)
    fingerprint = hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
    return (Path(project.runs).expanduser() / DIRECTORY / fingerprint).as_posix()


def is_complete(directory: Path) -> bool:
    """Whether everything is there that the library wrote: its JSON comes after the rows it describes.

    Source: datasets, DatasetDict.save_to_disk and Dataset.save_to_disk.
    """
    try:
        top = from_json((directory / "dataset_dict.json").read_bytes())
        parts = [directory / split for split in top["splits"]]
    except FileNotFoundError:
        parts = [directory]  # a dataset saved by other means, without splits
    except (OSError, ValueError, TypeError, KeyError):
        return False
    return all(map(_is_saved, parts))


def keep(made: Path, directory: Path) -> None:
    """Move tokens that a run made to where the next one looks; away with them where they are half-written.

    A rename puts them there whole or not at all; those of another run that was quicker stay.
    """
    if made.is_dir() and is_complete(made) and not is_complete(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(directory, ignore_errors=True)
        with suppress(OSError):
            made.rename(directory)
    shutil.rmtree(made, ignore_errors=True)


def _is_saved(part: Path) -> bool:
    try:
        from_json((part / "dataset_info.json").read_bytes())
        state = from_json((part / "state.json").read_bytes())
        return all((part / file["filename"]).is_file() for file in state["_data_files"])
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _dataset(registration: Registration, root: Path) -> list[Any]:
    assert registration.path is not None
    entry = {key: value for key, value in complete_entry(registration, root).items() if key != "file_name"}
    return [entry, [[file.name, sha256(file)] for file in data_files(registration.path) if file.is_file()]]


def _model(train: Mapping[str, Any], root: Path) -> list[Any]:
    """The contents of the files that the tokenizer may be read from; nothing for a hub's model but its id."""
    name, config = train.get("model_name_or_path"), train.get("new_special_tokens_config")
    directory = local_model(name, root) if isinstance(name, str) else None
    files = sorted(directory.iterdir()) if directory is not None and directory.is_dir() else []
    if isinstance(config, str):
        files.append(root / config)
    return [[file.name, sha256(file)] for file in files if file.is_file() and file.suffix not in _WEIGHTS]
