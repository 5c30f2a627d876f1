"""The listing and the download of a repository of a hub, by the hub's own library into its cache.

Request: do (list or fetch), hub, kind (model or dataset), id, revision, cache, cache_dir, and for a dataset
subset and folder. To fetch: commit and files, as listed, those wanted. Answer to list: commit and files, each
with name, size and here (bytes of it that lie in the cache already); to fetch, after parts that say how many
bytes of all these files are here: directory, and checked, whether by checksums; else error (its kind) and
detail.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import re
import signal
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

_AT_ONCE = 4  # files, which an interruption loses
_TIMEOUT = 30.0
_MOST_SAID = 300
_PACKAGES = {"huggingface": "huggingface_hub", "modelscope": "modelscope"}

Answer = dict[str, Any]
Tell = Callable[[int], None]


class Refusal(Exception):
    """It cannot go on, for a reason that has a name."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind)
        self.kind = kind
        self.detail = detail


def answer(request: dict[str, Any], tell: Tell) -> Answer:
    signal.signal(signal.SIGTERM, _leave)
    try:
        hub = _HuggingFace(request) if request["hub"] == "huggingface" else _ModelScope(request)
        return hub.look() if request["do"] == "list" else hub.fetch(request["files"], tell)
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        return {"error": "package", "detail": missing or _PACKAGES[request["hub"]]}
    except Refusal as refusal:
        return {"error": refusal.kind, "detail": refusal.detail}
    except Exception as error:
        traceback.print_exc()
        kind, cause = _named(error)
        return {"error": kind, "detail": _reason(cause)}


def _leave(number: int, frame: object) -> None:
    """End at once, without the files with which nobody could go on: huggingface_hub 1.33 begins each file
    under a name of its own."""
    import psutil

    for file in psutil.Process().open_files():
        if re.search(r"\.[0-9a-f]{8}\.incomplete$", file.path):
            Path(file.path).unlink(missing_ok=True)
    os._exit(128 + number)


class _HuggingFace:
    """By huggingface_hub."""

    def __init__(self, request: dict[str, Any]) -> None:
        import huggingface_hub

        self.library, self.api = huggingface_hub, huggingface_hub.HfApi()
        self.request = request
        self.id, self.kind, self.revision = request["id"], request["kind"], request["revision"]
        self.where = {"repo_type": self.kind, "cache_dir": request["cache"]}

    def look(self) -> Answer:
        info = self.api.repo_info(
            self.id, repo_type=self.kind, revision=self.revision, files_metadata=True, timeout=_TIMEOUT
        )
        wanted = None if self.kind == "model" else self._data_files()
        files = []
        for sibling in info.siblings:
            name, size = sibling.rfilename, sibling.size or 0
            if wanted is None or name in wanted:
                found = self.library.try_to_load_from_cache(self.id, name, revision=info.sha, **self.where)
                files.append({"name": name, "size": size, "here": size if isinstance(found, str) else 0})
        return {"commit": info.sha, "files": files}

    def fetch(self, files: list[dict[str, Any]], tell: Tell) -> Answer:
        commit = self.request["commit"]
        done = self.library.snapshot_download(
            self.id,
            revision=self.revision,
            allow_patterns=[glob.escape(file["name"]) for file in files],
            max_workers=_AT_ONCE,
            tqdm_class=_bar(tell, sum(file["here"] for file in files)),
            **self.where,
        )
        if Path(done).name != commit:
            raise Refusal("moved")
        tell(sum(file["size"] for file in files))
        verify = getattr(self.api, "verify_repo_checksums", None)  # not in those that transformers 4 takes
        wrong = verify(self.id, revision=commit, **self.where).mismatches if verify else []
        for found in wrong:
            _remove(Path(done, found["path"]))
        if wrong:
            raise Refusal("checksum", wrong[0]["path"])
        if self.kind == "dataset":
            self._builder().download_and_prepare()  # what a training looks for when it is offline
        return {"directory": done, "checked": verify is not None}

    def _builder(self) -> Any:
        from datasets import load_dataset_builder

        return load_dataset_builder(
            self.id,
            self.request.get("subset"),
            data_dir=self.request.get("folder"),
            revision=None if self.revision == "main" else self.revision,
            cache_dir=self.request["cache_dir"],
        )

    def _data_files(self) -> set[str]:
        """The files that the data set's chosen subset is made of."""
        found: Iterable[Iterable[str]] = (self._builder().config.data_files or {}).values()
        return {str(url).partition("@")[2].partition("/")[2] for urls in found for url in urls}


class _ModelScope:
    """By modelscope, which goes on with what was begun."""

    def __init__(self, request: dict[str, Any]) -> None:
        import modelscope
        from modelscope.hub.api import HubApi

        self.modelscope, self.api = modelscope, HubApi()
        self.request = request
        self.revision = "master" if request["revision"] == "main" else request["revision"]

    def look(self) -> Answer:
        files = [{"name": file["Path"], "size": file.get("Size") or 0, "here": 0} for file in self._files()]
        return {"commit": self.revision, "files": files}

    def fetch(self, files: list[dict[str, Any]], tell: Tell) -> Answer:
        done = self.modelscope.snapshot_download(
            self.request["id"],
            revision=self.revision,
            cache_dir=self.request["cache_dir"],
            allow_file_pattern=[glob.escape(file["name"]) for file in files],
        )
        tell(sum(file["size"] for file in files))
        expected = {file["Path"]: file.get("Sha256") for file in self._files()}
        for name in (file["name"] for file in files):
            path = Path(done, name)
            with path.open("rb") as stream:
                if expected[name] not in (None, hashlib.file_digest(stream, "sha256").hexdigest()):
                    _remove(path)
                    raise Refusal("checksum", name)
        return {"directory": done, "checked": True}

    def _files(self) -> list[dict[str, Any]]:
        found = self.api.get_model_files(self.request["id"], revision=self.revision, recursive=True)
        return [file for file in found if file.get("Type") != "tree"]


def _bar(tell: Tell, here: int) -> type:
    """The class of a progress bar that shows nothing, and tells the bytes that have come beside `here`."""
    from tqdm import tqdm

    most = here

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *given: Any, **how: Any) -> None:
            super().__init__(*given, **{**how, "disable": True})
            self.counts = how.get("unit") == "B"

        def update(self, n: float | None = 1) -> None:
            nonlocal most
            self.n += int(n or 0)
            if self.counts and here + self.n > most:
                most = here + self.n
                tell(most)

    return Bar


def _remove(path: Path) -> None:
    """The file and what it links to, so that nobody uses it."""
    path.resolve().unlink()
    path.unlink(missing_ok=True)


def _named(error: Exception) -> tuple[str, BaseException]:
    """The kind of an error, or of the first one below it that has one."""
    cause: BaseException | None = error
    while cause is not None:
        if kind := _kind_of(cause):
            return kind, cause
        cause = cause.__cause__
    return "other", error


def _kind_of(error: BaseException) -> str | None:
    """By the names of its class and of those above, since their modules differ between versions."""
    names = {parent.__name__ for parent in type(error).__mro__}
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk"
    if isinstance(error, PermissionError):
        return "permission"
    if isinstance(error, ValueError) and "Config name is missing" in str(error):  # datasets/load.py
        return "subset"
    kinds = json.loads(Path(__file__).with_name("hub_errors.json").read_bytes())
    found = next((kind for name, kind in kinds.items() if name in names), None)
    if found is None and status in (401, 403):
        return "login"
    if status is not None or names & {"TransportError", "ConnectionError", "NetworkError"}:
        return found or "unreachable"
    return found


def _reason(error: BaseException) -> str:
    with suppress(AttributeError):
        return f"HTTP status {error.response.status_code}"  # type: ignore[attr-defined]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_MOST_SAID]}"


if __name__ == "__main__":
    from protocol import serve

    serve(answer)
