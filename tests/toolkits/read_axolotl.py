"""axolotl's schema reads configs: a line for each that it refuses, or in which it knows a key not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml
from axolotl.integrations.liger.args import LigerArgs
from axolotl.utils.schemas.config import AxolotlInputConfig
from pydantic import ValidationError

# Keys that its schema takes and drops, and those of its plugins.
FIELDS = {**AxolotlInputConfig.model_fields, **LigerArgs.model_fields}
KNOWN = {*FIELDS, *(field.alias for field in FIELDS.values())}


def flaws(keys: dict[str, Any]) -> list[str]:
    try:
        AxolotlInputConfig(**keys)
    except (ValidationError, DeprecationWarning) as error:
        return [str(error)]
    return [f"{key} is unknown" for key in keys if key not in KNOWN]


found = False
for name in sys.argv[1:]:
    for flaw in flaws(yaml.safe_load(Path(name).read_text(encoding="utf-8"))):
        found = True
        print(f"{name}: {flaw}")
sys.exit(found)
