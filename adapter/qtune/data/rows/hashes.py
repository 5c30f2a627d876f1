"""A number for what is trained on of a row, to find duplicates by."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from operator import add
from typing import Any

from qtune.data.attributes import Attributes
from qtune.data.reading.column_values import Values
from qtune.data.rows.examples import roles_by_tag

_POSITIVE = (1 << 63) - 1
_OTHERS = ("history", "system", "tools", "images", "videos", "audios", "kto_tag", "chosen", "rejected")
_BLANK: tuple[Any, ...] = (None, "", [], {})
_BLANK_TYPES = {type(None), str, list, dict}

_Key = Callable[[Mapping[str, Any]], tuple[Any, ...]]
_Keys = Callable[[Mapping[str, Values], int], Iterable[tuple[Any, ...]]]
_NO_KEY = (KeyError, TypeError, AttributeError)
"""What a key cannot be made of, or no hash of the key."""


def block_hasher(names: Attributes) -> Callable[[Values], list[int]]:
    """From 1 to 2**63 - 1 for each of any rows, the same for rows whose used columns are equal.

    A column counts by what it is for, not by its name, and not at all where it is empty; a role by whose it
    is. Holds within one process (Python salts its hashes) and among registrations of one formatting.
    """
    main_key, main_keys = _conversation(names) if names.conversation else _alpaca(names)
    others = [(field, column) for field in _OTHERS if (column := getattr(names, field))]

    def other_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        found: tuple[Any, ...] = ()
        for field, column in others:
            value = row.get(column)
            if value not in _BLANK:
                found += (field, _frozen(value))
        return found

    def digest(row: Any) -> int:
        try:
            return hash(main_key(row) + other_key(row))
        except _NO_KEY:  # a row with flaws
            broken = {column: row.get(column) for column in names.columns} if isinstance(row, dict) else row
            return hash(_frozen(broken))

    def digests(rows: Values) -> Iterable[int]:
        members = rows.members
        if members is None:
            return map(digest, rows.all)
        try:
            keys = main_keys(members, len(rows.all))
            if not all(_are_blank(members[column]) for _, column in others if column in members):
                keys = map(add, keys, map(other_key, rows.all))
            return [*map(hash, keys)]
        except _NO_KEY:
            return map(digest, rows.all)

    return lambda rows: [number & _POSITIVE or 1 for number in digests(rows)]


def _are_blank(values: Values) -> bool:
    return values.types <= _BLANK_TYPES and not any(values.all)


def _alpaca(names: Attributes) -> tuple[_Key, _Keys]:
    prompt, query, response = names.prompt, names.query, names.response

    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        get: Callable[[Any], Any] = row.get
        return (get(prompt), get(query) or None, get(response))

    def keys(members: Mapping[str, Values], count: int) -> Iterable[tuple[Any, ...]]:
        asked, added, answered = (
            members[column].all if column is not None and column in members else [None] * count
            for column in (prompt, query, response)
        )
        return zip(asked, [text or None for text in added], answered, strict=True)

    return key, keys


def _conversation(names: Attributes) -> tuple[_Key, _Keys]:
    messages, role_tag, content_tag = names.messages or "", names.role_tag, names.content_tag
    roles = roles_by_tag(names)
    calls_key = "tool_calls" if names.formatting == "openai" else ""

    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        said = tuple([message[content_tag] for message in row[messages]])
        by = tuple([roles[message[role_tag]] for message in row[messages]])
        if calls_key:
            calls = [_frozen(calls) for message in row[messages] if (calls := message.get(calls_key))]
            return (said, by, *calls)
        return (said, by)

    def keys(members: Mapping[str, Values], count: int) -> Iterable[tuple[Any, ...]]:
        said = members[messages]
        parts = said.elements.members
        if said.types != {list} or parts is None or (calls_key in parts and any(parts[calls_key].all)):
            raise TypeError
        by = map(roles.__getitem__, parts[role_tag].all)
        return zip(said.by_list(parts[content_tag].all), said.by_list(by), strict=True)

    return key, keys


def _frozen(value: Any) -> Hashable:
    if isinstance(value, dict):
        return tuple(sorted((key, _frozen(inner)) for key, inner in value.items()))
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    frozen: Hashable = value
    return frozen
