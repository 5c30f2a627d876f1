"""The model types whose shapes follow from config.json alone."""

from __future__ import annotations

from collections.abc import Mapping

from qtune.predict.decoder import Family
from qtune.predict.own_code_models import OWN_CODE
from qtune.predict.text_models import TEXT
from qtune.predict.vision_models import VISION

FAMILIES: Mapping[str, Family] = {**TEXT, **OWN_CODE, **VISION}
"""By model_type."""
