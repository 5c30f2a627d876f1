"""Names of presets, runs and rendered directories, and names in messages: lists, near misses."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from qtune.errors import QtuneError

# A name becomes a directory, and a word of commands that people type.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def is_name(text: str) -> bool:
    """Whether `valid_name` takes `text`."""
    return bool(_NAME.fullmatch(text))


def valid_name(name: str, kind: str) -> str:
    """`name` itself; raises QtuneError where it could not be a file name and a command word everywhere."""
    if not is_name(name):
        raise QtuneError(
            f"{name!r} is not a {kind} name",
            fix="use letters, digits, '.', '_' and '-', starting with a letter or digit",
        )
    return name


def quoted(names: Iterable[str]) -> str:
    """Names as messages list them: `one`, `two`."""
    return ", ".join(f"`{name}`" for name in names)


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """'did you mean `x`?' for the nearest of `candidates`, None where none is near."""
    near = difflib.get_close_matches(name, list(candidates), n=2, cutoff=0.6)
    return f"did you mean {' or '.join(f'`{match}`' for match in near)}?" if near else None
