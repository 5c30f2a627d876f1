"""What an import has found out so far: values for a preset, and what there is to say about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qtune.values import Finding, KeyPath, Origin, Value

Registered = Mapping[str, Mapping[str, Any]]
"""Dataset registrations by name, in dataset_info.json's keys; paths are absolute or start at data/."""


@dataclass(frozen=True)
class Note:
    """Something that was translated or left out, and why that loses nothing."""

    key: str
    message: str
    origin: Origin | None = None

    def __str__(self) -> str:
        where = " ".join(part for part in (self.origin.place if self.origin else "", self.key) if part)
        return f"{where}: {self.message}"


@dataclass(frozen=True)
class Translation:
    """What was read, or a part of it, in a preset's words.

    values: by path, as in a preset; an explicit null is a value of None. datasets: registrations that the
    project needs; notes and findings: what was changed, and what could not be taken over.
    """

    values: Mapping[KeyPath, Value] = field(default_factory=dict)
    datasets: Registered = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    findings: tuple[Finding, ...] = ()

    def __add__(self, other: Translation) -> Translation:
        """Both; where both set a value, the other's."""
        return Translation(
            {**self.values, **other.values},
            {**self.datasets, **other.datasets},
            (*self.notes, *other.notes),
            (*self.findings, *other.findings),
        )

    def train(self, name: str, default: Any = None) -> Any:
        """The plain value of an argument, `default` where it is not set."""
        found = self.values.get(("train", name))
        return default if found is None or found.value is None else found.value


def noted(key: str, message: str, origin: Origin | None) -> Translation:
    """A part that says one thing."""
    return Translation(notes=(Note(key, message, origin),))


def refused(key: str, message: str, fix: str, origin: Origin | None) -> Translation:
    """A part that stops the import: what it is about would be lost."""
    return Translation(findings=(Finding("error", key, message, fix, origin),))


def warned(key: str, message: str, fix: str, origin: Origin | None) -> Translation:
    """A part that the user has to act on, though nothing of the training is lost."""
    return Translation(findings=(Finding("warning", key, message, fix, origin),))
