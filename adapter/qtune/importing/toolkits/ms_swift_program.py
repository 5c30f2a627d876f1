"""Python programs that train with ms-swift: `sft_main(SftArguments(…))`, read as its command's options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qtune.config.project import Project
from qtune.importing.original import Original
from qtune.importing.parts import Translation, warned
from qtune.importing.python import PythonCall, plain, unknowns, why_unknown
from qtune.importing.source import ImportedFile
from qtune.importing.toolkits import ms_swift
from qtune.values import Value

# swift/arguments/, and the names of 3.x.
_METHODS: Mapping[str, str] = {
    **dict.fromkeys(("SftArguments", "TrainArguments"), "sft"),
    **dict.fromkeys(("PretrainArguments", "PtArguments"), "pt"),
    "RLHFArguments": "rlhf",
}


def translate(calls: Sequence[PythonCall], source: ImportedFile, project: Project) -> Original | None:
    """The training of the first call that makes its arguments, None where there is none.

    Raises QtuneError like `ms_swift.read`.
    """
    call = next((call for call in calls if call.function in _METHODS and "model" in call.keywords), None)
    if call is None:
        return None
    keys: dict[str, Value] = {}
    part = Translation()
    for key, value in call.keywords.items():
        if found := unknowns(value):
            part += warned(key, f"left out: {why_unknown(found[0][1])}", "set it in the preset", value.origin)
        else:
            keys[key] = Value(plain(value), value.origin)
    read = ms_swift.read(_METHODS[call.function], keys, source, project)
    return replace(read, kind="a Python program with ms-swift", part=part + read.part)
