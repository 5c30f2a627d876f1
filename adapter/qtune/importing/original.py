"""A file as what it was recognised, with what it says in words that a preset can be made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from qtune.config.project import Project
from qtune.importing.parts import Translation
from qtune.importing.source import ImportedFile
from qtune.values import Value


@dataclass(frozen=True)
class Coverage:
    """How many of another toolkit's keys are in the preset, need nothing here, or are missing."""

    translated: int
    needless: int
    missing: int

    def __str__(self) -> str:
        total = self.translated + self.needless + self.missing
        shares = [f"{self.translated} of {total} keys translated"]
        shares += [f"nothing to do for {self.needless}"] if self.needless else []
        shares += [f"{self.missing} without a counterpart"] if self.missing else []
        return ", ".join(shares)


@dataclass(frozen=True)
class Original:
    """One file's keys as LLaMA-Factory's own, old or new, and what else the file says.

    kind: what it was read as, in words, such as `a LLaMA-Factory config`. source: the file, with all
    directories from which its paths may start. whole: whether it is a whole LLaMA-Factory config, in which
    what it leaves out has the library's default. near_base: its `kl_beta`.
    coverage: of another toolkit's keys.
    """

    kind: str
    source: ImportedFile
    keys: Mapping[str, Value] = field(default_factory=dict)
    part: Translation = field(default_factory=Translation)
    whole: bool = False
    near_base: Value | None = None
    coverage: Coverage | None = None


Recogniser = Callable[[ImportedFile, Project], Original | None]
"""(file, project) → what it is, None where it is of another kind.

Raises QtuneError for a file that is of its kind and cannot be read, or that is no training.
"""
