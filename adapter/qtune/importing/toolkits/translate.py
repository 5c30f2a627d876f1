"""A toolkit's keys translated by its table: every key is an argument, a note or a finding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qtune.config.project import Project
from qtune.files import dump_yaml
from qtune.importing.original import Coverage, Original
from qtune.importing.parts import Note, Translation, noted, warned
from qtune.importing.source import LAYER, ImportedFile
from qtune.importing.toolkits.table import Reading, Row, Toolkit
from qtune.values import KeyPath, Origin, Value


def translate(
    toolkit: Toolkit, keys: Mapping[str, Value], source: ImportedFile, project: Project
) -> Original:
    """The keys of a config or command of that toolkit, as `Original` has them.

    keys: at the top, blocks as mappings. What has no counterpart is a warning: a config of another toolkit
    never has all of LLaMA-Factory's, so that nothing of it would be imported otherwise.
    """
    found = dict(_keys(toolkit, keys, source))
    reading = Reading(
        {path: value for path, value in found.items() if value.value is not None}, source, project
    )
    arguments: dict[str, Value] = {}
    part = Translation()
    counts = {"translated": 0, "needless": len(found) - len(reading.keys), "missing": 0}
    for path, value in reading.keys.items():
        said, one = _key(toolkit, path, value, reading)
        arguments |= said
        part += one
        became = said or one.values or one.datasets
        counts["missing" if one.findings else "translated" if became else "needless"] += 1
    nulls = [".".join(path) for path, value in found.items() if value.value is None]
    if nulls:
        part += noted(", ".join(nulls), "left out: null", Origin(LAYER, source.display))
    for name, default in toolkit.defaults.items():
        if name not in arguments and ("train", name) not in part.values:
            arguments[name] = Value(default, Origin(LAYER, source.display))
            part += Translation(notes=(Note(name, f"{dump_yaml(default)}, {toolkit.name}'s default"),))
    return Original(toolkit.kind, source, arguments, part, coverage=Coverage(**counts))


def _keys(
    toolkit: Toolkit, block: Mapping[str, Any], source: ImportedFile, above: KeyPath = ()
) -> Iterator[tuple[KeyPath, Value]]:
    """Each key by its path: a block is entered where the table has rows of keys within it."""
    for key, item in block.items():
        path = (*above, key)
        value = item if isinstance(item, Value) else Value(item, source.origin(*path))
        inside = path not in toolkit.rows and any(row[: len(path)] == path for row in toolkit.rows)
        if inside and isinstance(value.value, dict):
            yield from _keys(toolkit, value.value, source, path)
        else:
            yield path, value


def _key(
    toolkit: Toolkit, path: KeyPath, value: Value, reading: Reading
) -> tuple[dict[str, Value], Translation]:
    """(LLaMA-Factory's arguments, what else the key is)."""
    key, given = ".".join(path), value.value
    row = toolkit.rows.get(path)
    if row is None:
        return {}, _missing(key, f"qtune knows no counterpart of {toolkit.name}'s `{key}`", "", value)
    if row.by:
        return {}, toolkit.readers[row.by](key, value, reading)
    if row.left_out:
        return {}, noted(key, f"left out: {row.left_out}", value.origin)
    said = _said(row, given)
    if row.missing or said is None:
        message = row.missing or f"LLaMA-Factory has no counterpart of {dump_yaml(given)}"
        return {}, _missing(key, message, row.fix, value)
    words = ", ".join(f"`{name}: {dump_yaml(item)}`" for name, item in said.items())
    note = noted(key, words or f"left out: {dump_yaml(given)} is what holds anyway", value.origin)
    return {name: Value(item, value.origin) for name, item in said.items()}, note


def _said(row: Row, given: Any) -> dict[str, Any] | None:
    """The arguments that a value becomes by its row; None where the row does not tell."""
    for theirs, ours in (row.values or {}).items():
        if theirs == given and isinstance(theirs, bool) == isinstance(given, bool):
            return ours if isinstance(ours, dict) else {row.becomes: ours}
    return {row.becomes: given} if row.becomes else None


def _missing(key: str, message: str, fix: str, value: Value) -> Translation:
    return warned(key, message, fix or "add to the preset what the training needs of it", value.origin)
