"""The types that pandas gives the columns of a CSV file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

_NOT_A_NUMBER = ("-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "NaN", "nan")
_ABSENT = ("", "#N/A", "#N/A N/A", "#NA", "<NA>", "N/A", "NA", "NULL", "None", "n/a", "null")
NO_VALUES = frozenset((*_NOT_A_NUMBER, *_ABSENT))
"""pandas/_libs/parsers.pyx, STR_NA_VALUES"""

_whole = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]+[ \t\n\v\f\r]*").fullmatch
_number = re.compile(
    r"[ \t\n\v\f\r]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t\n\v\f\r]*"
).fullmatch
_infinity = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE).fullmatch
_TRUTHS = {"true": True, "false": False}
_INT64 = range(-(2**63), 2**63)
_UINT64 = range(2**64)
_MOST_DIGITS = 20


def typed(values: Sequence[str]) -> Sequence[Any]:
    """The values of one column of what pandas reads at once: numbers or truth values if all are, else text.

    Source: pandas/_libs/parsers.pyx, TextReader._convert_tokens.
    """
    present = [value for value in values if value not in NO_VALUES]
    if not present:
        return [None] * len(values)
    read = _numbers(present, complete=len(present) == len(values)) or _truths(present) or present
    remaining = iter(read)
    return [None if value in NO_VALUES else next(remaining) for value in values]


def _numbers(present: Sequence[str], complete: bool) -> list[Any] | None:
    whole = []
    for value in present:
        if not _whole(value):
            return _fractions(present)
        if len(value.strip().lstrip("+-0")) > _MOST_DIGITS:  # Python would not read thousands of them
            return None
        number = int(value)
        if number not in _INT64 and number not in _UINT64:
            return None
        whole.append(number)
    if any(number not in _INT64 for number in whole):
        return whole if complete and all(number in _UINT64 for number in whole) else None
    return whole if complete else [float(number) for number in whole]


def _fractions(present: Sequence[str]) -> list[float] | None:
    read = []
    for value in present:
        if not (_number(value) or _infinity(value)):
            return None
        read.append(float(value))
        if math.isinf(read[-1]) and not _infinity(value):
            return None
    return read


def _truths(present: Sequence[str]) -> list[bool] | None:
    read = [_TRUTHS.get(value.lower()) for value in present]
    return None if None in read else read  # type: ignore[return-value]
