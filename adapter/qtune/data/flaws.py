"""What can be wrong with a row, and what LLaMA-Factory does with such a row; the texts are in flaws.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from string import Template
from typing import Any, Literal

from qtune.files import table_beside

Effect = Literal["refused", "crash", "dropped", "kept"]
"""What LLaMA-Factory does: refuse the whole file, stop the training at this row, leave the row out with at
most a warning, or train on it although it says something else than it seems to."""

KINDS: Mapping[type, str] = {
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
"""What messages call a value of JSON."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing wrong with one row.

    kind: a short name, the same for all rows that fail alike; message: what is wrong, without what differs
    from row to row, so that rows can be grouped by it; fix: what to do about it.
    """

    kind: str
    effect: Effect
    message: str
    fix: str

    @classmethod
    @lru_cache(maxsize=1024)
    def of(cls, id: str, /, **words: Any) -> Flaw:
        """The flaw of that id in flaws.yaml, with the words filled in that its message and fix name.

        Raises KeyError for an id or a word that is missing.
        """
        row = _table()[id]
        message, fix = (Template(row[part]).substitute(words) for part in ("message", "fix"))
        return cls(row.get("kind", id), row["effect"], message, fix)


def _table() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = table_beside(__file__, "flaws.yaml")
    return table
