"""JSON Schema of presets, projects and registrations, for editors: help, choices, defaults, completion."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from qtune.config.auto import AUTO, AUTO_KEYS
from qtune.config.defaults import DEFAULTS
from qtune.config.hub_settings import NAMES as HUBS
from qtune.config.presets import KEYS as PRESET_KEYS
from qtune.config.project import KEYS as PROJECT_KEYS
from qtune.files import table_beside, write_atomic
from qtune.schema import DERIVED, Argument, column_keys, dataset_keys, known_keys, tag_keys, template_names
from qtune.values import KeyPath

DIRECTORY = ".qtune"
_DIALECT = "http://json-schema.org/draft-07/schema#"  # what YAML language servers speak
_TYPES = {
    "bool": "boolean",
    "int": "integer",
    "float": "number",
    "str": "string",
    "list": "array",
    "dict": "object",
}


def preset_schema() -> dict[str, Any]:
    """The schema of a preset file."""
    return _document("qtune preset", PRESET_KEYS)


def project_schema() -> dict[str, Any]:
    """The schema of qtune.yaml."""
    return _document("qtune project", PROJECT_KEYS)


def datasets_schema() -> dict[str, Any]:
    """The schema of data/datasets.yaml."""
    entry = _object(dataset_keys(), ("datasets",))
    for block, keys in (("columns", column_keys()), ("tags", tag_keys())):
        described = {"description": entry["properties"][block].get("description", "")}
        entry["properties"][block] = {**_object(keys, ("datasets", block)), **described}
    return {
        "$schema": _DIALECT,
        "title": "qtune dataset registrations",
        "type": ["object", "null"],
        "additionalProperties": entry,
    }


SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "preset": preset_schema,
    "project": project_schema,
    "datasets": datasets_schema,
}
"""What `qtune schema` knows, by name."""


def _document(title: str, keys: tuple[str, ...]) -> dict[str, Any]:
    own = deepcopy(table_beside(__file__, "json_schema.yaml"))
    own["keys"]["hub"]["properties"]["name"]["enum"] = list(HUBS)
    properties = {key: own["keys"][key] for key in keys if key in own["keys"]}
    for key in filter(own["blocks"].get, keys):
        block = "train" if key == DEFAULTS else key
        settable = {key: argument for key, argument in known_keys(block).items() if key not in DERIVED}
        described = {"description": own["blocks"][key], "type": ["object", "null"]}
        properties[key] = {**_object(settable, (block,)), **described}
    return {
        "$schema": _DIALECT,
        "title": title,
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": False,
    }


def _object(keys: Mapping[str, Argument], path: KeyPath) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: _value(argument, (*path, name)) for name, argument in keys.items()},
        "additionalProperties": False,
    }


def _value(argument: Argument, path: KeyPath) -> dict[str, Any]:
    """The values of one argument, null, which removes what is inherited, and `auto` where it is one."""
    accepted: list[dict[str, Any]] = []
    bound = type(argument.choices[0]) if argument.choices else None
    for name in argument.types:
        if bound is not None and {"str": str, "int": int}.get(name) is bound:
            accepted.append({"enum": list(argument.choices or ())})
        elif name == "dict" and argument.keys:
            accepted.append(_object(argument.keys, path))
        else:
            accepted.append({"type": _TYPES[name]})
    if path == ("train", "template"):
        accepted = [{"enum": list(template_names())}]
    if argument.auto or path in AUTO_KEYS:
        accepted.append({"const": AUTO})
    schema: dict[str, Any] = {"anyOf": [*accepted, {"type": "null"}]}
    if argument.help:
        schema["description"] = argument.help
    if argument.default is not None:
        schema["default"] = argument.default
    return schema


def write_schemas(root: Path) -> list[Path]:
    """Write the three schemas below `root`; their paths from there."""
    paths = []
    for name in SCHEMAS:
        path = Path(DIRECTORY) / f"{name}.schema.json"
        write_atomic(root / path, _text(name))
        paths.append(path)
    return paths


@cache
def _text(name: str) -> str:
    return json.dumps(SCHEMAS[name](), indent=1, ensure_ascii=False) + "\n"


def schema_comment(name: str, depth: int) -> str:
    """The first line of a file that lies `depth` directories below the project's root."""
    return f"# yaml-language-server: $schema={'../' * depth}{DIRECTORY}/{name}.schema.json"
