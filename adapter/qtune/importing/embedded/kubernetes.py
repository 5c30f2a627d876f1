"""Kubernetes manifests: the command of each container, with its environment, its GPUs and its nodes.

A ConfigMap of the same file may hold the config that the command trains.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.files import parse_yaml
from qtune.importing.embedded.containers import Container, imported
from qtune.importing.embedded.start import held
from qtune.importing.original import Original
from qtune.importing.scripts.shell import Word
from qtune.importing.source import ImportedFile
from qtune.values import KeyPath

_MANIFEST = re.compile(r"(?m)^apiVersion:")
_BETWEEN = re.compile(r"(?m)^---(?:[ \t].*)?$")
_MOST = 500
_LONGEST = 200  # of a variable within a word
_REPLICAS = ("pytorchReplicaSpecs", "mpiReplicaSpecs")
_VARIABLE = re.compile(r"\$\(([A-Za-z_]\w*)\)")


@dataclass(frozen=True)
class _Manifest:
    """One document: its content, the line of each key, and how many lines stand before it."""

    data: Mapping[str, Any]
    lines: Mapping[KeyPath, int]
    above: int

    def line(self, *path: str) -> int:
        """Of the key at `path`, or of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.above + self.lines.get(path, 1)


def recognise(source: ImportedFile, project: Project) -> Original | None:
    """The training that a container starts, None where the file is no manifest; raises for broken YAML."""
    if not _MANIFEST.search(source.text) or (source.keys is not None and "kind" not in source.keys):
        return None
    manifests = list(_documents(source))
    written = dict(source.written)
    for manifest in manifests:
        if manifest.data.get("kind") == "ConfigMap" and isinstance(manifest.data.get("data"), dict):
            for name, text in manifest.data["data"].items():
                if isinstance(text, str) and name.endswith((".yaml", ".yml", ".json")):
                    written |= held(name, text, manifest.line("data", name) + 1, source)
    containers = [one for manifest in manifests for one in _containers(manifest.data, (), manifest, 1)]
    source = replace(source, written=written)
    return imported("a Kubernetes manifest", containers, source, project)


def _documents(source: ImportedFile) -> Iterator[_Manifest]:
    """The documents that are mappings; raises QtuneError for broken YAML, and for too many."""
    above = 0
    texts = _BETWEEN.split(source.text)
    if len(texts) > _MOST:
        fix = "copy the one that trains to a file of its own"
        raise QtuneError(f"holds more than {_MOST} documents", where=source.display, fix=fix)
    for text in texts:
        try:
            data, lines = parse_yaml(text, source.display)
        except QtuneError:
            data, lines = parse_yaml("\n" * above + text, source.display)  # with its line in the file
        if isinstance(data, dict):
            yield _Manifest(data, lines, above)
        above += text.count("\n")


def _containers(block: Any, path: KeyPath, manifest: _Manifest, nodes: int) -> Iterator[Container]:
    """The containers anywhere below a block; nodes: how many run each of them."""
    if isinstance(block, list):
        for number, item in enumerate(block):
            yield from _containers(item, (*path, str(number)), manifest, nodes)
    if not isinstance(block, dict):
        return
    nodes = max(nodes, _count(block.get("parallelism")), _count(block.get("numNodes")))
    for key, inner in block.items():
        below = (*path, key)
        if key == "containers" and isinstance(inner, list):
            for number, item in enumerate(inner):
                if isinstance(item, dict):
                    yield _container(item, (*below, str(number)), manifest, nodes)
        elif key in _REPLICAS and isinstance(inner, dict):
            # each kind of replica runs the same; there are as many nodes as all of them together
            total = sum(_count(spec.get("replicas")) for spec in inner.values() if isinstance(spec, dict))
            for name, spec in list(inner.items())[:1]:
                yield from _containers(spec, (*below, name), manifest, max(nodes, total))
        elif key == "trainer" and isinstance(inner, dict) and ("command" in inner or "args" in inner):
            yield _container(inner, below, manifest, max(nodes, _count(inner.get("numNodes"))))
        else:
            yield from _containers(inner, below, manifest, nodes)


def _container(item: Mapping[str, Any], path: KeyPath, manifest: _Manifest, nodes: int) -> Container:
    given = [entry for entry in item.get("env") or () if isinstance(entry, dict) and "name" in entry]
    environment = {str(entry["name"]): entry.get("value") for entry in given}
    environment = {name: None if value is None else str(value) for name, value in environment.items()}
    short = {name: value for name, value in environment.items() if value and len(value) <= _LONGEST}

    def text(word: Any) -> str:
        return _VARIABLE.sub(lambda found: short.get(found[1], found[0]), str(word))

    words = [
        Word(text(word), manifest.line(*path, key, str(number)))
        for key in ("command", "args")
        for number, word in enumerate(item.get(key) or ())
    ]
    resources = item.get("resources") or item.get("resourcesPerNode") or {}
    return Container(
        name=str(item.get("name", "trainer")),
        words=tuple(words),
        environment=environment,
        image=str(item.get("image") or ""),
        directory=str(item.get("workingDir") or ""),
        gpus=_gpus(resources),
        nodes=nodes,
    )


def _gpus(resources: Any) -> int | None:
    """How many GPUs `limits`, or else `requests`, name; None where neither names any."""
    for block in ("limits", "requests"):
        named = resources.get(block) if isinstance(resources, dict) else None
        for key, value in (named or {}).items() if isinstance(named, dict) else ():
            if key.endswith("/gpu") and _count(value):
                return _count(value)
    return None


def _count(value: Any) -> int:
    """A number written as one or as text, 0 for anything else."""
    return int(value) if str(value).isdigit() else 0
