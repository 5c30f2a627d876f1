"""A download: list the files, choose among them, look at the disk, fetch them, check them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from qtune.download.child import speak
from qtune.download.choose import File, for_training, has_weights
from qtune.download.request import Request
from qtune.errors import QtuneError
from qtune.units import size_text

# Beside the files: links, a data set's Arrow copy, and what else grows meanwhile.
_SPARE_BYTES = 256 << 20


@dataclass(frozen=True)
class DownloadPlan:
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


def plan(request: Request, *, everything: bool = False) -> DownloadPlan:
    """Ask the hub what there is, and choose; raises QtuneError where it does not help, or does not fit."""
    heard = speak(request, {"do": "list"})
    listed = [File(**file) for file in heard["files"]]
    chooses = request.kind == "model" and not everything
    wanted = for_training(listed) if chooses else listed
    if chooses and not has_weights(wanted):
        kinds = sorted({Path(file.name).suffix for file in listed if file.size > 1 << 20})
        holds = f"only {', '.join(kinds)}" if kinds else "no weights"
        fix = "take the repository that it was made from; --all fetches it as it is"
        raise QtuneError(f"holds {holds}, which no training loads", where=request.id, fix=fix)
    if not wanted:
        raise QtuneError("holds no data files", where=request.id, fix="look at " + request.page)
    chosen = set(wanted)
    left_out = [file for file in listed if file not in chosen]
    found = DownloadPlan(request, heard["commit"], wanted, left_out)
    _look_at_disk(found)
    return found


def fetch(planned: DownloadPlan, progress: Callable[[int], None]) -> tuple[Path, bool]:
    """Where its files lie, and whether they have the hub's checksums, which old libraries of it cannot tell.

    progress: called with how many bytes of them are here.
    """
    more = {"do": "fetch", "commit": planned.commit, "files": [asdict(file) for file in planned.files]}
    done = speak(planned.request, more, progress)
    return Path(done["directory"]), done["checked"]


def _look_at_disk(found: DownloadPlan) -> None:
    place = found.request.cache
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if found.missing and found.missing + _SPARE_BYTES > free:
        disk = f"the disk of {found.request.cache} has {size_text(free)}"
        fix = "free some space, or set HF_HUB_CACHE (ModelScope: MODELSCOPE_CACHE) to a larger disk"
        what = f"needs {size_text(found.missing)} more, and {disk}"
        raise QtuneError(what, where=found.request.id, fix=fix)
