"""Secrets, which nobody may read later: tokens, keys and passwords are taken out of records and logs."""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from qtune.files import write_together

REDACTED = "<redacted>"

# Names of variables and options; `cutoff_len`, `split_special_tokens` and `tokenized_path` are none.
_NAME = re.compile(
    r"(?i)(?:^|[_-])(?:token|key|secret|credentials?|authorization|webhook_url)$|passw(?:or)?d$"
)
_SHORTEST = 8  # a shorter value, such as `1`, would be found everywhere
_SHAPES = (
    re.compile(r"(?<![A-Za-z0-9])(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,})"),
    re.compile(r"(?<![A-Za-z0-9])(?:glpat-[A-Za-z0-9_-]{16,}|ms-[0-9a-f]{8}-[0-9a-f-]{27}|AKIA[A-Z0-9]{16})"),
    re.compile(r"(?i)(?<=bearer )[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"(?<=://)[^/\s'\"@]+(?=@)"),  # user and password of an address
)


def is_secret(name: str) -> bool:
    """Whether a variable or option of this name holds a secret."""
    return _NAME.search(name) is not None


def known(environment: Mapping[str, str]) -> list[str]:
    """The secret values of an environment, longest first."""
    found = {value for name, value in environment.items() if is_secret(name) and len(value) >= _SHORTEST}
    return sorted(found, key=len, reverse=True)


def redacted(value: Any, secrets: Sequence[str] = ()) -> Any:
    """A plain value with everything secret in it replaced.

    That is what is in `secrets`, what has the shape of a token, and what a secret's name stands before:
    as a key of a mapping, or in `NAME=VALUE`.
    """
    if isinstance(value, Mapping):
        return {
            key: REDACTED if is_secret(str(key)) and isinstance(item, str) else redacted(item, secrets)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(item, secrets) for item in value]
    if not isinstance(value, str):
        return value
    for secret in secrets:
        value = value.replace(secret, REDACTED)
    for shape in _SHAPES:
        value = shape.sub(REDACTED, value)
    name, equals, _ = value.partition("=")
    return f"{name}={REDACTED}" if equals and is_secret(name) else value


def clean(log: Path, secrets: Sequence[str]) -> None:
    """Take what is secret out of a log that nobody writes to any more; it is written anew only then."""
    patterns = [re.escape(secret.encode()) for secret in secrets]
    patterns += [shape.pattern.encode() for shape in _SHAPES]
    if not log.is_file() or log.stat().st_size == 0:
        return
    with log.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = [pattern for pattern in patterns if re.search(pattern, content)]
        text = content[:] if found else b""
    for pattern in found:
        text = re.sub(pattern, REDACTED.encode(), text)
    if found:
        with suppress(OSError), write_together(log) as (cleaned,):
            cleaned.write(text)
