"""What a run's record has to be for qtune to read it: the type of each key that a command looks at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Types = tuple[type, ...]
_NONE = type(None)
_TEXT: Types = (str, _NONE)
_NUMBER: Types = (int, _NONE)
_MAPPING: Types = (dict, _NONE)
_MOST = 2**63

# Other keys are kept as they are. None counts as a key that is not there.
_RECORD: Mapping[str, Types] = {
    "status": (str,),
    "preset": _TEXT,
    "host": _TEXT,
    "pid": _NUMBER,
    "job_id": _TEXT,
    "started": _TEXT,
    "ended": _TEXT,
    "reason": _TEXT,
    "exit_code": _NUMBER,
    "global_step": _NUMBER,
    "predicted_steps": _NUMBER,
    "attempts": (list, _NONE),
    "data": (list, _NONE),
    "failure": _MAPPING,
    "metrics": _MAPPING,
    "versions": _MAPPING,
}
_ATTEMPT: Mapping[str, Types] = {"status": (str,), "started": (str,), "changes": (dict,), "from_step": (int,)}
_FAILURE: Mapping[str, Types] = {"cause": (str,), "fix": (str,)}
_DATA: Mapping[str, Types] = {"files": (dict,)}
_SHOWN = ("status", "preset", "host", "job_id", "started")


def flaw(record: Any) -> str | None:
    """What makes it no record, in words that name the key; None where nothing does."""
    if (found := _flaw(record, _RECORD)) is not None:
        return found
    for key, types in (("attempts", _ATTEMPT), ("data", _DATA)):
        for number, part in enumerate(record.get(key) or ()):
            if (found := _flaw(part, types)) is not None:
                return f"`{key}` {number}: {found}"
    if record.get("failure") and (found := _flaw(record["failure"], _FAILURE)) is not None:
        return f"`failure`: {found}"
    return None


def _flaw(part: Any, types: Mapping[str, Types]) -> str | None:
    if not isinstance(part, dict):
        return "is no mapping of keys"
    for key, allowed in types.items():
        value = part.get(key)
        if type(value) not in allowed:
            return f"`{key}` is not there" if value is None else f"`{key}` is {type(value).__name__}"
        if type(value) is int and abs(value) >= _MOST:
            return f"`{key}` is a number of {len(str(value))} digits"
        if key in _SHOWN and value is not None and not value.isprintable():
            return f"`{key}` cannot be printed"
    return None
