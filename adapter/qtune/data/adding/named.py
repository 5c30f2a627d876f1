"""The columns and tags that a user names for data, and the command that names those of data nobody knows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qtune.config.names import did_you_mean, quoted
from qtune.errors import QtuneError
from qtune.schema import column_keys, tag_keys

_BETWEEN = re.compile(r",(?=\w+=)")  # a name may hold commas
_ALPACA = ("prompt", "query", "response", "history")


@dataclass(frozen=True)
class Named:
    """Columns of rows, and keys and roles of messages, by the keys of dataset_info.json."""

    columns: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def are_alpaca(self) -> bool:
        """Whether the rows are questions with answers, and no lists of messages."""
        return "messages" not in self.columns and any(column in self.columns for column in _ALPACA)

    @property
    def entry(self) -> dict[str, Any]:
        """The registration of data that nobody has looked at."""
        entry: dict[str, Any] = {"formatting": "sharegpt"} if self.tags or "messages" in self.columns else {}
        if {"chosen", "rejected"} <= self.columns.keys():
            entry["ranking"] = True
        blocks = {"columns": dict(self.columns), "tags": dict(self.tags)}
        return entry | {name: block for name, block in blocks.items() if block}


def read_named(columns: Sequence[str], tags: Sequence[str]) -> Named:
    """`KEY=NAME,…` as --columns and --tags take it; raises QtuneError for another form and unknown keys."""
    return Named(
        _pairs("--columns", columns, list(column_keys()), "prompt=question,response=answer"),
        _pairs("--tags", tags, list(tag_keys()), "role_tag=role,content_tag=text"),
    )


def naming(asked: Sequence[str], columns: Mapping[str, str], tags: Mapping[str, str] | None = None) -> str:
    """The command that registers what `data add` was asked for with these columns and tags."""
    words = ["qtune", "data", "add", *asked]
    for option, pairs in (("--columns", columns), ("--tags", tags or {})):
        if pairs:
            words += [option, ",".join(f"{key}={name}" for key, name in pairs.items())]
    return f"`{shlex.join(words)}`"


def _pairs(option: str, given: Sequence[str], known: Sequence[str], example: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in (part for item in given for part in _BETWEEN.split(item)):
        key, _, name = text.partition("=")
        if not key or not name:
            fix = f"write e.g. {option} {example}"
            raise QtuneError(f"`{text}` is not KEY=NAME", where=option, fix=fix)
        if key not in known:
            fix = did_you_mean(key, known) or f"known here: {', '.join(known)}"
            raise QtuneError(f"LLaMA-Factory has no key `{key}`", where=option, fix=fix)
        if key in pairs:
            what = f"`{key}` is named twice: {quoted((pairs[key], name))}"
            raise QtuneError(what, where=option, fix="keep one of them")
        pairs[key] = name
    return pairs
