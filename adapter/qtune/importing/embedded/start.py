"""The training that the commands in a file of another kind start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from posixpath import normpath

from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.importing.original import Original
from qtune.importing.parts import Translation, noted
from qtune.importing.scripts import commands
from qtune.importing.scripts.shell import Command
from qtune.importing.source import ImportedFile

_CONFIG = re.compile(r"(?<![\w.@/-])[\w.@/-]+\.(?:ya?ml|json)\b")

_MOST = 100  # files that a container may name


def started(kind: str, script: list[Command], source: ImportedFile, project: Project) -> Original | None:
    """The training that one of the commands starts, None where none does; kind: of the file, in words."""
    original = commands.started(script, source, project)
    if original is None:
        return None
    return replace(original, kind=f"a command in {kind}")


def in_a_container(
    kind: str, script: list[Command], source: ImportedFile, project: Project
) -> Original | None:
    """The training that one of the commands starts in a container, whose paths are not this machine's.

    A config of the container is read from beside the source, where one of that name lies there.
    """
    written, part = dict(source.written), Translation()
    words = [word for command in script for word in command.words]
    named = {name: word.line for word in reversed(words) for name in _CONFIG.findall(word.text)}
    for name, line in list(named.items())[-_MOST:]:
        if source.named(name) is not None:
            continue
        parts = PurePosixPath(name).parts
        tails = (str(PurePosixPath(*parts[at:])) for at in range(1, len(parts)))
        file = next(filter(None, (source.named(tail) for tail in tails)), None)
        if file is not None:
            written[normpath(name)] = file
            part += noted("", f"{name} of the container is {file.display} here", source.at(line))
    original = started(kind, script, replace(source, written=written), project)
    return None if original is None else replace(original, part=original.part + part)


def nothing_starts(kind: str, source: ImportedFile) -> QtuneError:
    """The error for a file whose commands start no training."""
    fix = "import the config that is trained, or the script that starts it"
    return QtuneError(
        f"is {kind} in which nothing starts a training of LLaMA-Factory", where=source.display, fix=fix
    )


def held(name: str, text: str, line: int, source: ImportedFile) -> Mapping[str, ImportedFile]:
    """The config `name` that the source holds from that line on, by its path; {} where it is none."""
    try:
        file = source.writes(text, line)
    except QtuneError:
        return {}
    return {normpath(name): file} if file.keys else {}
