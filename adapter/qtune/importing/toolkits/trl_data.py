"""The data that a TRL config names, in each of the ways in which it may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.importing.parts import Translation, noted, warned
from qtune.importing.toolkits.data import NamedData, registered
from qtune.importing.toolkits.table import Reading, ReadKey
from qtune.values import Origin, Value

_BUILDERS = ("json", "csv", "parquet", "text", "arrow")  # datasets' generic ones, with the files beside them
_CHAT = {
    "formatting": "sharegpt",
    "columns": {"messages": "messages"},
    "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
}


def _dataset(key: str, value: Value, reading: Reading) -> Translation:
    """`dataset_name` with the keys that go with it, and its evaluation's split where TRL evaluates."""
    if reading.plain("datasets") is not None:
        return noted(key, "left out: TRL reads `datasets` instead", value.origin)
    name, train = str(value.value), reading.plain("dataset_train_split", "train")
    told = {"subset": reading.plain("dataset_config"), **_of_columns(_text(reading))}
    part = registered(key, [_named(name, value.origin, told, train)], reading)
    if reading.plain("eval_strategy", reading.plain("evaluation_strategy", "no")) in ("no", False):
        return part
    test = reading.plain("dataset_test_split", "test")
    (entry,) = part.datasets.values() or ({},)
    if "hf_hub_url" in entry:
        shape = {name: item for name, item in entry.items() if name not in ("hf_hub_url", "subset", "split")}
        told |= shape
        evaluation = registered(key, [_named(name, value.origin, told, test)], reading, "eval_dataset")
        return part + Translation(evaluation.values, evaluation.datasets, evaluation.notes)
    fix = "set `val_size: 0.1`, or register the split's own file and name it in eval_dataset"
    return part + warned(
        key,
        f"TRL evaluates on the split {test}, which a local data set does not have here",
        fix,
        value.origin,
    )


def _text(reading: Reading) -> list[str]:
    field = reading.plain("dataset_text_field")
    return [str(field)] if field is not None else []


def _named(name: str, origin: Origin, told: Mapping[str, Any], split: Any = None) -> NamedData:
    known = {"split": split, **told}
    return NamedData(name, origin, {key: item for key, item in known.items() if item is not None})


def _of_columns(columns: Any) -> dict[str, Any]:
    """What TRL's own names of columns tell (docs/source/dataset_formats.md)."""
    names = set(columns or ())
    if "messages" in names:
        return dict(_CHAT)
    if {"prompt", "completion"} <= names:
        return {"columns": {"prompt": "prompt", "response": "completion"}}
    if len(names) == 1:
        return {"columns": {"prompt": names.pop()}}
    return {}


def _mixture(key: str, value: Value, reading: Reading) -> Translation:
    """`datasets` of TRL, and of the recipes that say `id`, `config` and `weight`."""
    sets: list[NamedData] = []
    part = Translation()
    for item in value.value if isinstance(value.value, list) else []:
        name = str(item.get("path") or item.get("id"))
        told = {"subset": item.get("name") or item.get("config"), **_of_columns(item.get("columns"))}
        files = item.get("data_files")
        if name in _BUILDERS and files:
            given = (
                files.values() if isinstance(files, dict) else files if isinstance(files, list) else [files]
            )
            sets += [_named(str(file), value.origin, told) for file in given]
        else:
            sets.append(
                _named(name, value.origin, {**told, "folder": item.get("data_dir")}, item.get("split"))
            )
        of = " ".join(str(word) for word in (name, item.get("split")) if word)
        part += _share(key, of, item.get("fraction", item.get("weight")), value.origin)
    return registered(key, sets, reading) + part


def _mixer(key: str, value: Value, reading: Reading) -> Translation:
    """The alignment-handbook's `dataset_mixer`: shares by name, with splits and subsets beside it."""
    mixed = value.value if isinstance(value.value, dict) else {}
    splits = reading.plain("dataset_splits") or ["train"]
    subsets = reading.plain("dataset_configs") or []
    train = next((split for split in splits if "train" in split), splits[0])
    test = next((split for split in splits if "test" in split), None)
    told = [{"subset": subset} for subset in [*subsets, *[None] * len(mixed)]]
    sets = [(name, known) for name, known in zip(mixed, told, strict=False)]
    part = registered(key, [_named(name, value.origin, known, train) for name, known in sets], reading)
    if test is not None and reading.plain("do_eval") is not False:
        evaluation = [_named(name, value.origin, known, test) for name, known in sets]
        tested = registered(key, evaluation, reading, "eval_dataset")
        part += Translation(tested.values, tested.datasets, tested.notes)
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
    return part + noted(
        key, "`stage: pt`, which trains on whole texts; `sft` if the rows are chats", value.origin
    )


def _beside(of: str) -> ReadKey:
    return lambda key, value, reading: noted(key, f"read with `{of}`", value.origin)


READERS: Mapping[str, ReadKey] = {
    "dataset": _dataset,
    "of_dataset": _beside("dataset_name"),
    "mixture": _mixture,
    "mixer": _mixer,
    "of_mixer": _beside("dataset_mixer"),
    "text": _text_field,
}
