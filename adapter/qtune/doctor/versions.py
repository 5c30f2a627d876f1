"""Version numbers, and whether one lies in a range such as `>=4.55,!=4.57.0,<5.6`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

_RELEASE = re.compile(r"\d+(?:\.\d+)*")
_CLAUSE = re.compile(r"(>=|<=|==|!=|<|>)\s*(.+)")
_COMPARE: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}


def release(version: str) -> tuple[int, ...]:
    """A version's numbers, without trailing zeros, tag and pre-release mark: 2.11.0+cu130 is (2, 11)."""
    found = _RELEASE.match(version)
    numbers = [int(part) for part in found[0].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def in_range(version: str, clauses: str) -> bool:
    """Whether `version` fulfils all clauses, with commas between; none are fulfilled by any version."""
    parts = [_CLAUSE.fullmatch(clause.strip()) for clause in clauses.split(",") if clause.strip()]
    return all(part is None or _COMPARE[part[1]](release(version), release(part[2])) for part in parts)
