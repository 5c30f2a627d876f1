"""Which toolkit a config is of, by the keys that only it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qtune.config.project import Project
from qtune.importing.original import Original
from qtune.importing.source import ImportedFile
from qtune.importing.toolkits import firefly, ms_swift, trl, unsloth
from qtune.importing.toolkits.axolotl import axolotl, is_axolotl
from qtune.importing.toolkits.litgpt import is_litgpt, litgpt
from qtune.importing.toolkits.table import Toolkit
from qtune.importing.toolkits.torchtune import is_torchtune, torchtune
from qtune.importing.toolkits.translate import translate
from qtune.importing.toolkits.v1 import is_v1, v1

_CONFIGS: tuple[tuple[Callable[[Mapping[str, Any]], bool], Callable[[], Toolkit]], ...] = (
    (is_axolotl, axolotl),
    (is_torchtune, torchtune),
    (is_litgpt, litgpt),
    (is_v1, v1),
)
"""(whether the keys are a config of it, the toolkit, whose table is read only then)."""

_READ: tuple[Callable[[ImportedFile, Project], Original | None], ...] = (
    ms_swift.recognise,
    trl.recognise,
    firefly.recognise,
    unsloth.recognise,
)
"""The toolkits of which a config's other words say what its keys mean."""


def recognise(source: ImportedFile, project: Project) -> Original | None:
    """A toolkit's config as its translation, None where the file is none."""
    if source.keys is None:
        return None
    for signs, toolkit in _CONFIGS:
        if signs(source.keys):
            return translate(toolkit(), source.values(), source, project)
    return next(filter(None, (read(source, project) for read in _READ)), None)
