"""The data that a torchtune config names by the builders that read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.files import table_beside
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.toolkits.data import NamedData, mapping, registered
from qtune.importing.toolkits.table import Reading
from qtune.values import Value

_KNOWN = (
    *("_component_", "source", "split", "subset", "name", "data_files", "data_dir", "column_map", "column"),
    *(
        "conversation_column",
        "conversation_style",
        "packed",
        "train_on_input",
        "new_system_prompt",
        "image_dir",
    ),
    *("split_across_pack", "add_eos", "image_tag", "max_seq_len", "trust_remote_code", "parallel_method"),
)
_OPENAI = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}
_FILES = ("json", "csv", "parquet", "arrow", "text")


def names() -> Mapping[str, Any]:
    """torchtune's names for models, layers and data."""
    table: Mapping[str, Any] = table_beside(__file__, "torchtune_names.yaml")
    return table


def dataset(key: str, value: Value, reading: Reading) -> Translation:
    """The sets under `dataset`, one or several, with what they say of the training."""
    given = value.value if isinstance(value.value, list) else [value.value]
    sets: list[NamedData] = []
    part = Translation()
    for item in given:
        if not isinstance(item, dict):
            part += warned(key, "is no mapping", "register the data by `qtune data add`", value.origin)
            continue
        found, said = _one(key, item, value, training=key != "dataset_val")
        sets += found
        part += said
    return part + registered(key, sets, reading, "eval_dataset" if key == "dataset_val" else "dataset")


def _one(
    key: str, item: Mapping[str, Any], value: Value, *, training: bool
) -> tuple[list[NamedData], Translation]:
    origin = value.origin
    component = str(item.get("_component_", "")).removeprefix("torchtune.datasets.")
    row = names()["data"].get(component)
    part = Translation()
    if row is None and not item.get("source"):
        fix = "register the data by `qtune data add`, and set `dataset` in the preset"
        return [], warned(key, f"qtune does not know what {component} reads", fix, origin)
    row = row or {}
    told = _told(item, row)
    source = str(item.get("source") or row.get("source"))
    files = item.get("data_files")
    files = [files] if isinstance(files, str) else files or []
    paths = [source]
    if source in _FILES:
        paths = [str(file) for file in files] or [str(item.get("data_dir", source))]
    elif files:
        message = f"LLaMA-Factory takes all files of {source}, not {', '.join(map(str, files))}"
        part += warned(key, message, "download them, and name the files in data/datasets.yaml", origin)
    if reason := row.get("unread"):
        fix = "rewrite the rows, and register them by `qtune data add`"
        part += warned(key, f"the rows of {source} have {reason}", fix, origin)
    elif "says" in row:
        part += noted(key, row["says"], origin)
    rest = [name for name, given in item.items() if name not in _KNOWN and given is not None]
    if rest:
        fix = "change the data itself, where the training needs it"
        part += warned(key, f"{', '.join(rest)} of {source}: a registration cannot say this", fix, origin)
    if training:
        part += _of_the_training(item, row, value)
    return [NamedData(path, origin, told) for path in paths], part


def _told(item: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """What a registration says of the rows: `column_map` names their columns by torchtune's."""
    renamed = mapping(item.get("column_map"))
    columns = {ours: renamed.get(theirs, theirs) for ours, theirs in row.get("columns", {}).items()}
    if item.get("column"):
        columns["prompt"] = item["column"]
    if item.get("conversation_column"):
        columns["messages"] = item["conversation_column"]
    told: dict[str, Any] = {"formatting": row.get("formatting", "alpaca"), "columns": columns}
    if item.get("conversation_style") == "openai":
        tags = {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
        }
        told["tags"] = {**tags, "system_tag": "system"}
    if row.get("ranking"):
        told["ranking"] = True
    subset = item.get("subset") or item.get("name") or row.get("subset")
    if subset:
        told["subset"] = subset
    if item.get("split"):
        told["split"] = item["split"]
    return told


def _of_the_training(item: Mapping[str, Any], row: Mapping[str, Any], value: Value) -> Translation:
    """What torchtune says of the data and LLaMA-Factory of the training."""
    said: dict[str, Any] = {}
    text = row.get("stage") == "pt"
    if text:
        said["stage"] = "pt"
    elif item.get("train_on_input", row.get("train_on_input", False)):
        said["train_on_prompt"] = True
    if item.get("packed"):
        said |= {"packing": True} if text else {"packing": True, "neat_packing": True}
    elif text:
        said["packing"] = False
    for theirs, ours in (
        ("new_system_prompt", "default_system"),
        ("image_dir", "media_dir"),
        ("max_seq_len", "cutoff_len"),
    ):
        if item.get(theirs) is not None:
            said[ours] = item[theirs]
    return Translation({("train", name): Value(given, value.origin) for name, given in said.items()})
