"""Fetch what a training needs: list, choose, look at the disk, transfer, check."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune.download.child import speak
from qtune.download.choose import File, for_training, has_weights
from qtune.download.request import Request
from qtune.errors import QtuneError
from qtune.files import read_object, write_atomic
from qtune.resources import cache_directory
from qtune.units import size_text

# Beside the files: links, a data set's Arrow copy, and what else grows meanwhile.
_SPARE_BYTES = 256 << 20


@dataclass(frozen=True)
class Plan:
    """What is going to be fetched. left_out: files that hold nothing a training needs."""

    request: Request
    commit: str
    files: Sequence[File]
    left_out: Sequence[File]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def here(self) -> int:
        return sum(file.here for file in self.files)

    @property
    def missing(self) -> int:
        return self.size - self.here


def plan(request: Request, *, everything: bool = False) -> Plan:
    """Ask the hub what there is, and choose; raises QtuneError where it does not help, or does not fit."""
    heard: dict[str, Any] = {}
    speak(request, {"do": "list"}, heard.update)
    listed = [File(**file) for file in heard["files"]]
    model = request.kind == "model"
    wanted = for_training(listed) if model and not everything else listed
    if model and not everything and not has_weights(wanted):
        kinds = sorted({Path(file.name).suffix for file in listed if file.size > 1 << 20})
        holds = f"only {', '.join(kinds)}" if kinds else "no weights"
        fix = "take the repository that it was made from; --all fetches it as it is"
        raise QtuneError(f"holds {holds}, which no training loads", where=request.id, fix=fix)
    if not wanted:
        raise QtuneError("holds no data files", where=request.id, fix="look at " + request.page)
    chosen = {file.name for file in wanted}
    found = Plan(request, heard["commit"], wanted, [file for file in listed if file.name not in chosen])
    _look_at_disk(found)
    return found


def fetch(planned: Plan, progress: Callable[[int], None]) -> Path:
    """Where its files lie; progress: called with how many bytes of them are here.

    Each was compared with the hub's checksum, now or when it was last fetched, if it is unchanged since.
    """
    known = _Checked(planned.request)
    done: list[str] = []

    def hear(answer: dict[str, Any]) -> None:
        if "progress" in answer:
            progress(answer["progress"])
        elif "checked" in answer:
            known.add(answer["checked"], answer["state"])
        else:
            done.append(answer["done"])

    files = [
        {"name": file.name, "size": file.size, "sha256": file.sha256, "git": file.git}
        for file in planned.files
    ]
    more = {"do": "fetch", "commit": planned.commit, "files": files, "verified": known.states}
    try:
        speak(planned.request, more, hear)
    finally:
        known.keep()
    return Path(done[0])


def _look_at_disk(found: Plan) -> None:
    place = found.request.cache
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if found.missing and found.missing + _SPARE_BYTES > free:
        disk = f"the disk of {found.request.cache} has {size_text(free)}"
        fix = "free some space, or set HF_HUB_CACHE (ModelScope: MODELSCOPE_CACHE) to a larger disk"
        raise QtuneError(
            f"needs {size_text(found.missing)} more, and {disk}", where=found.request.id, fix=fix
        )


class _Checked:
    """The files that had the right checksum, with size and time; in the user's cache, where it may vanish."""

    def __init__(self, request: Request) -> None:
        name = hashlib.sha256(f"{request.cache}\0{request.kind}\0{request.id}".encode()).hexdigest()
        self._path = cache_directory() / "hub" / f"{name}.json"
        self.states: dict[str, list[int]] = read_object(self._path)

    def add(self, path: str, state: list[int]) -> None:
        self.states[path] = state

    def keep(self) -> None:
        with suppress(OSError):
            write_atomic(self._path, json.dumps(self.states))
