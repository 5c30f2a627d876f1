"""Compose files: the command of each service, with its environment and its GPUs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from qtune.config.project import Project
from qtune.importing.embedded.containers import Container, imported
from qtune.importing.original import Original
from qtune.importing.scripts.shell import Word
from qtune.importing.source import ImportedFile
from qtune.values import KeyPath

_GPU = "gpu"


def recognise(source: ImportedFile, project: Project) -> Original | None:
    """The training that a service's command starts, None where the file is no compose file."""
    services = (source.keys or {}).get("services")
    if not isinstance(services, dict) or not services:
        return None
    services = {name: service for name, service in services.items() if isinstance(service, dict)}
    found = [_container(name, service, source) for name, service in services.items()]
    return imported("a compose file", found, source, project)


def _container(name: str, service: Mapping[str, Any], source: ImportedFile) -> Container:
    words = [
        Word(word.replace("$$", "$"), line)  # how compose writes a dollar
        for key in ("entrypoint", "command")
        for word, line in _words(service.get(key), ("services", name, key), source)
    ]
    return Container(
        name=name,
        words=tuple(words),
        environment=_environment(service.get("environment")),
        image=str(service.get("image") or ""),
        directory=str(service.get("working_dir") or ""),
        gpus=_gpus(service),
        mounts=tuple(str(mount) for mount in service.get("volumes") or () if isinstance(mount, str)),
    )


def _words(given: Any, path: KeyPath, source: ImportedFile) -> list[tuple[str, int]]:
    """(word, line) of a command in either form."""
    if isinstance(given, list):
        return [(str(word), source.lines.get((*path, str(at)), 1)) for at, word in enumerate(given)]
    try:
        words = shlex.split(str(given or ""))
    except ValueError:  # a quote that is not closed
        words = str(given).split()
    return [(word, source.lines.get(path, 1)) for word in words]


def _environment(given: Any) -> dict[str, str | None]:
    if isinstance(given, dict):
        return {name: None if value is None else _text(value) for name, value in given.items()}
    pairs = (str(item).partition("=") for item in given or ())
    return {name: value if equals else None for name, equals, value in pairs}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _gpus(service: Mapping[str, Any]) -> int | None:
    """How many GPUs a service is given, None where all or none are named."""
    for device in _devices(service):
        if isinstance(device.get("device_ids"), list):
            return len(device["device_ids"])
        if isinstance(device.get("count"), int):
            return int(device["count"])
    return None


def _devices(service: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The GPUs under `deploy.resources.reservations.devices` and `gpus`."""
    block: Any = service
    for key in ("deploy", "resources", "reservations", "devices"):
        block = block.get(key) if isinstance(block, dict) else None
    for device in (*(block or ()), *(service["gpus"] if isinstance(service.get("gpus"), list) else ())):
        if isinstance(device, dict) and _GPU in (device.get("capabilities") or [_GPU]):
            yield device
