"""The containers that a compose file or a Kubernetes manifest describes, as commands with an environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.importing.embedded.start import in_a_container, nothing_starts
from qtune.importing.original import Original
from qtune.importing.parts import Translation, noted
from qtune.importing.scripts.shell import Command, Word
from qtune.importing.source import ImportedFile
from qtune.values import Value

_NPROC = ("launch", "nproc_per_node")
NOT_THE_IMAGE = "is not taken over: qtune trains with the LLaMA-Factory that is installed here"


@dataclass(frozen=True)
class Container:
    """One container: the words that it runs, each with its line, and what it is given.

    environment: None for a value that is kept elsewhere; gpus: how many of each node, None where it is not
    said; nodes: on how many of them it runs.
    """

    name: str
    words: tuple[Word, ...]
    environment: Mapping[str, str | None] = field(default_factory=dict)
    image: str = ""
    directory: str = ""
    gpus: int | None = None
    nodes: int = 1
    mounts: tuple[str, ...] = ()


def imported(kind: str, containers: list[Container], source: ImportedFile, project: Project) -> Original:
    """The training that one of the containers starts, on its GPUs.

    Raises QtuneError where none does, or several do.
    """
    found: list[tuple[Container, Original]] = []
    for container in containers:
        if container.words:
            mounted = _mounted(container, source)
            original = in_a_container(kind, _script(container), mounted, project)
            found += [(container, original)] if original else []
    if not found:
        raise nothing_starts(kind, source)
    if len(found) > 1:
        names = ", ".join(f"`{container.name}`, line {container.words[0].line}" for container, _ in found)
        fix = "copy the one that you want to a file of its own, with what it needs"
        raise QtuneError(f"starts LLaMA-Factory {len(found)} times ({names})", where=source.display, fix=fix)
    container, original = found[0]
    origin, part = source.at(container.words[0].line), original.part
    if container.gpus is not None and _NPROC not in part.values:
        message = f"launch.nproc_per_node: {container.gpus}, the GPUs of `{container.name}`"
        part += Translation({_NPROC: Value(container.gpus, origin)}) + noted("gpus", message, origin)
    if container.image:
        part += noted("image", f"{container.image} {NOT_THE_IMAGE}", origin)
    if container.mounts:
        part += noted("volumes", f"read as this machine's paths: {', '.join(container.mounts)}", origin)
    return replace(original, part=part)


def _mounted(container: Container, source: ImportedFile) -> ImportedFile:
    pairs = (mount.split(":") for mount in container.mounts)
    return replace(source, mounts=tuple((pair[1], pair[0]) for pair in pairs if len(pair) > 1))


def _script(container: Container) -> list[Command]:
    line = container.words[0].line
    given = {
        name: Word("", line, f"`{name}` is kept elsewhere") if text is None else Word(text, line)
        for name, text in container.environment.items()
    }
    if container.nodes > 1:
        given = {"NNODES": Word(str(container.nodes), line), **given}
    entered = Command((Word("cd", line), Word(container.directory, line)), {}, {})
    return [*([entered] if container.directory else []), Command(container.words, {}, given)]
