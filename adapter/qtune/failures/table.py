"""The table of known failures, known.yaml, which is read when one has to be judged."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from qtune.files import table_beside


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure that is known: how it is recognised, where it comes from, what to do.

    patterns: regular expressions, of which one is found in a line of the child's output; none where qtune
    notices it by other means. cause and fix may name their groups, as {name}.
    source: who says so, or where the words stand: the library's file, or a thread (#n: LLaMA-Factory's).
    words: what the record says of it, where qtune notices it itself.
    out_of_memory: whether a smaller step of the training may help.
    follows: what the other processes say when one has failed: told where nothing else is known.
    """

    id: str
    patterns: tuple[re.Pattern[str], ...]
    cause: str
    fix: str
    source: str
    words: str = ""
    out_of_memory: bool = False
    follows: bool = False


@cache
def rows() -> tuple[Failure, ...]:
    """Every known failure, in the order of the table.

    Raises TypeError for a field that `Failure` does not have, re.error for a pattern that is none.
    """
    return tuple(
        Failure(**{**row, "patterns": tuple(map(re.compile, row.get("patterns", ())))})
        for row in table_beside(__file__, "known.yaml")
    )


def row(id: str) -> Failure:
    """The known failure of that id."""
    return next(failure for failure in rows() if failure.id == id)
