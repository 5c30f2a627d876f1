"""A toolkit's keys translated by its table: every key is an argument, a note or a finding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from qtune.config.project import Project
from qtune.files import dump_yaml
from qtune.importing.original import Coverage, Original
from qtune.importing.parts import Note, Translation, noted, warned
from qtune.importing.retype import retyped
from qtune.importing.source import LAYER, ImportedFile
from qtune.importing.toolkits import shipped
from qtune.importing.toolkits.packed import one_at_a_time
from qtune.importing.toolkits.references import referred, resolved
from qtune.importing.toolkits.table import Reading, Row, Toolkit
from qtune.schema import arguments, problem
from qtune.values import KeyPath, Origin, Value


def translate(
    toolkit: Toolkit, keys: Mapping[str, Value], source: ImportedFile, project: Project
) -> Original:
    """The keys of a config or command of that toolkit, as `Original` has them.

    keys: at the top, blocks as mappings. What has no counterpart is a warning: a config of another toolkit
    never has all of LLaMA-Factory's, so that nothing of it would be imported otherwise.
    """
    written = dict(_keys(toolkit, keys, source))
    found = resolved(written)
    used = referred(written)
    reading = Reading(
        {path: value for path, value in found.items() if value.value is not None}, source, project
    )
    train: dict[str, Value] = {}
    part = Translation()
    counts = {"translated": 0, "needless": 0, "missing": 0}
    for path, value in reading.keys.items():
        said, one = _key(toolkit, path, value, reading)
        if path in used and path not in toolkit.rows:
            one = noted(".".join(path), "left out: other keys have it in", value.origin)
        part += _contradiction(path, said, train)
        train |= said
        part += one
        became = said or one.values or one.datasets
        counts["translated" if became else "missing" if one.findings else "needless"] += 1
    nulls = [".".join(path) for path, value in found.items() if value.value is None]
    if nulls:
        part += noted(", ".join(nulls), "left out: null", Origin(LAYER, source.display))
    defaults = {**toolkit.defaults, **toolkit.silent(reading)}
    defaults = {name: default for name, default in defaults.items() if name not in train}
    train |= {name: Value(default, Origin(LAYER, source.display)) for name, default in defaults.items()}
    if defaults:
        words = ", ".join(f"`{name}: {dump_yaml(default)}`" for name, default in defaults.items())
        part += noted("", f"{toolkit.name}'s own defaults: {words}", Origin(LAYER, source.display))
    batches, one = one_at_a_time(train)
    train, part = train | batches, part + one
    part = replace(part, notes=tuple(_grouped(part.notes)))
    return Original(toolkit.kind, source, train, part, coverage=Coverage(**counts))


def _grouped(notes: Iterable[Note]) -> Iterator[Note]:
    """One note for all keys that are left out for one reason, at the place of the first."""
    left_out: dict[str, list[Note]] = {}
    for note in notes:
        if note.message.startswith("left out"):
            left_out.setdefault(note.message, []).append(note)
        else:
            yield note
    for message, same in left_out.items():
        yield Note(", ".join(note.key for note in same), message, same[0].origin)


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
    if row.by or row.zero is not None:
        by = toolkit.readers.get(row.by)
        part = by(key, value, reading) if by else shipped.deepspeed(key, value, row.zero or {}, reading)
        train = {name: found for (block, *_, name), found in part.values.items() if block == "train"}
        rest = {at: found for at, found in part.values.items() if at[0] != "train"}
        return train, replace(part, values=rest)  # arguments are checked, and DeepSpeed's file read, later
    if row.left_out:
        return {}, noted(key, f"left out: {row.left_out}", value.origin)
    said = _said(row, given)
    if row.missing or said is None:
        message = row.missing or f"LLaMA-Factory has no counterpart of {dump_yaml(given)}"
        return {}, _missing(key, message, row.fix, value)
    wrong = [
        f"LLaMA-Factory's `{name}` {what}"
        for name, item in said.items()
        if name in arguments() and (what := problem(arguments()[name], retyped(arguments()[name], item)))
    ]
    if wrong:
        return {}, _missing(key, wrong[0], row.fix, value)
    words = ", ".join(f"`{name}: {dump_yaml(item)}`" for name, item in said.items())
    note = noted(key, words or f"left out: {dump_yaml(given)} is what holds anyway", value.origin)
    return {name: Value(item, value.origin) for name, item in said.items()}, note


def _contradiction(path: KeyPath, said: Mapping[str, Value], train: Mapping[str, Value]) -> Translation:
    """What to say where an earlier key has made another value of an argument: the later one holds."""
    part = Translation()
    for name, value in said.items():
        before = train.get(name, value)
        if before.value != value.value:
            message = f"`{name}: {dump_yaml(value.value)}` here, but {dump_yaml(before.value)} "
            message += f"by {before.origin.place}; the former holds"
            part += warned(".".join(path), message, f"set {name} in the preset, if not", value.origin)
    return part


def _said(row: Row, given: Any) -> dict[str, Any] | None:
    """The arguments that a value becomes by its row; None where the row does not tell."""
    for theirs, ours in (row.values or {}).items():
        if theirs == given and isinstance(theirs, bool) == isinstance(given, bool):
            return ours if isinstance(ours, dict) else {row.becomes: ours}
    return {row.becomes: given} if row.becomes else None


def _missing(key: str, message: str, fix: str, value: Value) -> Translation:
    return warned(key, message, fix or "add to the preset what the training needs of it", value.origin)
