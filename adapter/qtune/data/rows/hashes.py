"""A number for what is trained on of a row, to find duplicates by."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from qtune.data.attributes import Attributes
from qtune.data.rows.samples import roles_by_tag

_POSITIVE = (1 << 63) - 1
_OTHERS = ("history", "system", "tools", "images", "videos", "audios", "kto_tag", "chosen", "rejected")
_BLANK: tuple[Any, ...] = (None, "", [], {})

_Key = Callable[[Mapping[str, Any]], tuple[Any, ...]]


def row_hasher(names: Attributes) -> Callable[[Any], int]:
    """From 1 to 2**63 - 1 for any row, the same for rows whose used columns are equal.

    A column counts by what it is for, not by its name, and not at all where it is empty; a role by whose it
    is. Holds within one process (Python salts its hashes) and among registrations of one formatting.
    """
    main = _conversation(names) if names.conversation else _alpaca(names)
    others = [(field, column) for field in _OTHERS if (column := getattr(names, field))]

    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        found = main(row)
        for field, column in others:
            value = row.get(column)
            if value not in _BLANK:
                found += (field, _frozen(value))
        return found

    def digest(row: Any) -> int:
        try:
            number = hash(key(row))
        except (KeyError, TypeError, AttributeError):  # a row with flaws
            broken = {column: row.get(column) for column in names.columns} if isinstance(row, dict) else row
            number = hash(_frozen(broken))
        return number & _POSITIVE or 1

    return digest


def _alpaca(names: Attributes) -> _Key:
    prompt, query, response = names.prompt, names.query, names.response

    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        get: Callable[[Any], Any] = row.get
        return (get(prompt), get(query) or None, get(response))

    return key


def _conversation(names: Attributes) -> _Key:
    messages, role_tag, content_tag = names.messages or "", names.role_tag, names.content_tag
    roles = roles_by_tag(names)
    is_openai = names.formatting == "openai"

    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        said = [message[content_tag] for message in row[messages]]
        said += [roles[message[role_tag]] for message in row[messages]]
        if is_openai:
            said += [_frozen(calls) for message in row[messages] if (calls := message.get("tool_calls"))]
        return tuple(said)

    return key


def _frozen(value: Any) -> Hashable:
    if isinstance(value, dict):
        return tuple(sorted((key, _frozen(inner)) for key, inner in value.items()))
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    frozen: Hashable = value
    return frozen
