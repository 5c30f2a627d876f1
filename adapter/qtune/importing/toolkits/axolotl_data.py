"""The data sets that an axolotl config names: their rows by `type`, and the template of their prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.files import table_beside
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.toolkits.data import NamedData, mapping, registered
from qtune.importing.toolkits.table import Reading
from qtune.values import Value

_LOADERS = ("json", "csv", "parquet", "arrow", "text")
_NEEDLESS = (
    "ds_type",
    "trust_remote_code",
    "preprocess_shards",
    "conversation",
    "chat_template",
    "input_format",
)
"""They say how axolotl loads the data, or are read beside the rest."""
_NAMES = ("path", "name", "split", "type", "data_files", "field", "text_column")
_FIELDS = (
    *("field_messages", "field_system", "field_tools", "field_chosen", "field_rejected", "field_instruction"),
    *("field_input", "field_output", "field_prompt", "field_completion", "field_label"),
    *("message_property_mappings", "message_field_role", "message_field_content", "roles", "shards"),
)
_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "roles_to_train": (["assistant"], ["gpt"], ["assistant", "gpt"], ["gpt", "assistant"]),
    "train_on_eos": ("turn",),
    "train_on_eot": ("turn",),
    "drop_system_message": (False,),
    "split_thinking": (False,),
}
"""What LLaMA-Factory does anyway (data/processor/supervised.py)."""
_COLUMNS = {
    "field_instruction": "prompt",
    "field_prompt": "prompt",
    "field_input": "query",
    "field_output": "response",
    "field_completion": "response",
    "field_system": "system",
    "field_chosen": "chosen",
    "field_rejected": "rejected",
    "field_label": "kto_tag",
}


def _tables() -> Mapping[str, Any]:
    tables: Mapping[str, Any] = table_beside(__file__, "axolotl_data.yaml")
    return tables


def datasets(key: str, value: Value, reading: Reading) -> Translation:
    """The sets under `datasets`, `test_datasets` or `pretraining_dataset`."""
    given = value.value if isinstance(value.value, list) else [value.value]
    sets: list[NamedData] = []
    part = Translation()
    templates: dict[str, None] = {}
    for item in given:
        entry = {"path": item} if isinstance(item, str) else item
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
            part += warned(key, "names no path", "register the data by `qtune data add`", value.origin)
            continue
        if key == "pretraining_dataset":
            entry = {"type": "pretrain", **entry}
        found, said, template = _one(key, entry, value, reading)
        sets += found
        part += said
        templates |= {template: None} if template else {}
    part += registered(key, sets, reading, "eval_dataset" if key == "test_datasets" else "dataset")
    if key != "test_datasets" and not reading.plain("chat_template"):
        part += _template(key, list(templates), value)
    if any(is_text(item) for item in given) and key != "test_datasets":
        part += Translation({("train", "stage"): Value("pt", value.origin)})
    if key == "pretraining_dataset":
        part += Translation({("train", "streaming"): Value(True, value.origin)})
    return part


def chat_template(key: str, value: Value, reading: Reading) -> Translation:
    """The template of LLaMA-Factory's that has the same marks."""
    given = str(value.value)
    if given.startswith("tokenizer_default"):
        return noted(key, "left out: the model's own, as `template: auto` finds it", value.origin)
    template = _tables()["templates"].get(given)
    if template is None:
        fix = "set `template` to one whose marks are the same; the model's own until then"
        return warned(key, f"LLaMA-Factory has no template {given}", fix, value.origin)
    return Translation({("train", "template"): Value(template, value.origin)}) + noted(
        key, f"`template: {template}`", value.origin
    )


def _template(key: str, templates: list[str], value: Value) -> Translation:
    if len(templates) > 1:
        message = (
            f"have prompts of several forms ({', '.join(templates)}), and LLaMA-Factory takes one for all"
        )
        return warned(key, message, "set `template` in the preset", value.origin)
    if not templates:
        return Translation()
    part = noted(key, f"`template: {templates[0]}`, the form of their prompts", value.origin)
    return part + Translation({("train", "template"): Value(templates[0], value.origin)})


def is_text(entry: Any) -> bool:
    """Whether an entry's rows are plain text."""
    return isinstance(entry, dict) and str(entry.get("type", "")).startswith(("completion", "pretrain"))


def _one(
    key: str, entry: Mapping[str, Any], value: Value, reading: Reading
) -> tuple[list[NamedData], Translation, str]:
    """(one entry of the list as data sets, what there is to say of its keys, its template or "")."""
    path, origin = entry["path"], value.origin
    told, template, part = _rows(key, entry, value, reading)
    if entry.get("name"):
        told["subset"] = entry["name"]
    if entry.get("split"):
        told["split"] = entry["split"]
    files = entry.get("data_files")
    files = [files] if isinstance(files, str) else files or []
    names = [path]
    if files and (path in _LOADERS or reading.source.find(path)):
        names = [name if path in _LOADERS else f"{path}/{name}" for name in files]
    elif files:
        fix = "download them, and give file_name instead of hf_hub_url in data/datasets.yaml"
        message = f"LLaMA-Factory takes all files of {path}, not {', '.join(map(str, files))}"
        part += warned(key, message, fix, origin)
    rest = [
        name
        for name, item in entry.items()
        if item is not None
        and name not in (*_NAMES, *_FIELDS, *_NEEDLESS)
        and item not in _DEFAULTS.get(name, ())
    ]
    if entry.get("shards", 1) != 1:
        rest.append("shards")
    if rest:
        message = f"{', '.join(rest)} of {path}: a registration cannot say this"
        part += warned(key, message, "change the data itself, where the training needs it", origin)
    return [NamedData(name, origin, told) for name in names], part, template


def _rows(
    key: str, entry: Mapping[str, Any], value: Value, reading: Reading
) -> tuple[dict[str, Any], str, Translation]:
    """(what a registration says of the rows, the template or "", what there is to say)."""
    kind, path, origin = entry.get("type"), entry["path"], value.origin
    if is_text(entry):
        column = entry.get("field") or entry.get("text_column") or "text"
        return {"formatting": "alpaca", "columns": {"prompt": column}}, "", Translation()
    pairs = bool(reading.plain("reward_model")) or reading.plain("rl") in ("dpo", "ipo", "orpo", "simpo")
    kto = reading.plain("rl") == "kto"
    if isinstance(kind, dict):
        return _own(key, kind, value, pairs)
    text = str(kind or "")
    if not kto and (text.startswith(("chat_template", "sharegpt")) or text in ("", "chat_template.default")):
        template = entry.get("chat_template")
        found = (
            _tables()["templates"].get(template) or "" if not str(template).startswith("tokenizer") else ""
        )
        told, part = _messages(key, entry, value, reading, pairs)
        return told, found, part
    row = _tables()["kto" if kto else "pairs" if pairs else "sft"].get(text.removesuffix(".load_default"))
    if row is None:
        fix = "write how its rows look into data/datasets.yaml, or register it by `qtune data add`"
        return (
            {"formatting": "alpaca"},
            "",
            warned(key, f"qtune does not know {path}'s type {text}", fix, origin),
        )
    told = {"formatting": "alpaca", "columns": dict(row["columns"])}
    if pairs:
        told["ranking"] = True
    part = Translation()
    if "template" not in row:
        message = f"{path}'s type {text} has a prompt of its own; LLaMA-Factory takes the model's template"
        part = noted(key, message, origin)
    return told, row.get("template", ""), part


def _own(
    key: str, kind: Mapping[str, Any], value: Value, pairs: bool
) -> tuple[dict[str, Any], str, Translation]:
    """A type that the config defines itself: names of columns, and forms of the prompt."""
    columns = {_COLUMNS[name]: column for name, column in kind.items() if name in _COLUMNS and column}
    told: dict[str, Any] = {"formatting": "alpaca", "columns": columns}
    if pairs:
        told["ranking"] = True
    forms = [name for name in kind if name not in _COLUMNS and kind[name]]
    part = Translation()
    if forms:
        message = f"the prompt's own form ({', '.join(forms)}) is the template's in LLaMA-Factory"
        part = warned(key, message, "set `template`, e.g. alpaca or default, in the preset", value.origin)
    return told, "", part


def _messages(
    key: str, entry: Mapping[str, Any], value: Value, reading: Reading, pairs: bool
) -> tuple[dict[str, Any], Translation]:
    """Rows that hold lists of messages (prompt_strategies/chat_template.py)."""
    old = str(entry.get("type", "")).startswith("sharegpt")
    mapped = mapping(entry.get("message_property_mappings"))
    role = mapped.get("role") or entry.get("message_field_role") or ("from" if old else "role")
    content = mapped.get("content") or entry.get("message_field_content") or ("value" if old else "content")
    roles = mapping(entry.get("roles"))

    def tag(name: str, ours: str, human: str) -> str:
        given = roles.get(name)
        given = given[0] if isinstance(given, list) and given else given
        return str(given or (human if role == "from" else ours))

    columns = {"messages": entry.get("field_messages") or ("conversations" if old else "messages")}
    if pairs:
        columns |= {name: entry.get(f"field_{name}") or name for name in ("chosen", "rejected")}
    for field, column in (("field_tools", "tools"), ("field_system", "system")):
        if entry.get(field):
            columns[column] = entry[field]
    part = Translation()
    if reading.plain("processor_type"):
        columns["images"] = "images"
        message = "LLaMA-Factory reads pictures from a column, at each <image> in the text"
        fix = f"rewrite the rows of {entry['path']} so, and register them by `qtune data add`"
        part = warned(key, message, fix, value.origin)
    tags = {
        "role_tag": str(role),
        "content_tag": str(content),
        "user_tag": tag("user", "user", "human"),
        "assistant_tag": tag("assistant", "assistant", "gpt"),
        "system_tag": tag("system", "system", "system"),
    }
    told: dict[str, Any] = {"formatting": "sharegpt", "columns": columns, "tags": tags}
    if pairs:
        told["ranking"] = True
    return told, part
