"""The model types whose shapes follow from config.json alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.predict.models.composed import COMPOSED, parts_are_known
from qtune.predict.models.decoder import Family
from qtune.predict.models.deepseek import DEEPSEEK
from qtune.predict.models.gemma4 import GEMMA4
from qtune.predict.models.hybrid import HYBRID
from qtune.predict.models.own_code import OWN_CODE
from qtune.predict.models.qwen_vision import QWEN_VISION
from qtune.predict.models.recurrent import RECURRENT
from qtune.predict.models.sparse import SPARSE
from qtune.predict.models.text import TEXT
from qtune.predict.models.vision import VISION

FAMILIES: Mapping[str, Family] = {
    **TEXT,
    **SPARSE,
    **DEEPSEEK,
    **HYBRID,
    **RECURRENT,
    **OWN_CODE,
    **QWEN_VISION,
    **VISION,
    **GEMMA4,
    **COMPOSED,
}
"""By model_type."""


def family_of(content: Mapping[str, Any]) -> Family | None:
    """The family of a config.json's content, None where its model_type or that of a part of it has none."""
    model_type = content.get("model_type")
    if model_type in COMPOSED and not parts_are_known(content):
        return None
    return FAMILIES.get(str(model_type))
