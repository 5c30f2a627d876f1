"""torchtune's `tune validate` of configs: a line for each that it refuses."""

from __future__ import annotations

import sys

from omegaconf import OmegaConf
from torchtune import config
from torchtune.config._errors import ConfigError

found = False
for name in sys.argv[1:]:
    try:
        config.validate(OmegaConf.load(name))
    except ConfigError as error:
        found = True
        print(f"{name}: {error}")
sys.exit(found)
