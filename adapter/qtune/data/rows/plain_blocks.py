"""Telling blocks of ordinary good rows from all others, without going from row to row.

To the recognizer of single rows a text is null, empty, blank or any other, or else something that it looks
into, and that this module's is not. So rows with texts in the same places are alike to it, and it is asked
about one of each kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

from qtune.data.attributes import Attributes
from qtune.data.reading.values import Values
from qtune.data.rows.plain import Recognizer

_TEXT = "x"
"""For any text that is not blank. It is no tool call and no list of tools."""

_EXAMPLES: dict[frozenset[type], Sequence[Any]] = {
    frozenset({str}): (_TEXT, " ", ""),
    frozenset({str, type(None)}): (_TEXT, " ", "", None),
    frozenset({type(None)}): (None,),
    frozenset({bool}): (True, False),
}


def block_recognizer(names: Attributes, is_plain: Recognizer) -> Callable[[Values], bool]:
    """True for rows that the recognizer of single rows passes, False for such as are to be shown to it."""

    def are_plain(rows: Values) -> bool:
        if names.ranking or rows.members is None:  # answers are compared with each other, row by row
            return False
        used = {column: values for column in names.columns if (values := rows.members.get(column))}
        examples = [
            _conversations(names, values) if column == names.messages else _examples(values)
            for column, values in used.items()
        ]
        return all(examples) and all(
            is_plain(dict(zip(used, row, strict=True))) for row in product(*examples)
        )

    return are_plain


def _examples(values: Values) -> Sequence[Any]:
    """Values that all of these are like; none where that cannot be said."""
    return (_TEXT,) if _are_said(values) else _EXAMPLES.get(frozenset(values.types), ())


def _conversations(names: Attributes, values: Values) -> Sequence[Any]:
    """One conversation for each order of roles; none where there is more in them than roles and texts."""
    members = values.elements.members
    if values.types != {list} or not members or not members.keys() >= {names.role_tag, names.content_tag}:
        return ()
    roles, calls = members[names.role_tag], members.get("tool_calls")
    if roles.types != {str} or not _are_said(members[names.content_tag]) or (calls and any(calls.all)):
        return ()
    return [
        [{names.role_tag: role, names.content_tag: _TEXT} for role in order]
        for order in set(values.by_list(roles.all))
    ]


def _are_said(values: Values) -> bool:
    """Whether all are texts, and none of them blank."""
    return values.types == {str} and all(values.all) and not any(map(str.isspace, values.all))
