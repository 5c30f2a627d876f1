"""What the library puts in where a config.json leaves it out, as far as it bears on shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.files import table_beside


def defaults() -> Mapping[str, Mapping[str, Any]]:
    """By model_type; those of the parts of a model that sees, by the part's name and its model_type."""
    found: Mapping[str, Mapping[str, Any]] = table_beside(__file__, "defaults.yaml")
    return found
