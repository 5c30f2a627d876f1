"""The data that a TRL config names, in each of the ways in which it may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.importing.parts import Translation, noted, warned
from qtune.importing.toolkits.data import NamedData, registered
from qtune.importing.toolkits.table import Reading, ReadKey
from qtune.values import Origin, Value

_BUILDERS = ("json", "csv", "parquet", "text", "arrow")  # datasets' generic ones, with the files beside them
# The columns that a trainer reads, where they hold texts (docs/source/dataset_formats.md).
_PAIRS = {"ranking": True, "columns": {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}}
_JUDGED = {"columns": {"prompt": "prompt", "response": "completion", "kto_tag": "label"}}
_OF_METHODS: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(("dpo", "reward", "orpo", "cpo"), _PAIRS),
    "kto": _JUDGED,
}
_CHAT = {
    "formatting": "sharegpt",
    "columns": {"messages": "messages"},
    "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
}


def readers(method: str) -> dict[str, ReadKey]:
    """The readers of the keys that name data, for a config of `trl METHOD`."""
    shape = _OF_METHODS.get(method, {})
    return {
        "dataset": lambda key, value, reading: _dataset(shape, key, value, reading),
        "of_dataset": _beside("dataset_name"),
        "mixture": lambda key, value, reading: _mixture(shape, key, value, reading),
        "mixer": lambda key, value, reading: _mixer(shape, key, value, reading),
        "of_mixer": _beside("dataset_mixer"),
        "text": _text_field,
    }


def _dataset(shape: Mapping[str, Any], key: str, value: Value, reading: Reading) -> Translation:
    """`dataset_name` with the keys that go with it, and its evaluation's split where TRL evaluates."""
    if reading.plain("datasets") is not None:
        return noted(key, "left out: TRL reads `datasets` instead", value.origin)
    field = reading.plain("dataset_text_field")
    told = {"subset": reading.plain("dataset_config"), **(shape or _of_columns(_listed(field)))}
    name = str(value.value)
    training = _named(name, value.origin, told, reading.plain("dataset_train_split"))
    if reading.plain("eval_strategy", reading.plain("evaluation_strategy", "no")) in ("no", False):
        return _registered(key, [training], [], shape, reading)
    test = reading.plain("dataset_test_split", "test")
    if reading.source.find(name) is None and "/" in name:
        return _registered(key, [training], [_named(name, value.origin, told, test)], shape, reading)
    fix = "set `val_size: 0.1`, or register the split's own file and name it in eval_dataset"
    message = f"TRL evaluates on the split {test}, which a local data set does not have here"
    part = _registered(key, [training], [], shape, reading)
    return part + warned(key, message, fix, value.origin)


def _registered(
    key: str,
    training: list[NamedData],
    evaluation: list[NamedData],
    shape: Mapping[str, Any],
    reading: Reading,
) -> Translation:
    """Both as registrations; a finding where they lie on a hub, and may hold chats instead of texts."""
    part = registered(key, training, reading)
    tested = registered(key, evaluation, reading, "eval_dataset")
    part += Translation(tested.values, tested.datasets, tested.notes)
    if shape and any("hf_hub_url" in entry for entry in part.datasets.values()):
        fix = "look at the rows: LLaMA-Factory takes texts there, and no lists of messages"
        columns = ", ".join(shape["columns"].values())
        part += warned(
            key, f"registered as texts in {columns}, where TRL has chats too", fix, training[0].origin
        )
    return part


def _listed(given: Any) -> list[Any]:
    if isinstance(given, list):
        return given
    return [] if given is None else [given]


def _named(name: str, origin: Origin, told: Mapping[str, Any], split: Any = None) -> NamedData:
    known = {"split": split, **told}
    return NamedData(name, origin, {key: item for key, item in known.items() if item is not None})


def _of_columns(columns: list[Any]) -> Mapping[str, Any]:
    """What TRL's own names of columns tell (docs/source/dataset_formats.md)."""
    names = set(map(str, columns))
    if "messages" in names:
        return _CHAT
    if {"prompt", "completion"} <= names:
        return {"columns": {"prompt": "prompt", "response": "completion"}}
    return {"columns": {"prompt": names.pop()}} if len(names) == 1 else {}


def _mixture(shape: Mapping[str, Any], key: str, value: Value, reading: Reading) -> Translation:
    """`datasets` of TRL, and of the recipes that say `id`, `config` and `weight`."""
    sets: list[NamedData] = []
    part = Translation()
    for given in _listed(value.value):
        item = given if isinstance(given, dict) else {"path": given}
        name = str(item.get("path") or item.get("id"))
        told = {"subset": item.get("name") or item.get("config")}
        told |= shape or _of_columns(_listed(item.get("columns")))
        files = item.get("data_files")
        files = _listed(list(files.values()) if isinstance(files, dict) else files)
        if name in _BUILDERS and files:
            sets += [_named(str(file), value.origin, told) for file in files]
        else:
            told["folder"] = item.get("data_dir")
            sets.append(_named(name, value.origin, told, item.get("split")))
        of = " ".join(str(word) for word in (name, item.get("split")) if word)
        part += _share(key, of, item.get("fraction", item.get("weight")), value.origin)
    return _registered(key, sets, [], shape, reading) + part if sets else part


def _mixer(shape: Mapping[str, Any], key: str, value: Value, reading: Reading) -> Translation:
    """The alignment-handbook's `dataset_mixer`: shares by name, with splits and subsets beside it."""
    mixed = value.value if isinstance(value.value, dict) else dict.fromkeys(map(str, _listed(value.value)))
    splits = [str(split) for split in _listed(reading.plain("dataset_splits"))] or ["train"]
    subsets = [*_listed(reading.plain("dataset_configs")), *[None] * len(mixed)]
    train = next((split for split in splits if "train" in split), splits[0])
    test = next((split for split in splits if "test" in split), None)
    told = [(name, {"subset": subset, **shape}) for name, subset in zip(mixed, subsets, strict=False)]
    training = [_named(name, value.origin, known, train) for name, known in told]
    evaluates = test is not None and reading.plain("do_eval") is not False
    evaluation = [_named(name, value.origin, known, test) for name, known in told] if evaluates else []
    part = _registered(key, training, evaluation, shape, reading) if training else Translation()
    for name, share in mixed.items():
        part += _share(key, name, share, value.origin)
    return part


def _share(key: str, name: str, share: Any, origin: Origin) -> Translation:
    if share in (None, 1):
        return Translation()
    fix = "set `num_samples` of it in data/datasets.yaml to as many"
    return warned(key, f"takes {share} of the rows of {name}, and a registration takes a number", fix, origin)


def _text_field(key: str, value: Value, reading: Reading) -> Translation:
    """Rows of whole texts, all of whose tokens count: LLaMA-Factory's pre-training."""
    part = Translation({("train", "stage"): Value("pt", value.origin)})
    message = "`stage: pt`, which trains on whole texts; `sft` if the rows are chats"
    return part + noted(key, message, value.origin)


def _beside(of: str) -> ReadKey:
    return lambda key, value, reading: noted(key, f"read with `{of}`", value.origin)
