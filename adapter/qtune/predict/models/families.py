"""The model types whose shapes follow from config.json alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from qtune.files import table_beside
from qtune.predict.models.decoder import Family
from qtune.predict.models.hybrid import HYBRID
from qtune.predict.models.own_code import OWN_CODE
from qtune.predict.models.sparse import SPARSE
from qtune.predict.models.text import TEXT
from qtune.predict.models.vision import VISION

FAMILIES: Mapping[str, Family] = {**TEXT, **SPARSE, **HYBRID, **OWN_CODE, **VISION}
"""By model_type."""


@cache
def defaults() -> Mapping[str, Mapping[str, Any]]:
    """What the library puts in where the file leaves it out, as far as it bears on shapes; by model_type."""
    found: Mapping[str, Mapping[str, Any]] = table_beside(__file__, "defaults.yaml")
    return found
