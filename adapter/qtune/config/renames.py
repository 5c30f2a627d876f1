"""Arguments and values of older releases, and what they became: the table renames.yaml."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from qtune.files import table_beside

Others = Mapping[str, Any]
"""All arguments of the old config by their old names, where a translation depends on more than one."""


@dataclass(frozen=True)
class Renamed:
    """One argument that went away.

    last: the release that still had it; successor: the argument that replaces it, None where none does;
    note: how the value changes, or what holds or to do instead.
    A successor takes the value as it is but where one of these says otherwise. only: the values that need no
    successor, since they are what happens now anyway; if_true: the arguments that say the same as true;
    translation: the name of a function of this module.
    """

    name: str
    last: str
    successor: str | None = None
    note: str = ""
    only: Sequence[Any] | None = None
    if_true: Mapping[str, Any] | None = None
    translation: str | None = None

    def __str__(self) -> str:
        """What became of it, as a fix reads."""
        note = f": {self.note}" if self.note else ""
        if self.successor is None:
            return f"`{self.name}` went away after {self.last}{note}"
        return f"`{self.name}` became `{self.successor}` after {self.last}{note}"

    def translate(self, value: Any, others: Others) -> Mapping[str, Any] | None:
        """The arguments that replace this one: {} where nothing needs to, None where nothing can."""
        if self.translation is not None:
            return _TRANSLATIONS[self.translation](value, others)
        if self.if_true is not None:
            return self.if_true if value else {}
        if self.only is not None:
            return {} if value in self.only else None
        return {} if self.successor is None else {self.successor: value}


@dataclass(frozen=True)
class RenamedValue:
    """One value that an argument does not take, or takes no more.

    last: the release that still took it, None where none did; becomes: the arguments that say the same, None
    where none do.
    """

    name: str
    old: str | bool
    last: str | None = None
    becomes: Mapping[str, Any] | None = None
    note: str = ""

    def __str__(self) -> str:
        """What became of it, as a fix reads."""
        old = f"`{self.name}: {str(self.old).lower() if isinstance(self.old, bool) else self.old}`"
        note = f": {self.note}" if self.note else ""
        if self.becomes is None:
            return f"{old} went away after {self.last}{note}"
        new = ", ".join(
            f"`{name}: {str(value).lower() if isinstance(value, bool) else value}`"
            for name, value in self.becomes.items()
        )
        return f"{old} became {new} after {self.last}{note}" if self.last else f"{old} is {new}{note}"


@cache
def renamed() -> Mapping[str, Renamed]:
    """The arguments that went away, by their old names."""
    releases = _table()["arguments"].items()
    return {name: Renamed(name, last, **row) for last, rows in releases for name, row in rows.items()}


@cache
def renamed_values() -> Sequence[RenamedValue]:
    """The values that an argument no longer takes."""
    return [RenamedValue(name, **row) for name, rows in _table()["values"].items() for row in rows]


def renamed_value(name: str, value: Any) -> RenamedValue | None:
    """The row for this value of this argument, None where the value is still taken."""
    # a shell command has only text: `--flash_attn True`
    word = value.lower() if isinstance(value, str) else value
    for row in renamed_values():
        old = str(row.old).lower() if isinstance(word, str) else row.old
        if row.name == name and type(old) is type(word) and old == word:
            return row
    return None


def _table() -> Any:
    return table_beside(__file__, "renames.yaml")


def _adapter(value: Any, others: Others) -> Mapping[str, Any] | None:
    # with full and freeze tuning it was the model to load (v0.3.3 model/loader.py)
    if others.get("finetuning_type", "lora") == "lora":
        return {"adapter_name_or_path": value}
    return {"model_name_or_path": value} if "," not in str(value) else None


def _cutoff_len(value: Any, others: Others) -> Mapping[str, Any] | None:
    # v0.1.8 dsets/preprocess.py: blocks of max_source_length in pre-training, the sum of both elsewhere
    source, target = (others.get(f"max_{part}_length", 512) for part in ("source", "target"))
    if not isinstance(source, int) or not isinstance(target, int):
        return None
    return {"cutoff_len": source if others.get("stage") == "pt" else source + target}


def _fsdp(name: str, value: Any, others: Others) -> Mapping[str, Any] | None:
    if not value:
        return {}
    return None if others.get("fsdp_config") else {"fsdp_config": {name: value}}


_TRANSLATIONS: Mapping[str, Callable[[Any, Others], Mapping[str, Any] | None]] = {
    "adapter": _adapter,
    "cutoff_len": _cutoff_len,
    "fsdp_layer": partial(_fsdp, "transformer_layer_cls_to_wrap"),
    "fsdp_size": partial(_fsdp, "min_num_params"),
    "ktransformers": lambda value, others: None if others.get("use_kt") else {},
    "logger": lambda value, others: {"report_to": value} if value and others.get("stage") == "ppo" else {},
    "new_adapter": lambda value, others: (
        {"create_new_adapter": not value} if isinstance(value, bool) else None
    ),
    "noise": lambda value, others: {"neftune_noise_alpha": value} if value else {},
    "orpo_beta": lambda value, others: {"pref_beta": value} if others.get("stage") == "orpo" else {},
    "system": lambda value, others: {"default_system": value} if "|" not in str(value) else None,
}
