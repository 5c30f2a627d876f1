"""Files of other kinds that hold what starts a training: programs, notebooks, containers, other shells."""

from __future__ import annotations

import re

from qtune.config.project import Project
from qtune.importing.embedded import cells, compose, dockerfile, kubernetes, makefile, program, windows
from qtune.importing.embedded.start import nothing_starts, started
from qtune.importing.original import Original, Recogniser
from qtune.importing.scripts.shell import commands
from qtune.importing.source import ImportedFile

_BATCH = re.compile(r"(?im)^\s*(?:@echo\s+off|set\s+\w+=|llamafactory-cli\b.*\^\s*$)")
_POWERSHELL = re.compile(r"(?im)^\s*\$env:\w+\s*=")


def recognise(source: ImportedFile, project: Project) -> Original | None:
    """The training of the first of the kinds below that the file is, None where it is none of them."""
    for kind in _KINDS:
        original = kind(source, project)
        if original is not None:
            return original
    return None


def _python(source: ImportedFile, project: Project) -> Original | None:
    if source.path.suffix != ".py":
        return None
    original = program.recognise("a Python program", source, project)
    if original is None:
        raise nothing_starts("a Python program", source)
    return original


def _windows(source: ImportedFile, project: Project) -> Original | None:
    suffix, text = source.path.suffix.lower(), source.text
    if suffix == ".ps1" or (not suffix and source.keys is None and _POWERSHELL.search(text)):
        kind, script = "a PowerShell script", commands(windows.of_powershell(text))
    elif suffix in (".bat", ".cmd") or (source.keys is None and _BATCH.search(text)):
        kind, script = "a batch file", commands(windows.of_batch(text))
    else:
        return None
    original = started(kind, script, source, project)
    if original is None:
        raise nothing_starts(kind, source)
    return original


_KINDS: tuple[Recogniser, ...] = (
    _python,
    cells.notebook,
    cells.markdown,
    dockerfile.recognise,
    compose.recognise,
    kubernetes.recognise,
    makefile.recognise,
    _windows,
)
