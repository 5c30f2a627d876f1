"""The model types whose shapes follow from config.json alone."""

from __future__ import annotations

from collections.abc import Mapping

from qtune.predict.models.decoder import Family
from qtune.predict.models.own_code import OWN_CODE
from qtune.predict.models.text import TEXT
from qtune.predict.models.vision import VISION

FAMILIES: Mapping[str, Family] = {**TEXT, **OWN_CODE, **VISION}
"""By model_type."""
