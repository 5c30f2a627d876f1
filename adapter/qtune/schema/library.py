"""What the supported LLaMA-Factory is tested with, what that can build, and what is frozen.

Read from a snapshot of its own, because `render` needs nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from qtune.schema import snapshot


@dataclass(frozen=True)
class Package:
    """One of the packages that a training stands on.

    gate: the range outside of which LLaMA-Factory refuses to start (llamafactory/extras/misc.py,
    check_dependencies), None where it has none; range: pyproject.toml's, or LLaMA-Factory's own requirement;
    tested: constraints.txt's version.
    """

    name: str
    gate: str | None
    range: str
    tested: str


@dataclass(frozen=True)
class Composite:
    """Of a model that sees or hears, parts of the names of modules that LLaMA-Factory treats alike.

    Those of the projector, of the towers, of the language model, and those that LoRA keeps away from
    (llamafactory/model/model_utils/visual.py, COMPOSITE_MODELS).
    """

    projector: Sequence[str]
    vision: Sequence[str]
    language: Sequence[str]
    conflicts: Sequence[str]


@cache
def packages() -> Mapping[str, Package]:
    """The packages by name, the library itself first."""
    return {row["name"]: Package(**row) for row in snapshot("library")["packages"]}


@cache
def composites() -> Mapping[str, Composite]:
    """The models that see or hear, by model_type."""
    return {model_type: Composite(**parts) for model_type, parts in snapshot("library")["composites"].items()}


@cache
def model_types() -> frozenset[str]:
    """Every model_type that the tested transformers can build (models/auto/configuration_auto.py)."""
    return frozenset(snapshot("library")["model_types"])
