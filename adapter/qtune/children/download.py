"""What a hub's repository holds, and its files into the hub's cache, by the hub's own library.

argv: a JSON file with the request: do (list or fetch), hub, kind (model or dataset), id, revision, cache, and
for a dataset subset and folder. To fetch: commit, files (as listed, those wanted) and verified, what was
checked before as path to [size, mtime_ns].

Answers are lines of their own that begin with MARK, each an object in JSON: commit and files after listing,
each with name, size, sha256 or git (the checksum, where the hub tells one) and here (bytes that lie in the
cache already); progress (bytes of all files that are here), checked (path, size, mtime_ns) and done (path)
while fetching; error (its kind) and detail where it cannot go on.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MARK = b"@qtune "
_AT_ONCE = 4
_TIMEOUT = 30.0
_TICK = 0.25
_MOST_SAID = 300
_CHUNK = 1 << 20
_MOST_BY_HTTP = 50_000_000_000  # huggingface_hub/constants.py: larger ones only come by Xet
_PACKAGES = {"huggingface": "huggingface_hub", "modelscope": "modelscope"}


class Refusal(Exception):
    """It cannot go on, for a reason that has a name."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind)
        self.kind = kind
        self.detail = detail


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        try:
            hub = _HuggingFace(request) if request["hub"] == "huggingface" else _ModelScope(request)
            hub.look() if request["do"] == "list" else hub.fetch(request["files"])
        except ImportError as error:
            missing = (error.name or "").partition(".")[0]
            raise Refusal("package", missing or _PACKAGES[request["hub"]]) from error
    except Refusal as refusal:
        tell(error=refusal.kind, detail=refusal.detail)
    except Exception as error:
        traceback.print_exc()
        kind = _kind_of(error)
        tell(error=kind, detail=_reason(error))
    else:
        return
    sys.stderr.flush()
    os._exit(1)  # not waiting for files that other threads are at: what they have is kept


def tell(**answer: Any) -> None:
    os.write(1, b"\n" + MARK + json.dumps(answer).encode() + b"\n")


class _HuggingFace:
    """By huggingface_hub, but for one thing: it begins a file anew that another process began (1.33)."""

    def __init__(self, request: dict[str, Any]) -> None:
        import huggingface_hub
        from huggingface_hub.file_download import repo_folder_name

        self.library = huggingface_hub
        self.request = request
        self.id, self.kind, self.revision = request["id"], request["kind"], request["revision"]
        self.cache = Path(request["cache"])
        self.folder = repo_folder_name(repo_id=self.id, repo_type=self.kind)
        self.repository = self.cache / self.folder
        self.here: dict[str, int] = {}

    def look(self) -> None:
        info = self.library.HfApi().repo_info(
            self.id, repo_type=self.kind, revision=self.revision, files_metadata=True, timeout=_TIMEOUT
        )
        wanted = None if self.kind == "model" else self._data_files()
        files = []
        for sibling in info.siblings:
            if wanted is not None and sibling.rfilename not in wanted:
                continue
            lfs = sibling.lfs
            file = {
                "name": sibling.rfilename,
                "size": sibling.size or 0,
                "sha256": lfs and lfs["sha256"],
                "git": None if lfs else sibling.blob_id,
            }
            files.append({**file, "here": self._bytes_here(info.sha, file)})
        tell(commit=info.sha, files=files)

    def fetch(self, files: list[dict[str, Any]]) -> None:
        commit = self.request["commit"]
        with _Progress(self.here), ThreadPoolExecutor(_AT_ONCE) as pool:
            for task in [pool.submit(self._fetch, file, commit) for file in files]:
                task.result()
            # every blob lies there: this links them to their names, and fetches what only Xet transfers
            done = self.library.snapshot_download(
                self.id,
                repo_type=self.kind,
                revision=self.revision,
                cache_dir=self.cache,
                allow_patterns=[glob.escape(file["name"]) for file in files],
            )
            if Path(done).name != commit:
                raise Refusal("moved")
            for file in files:
                self._check(Path(done) / file["name"], file)
        if self.kind == "dataset":
            self._builder().download_and_prepare()  # what a training looks for when it is offline
        tell(done=done)

    def _fetch(self, file: dict[str, Any], commit: str) -> None:
        """Puts the file's blob into the cache, whole and right, unless it is there."""
        from huggingface_hub.file_download import get_hf_file_metadata, hf_hub_url, http_get
        from huggingface_hub.utils import WeakFileLock, build_hf_headers

        name, size = file["name"], file["size"]
        pointer = self.repository / "snapshots" / commit / name
        if pointer.exists() or size > _MOST_BY_HTTP:
            self.here[name] = size if pointer.exists() else 0
            return
        url = hf_hub_url(self.id, name, repo_type=self.kind, revision=commit)
        found = get_hf_file_metadata(url, timeout=_TIMEOUT)
        if not found.etag or found.commit_hash != commit:
            raise Refusal("no hub", name)
        headers = build_hf_headers()
        if urlsplit(found.location).netloc != urlsplit(url).netloc:
            headers.pop("authorization", None)  # a token is for the hub, not for who stores its files
        blob = self.repository / "blobs" / found.etag
        partial = blob.with_name(f"{found.etag}.incomplete")
        lock = self.cache / ".locks" / self.folder / f"{found.etag}.lock"
        blob.parent.mkdir(parents=True, exist_ok=True)
        lock.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock):
            if not blob.exists():
                if partial.exists() and partial.stat().st_size > size:
                    partial.unlink()
                with partial.open("ab", buffering=0) as stream:
                    self.here[name] = stream.tell()
                    tracked = _Tracked(stream, self.here, name)
                    http_get(
                        found.location,
                        tracked,
                        resume_size=stream.tell(),
                        headers=headers,
                        expected_size=size,
                    )
                self._check(partial, file)
                partial.replace(blob)
                _tell_checked(blob)
                self.request["verified"][str(blob)] = _state(blob)
        self.here[name] = size

    def _check(self, path: Path, file: dict[str, Any]) -> None:
        """Whether the content is what the hub says; else it is removed, so that nobody uses it."""
        real = path.resolve()
        if self.request["verified"].get(str(real)) == _state(real):
            return
        if _is_right(real, file):
            if real.suffix != ".incomplete":
                _tell_checked(real)
            return
        real.unlink()
        if path != real:
            path.unlink()
        raise Refusal("checksum", file["name"])

    def _bytes_here(self, commit: str, file: dict[str, Any]) -> int:
        blobs = self.repository / "blobs"
        etag = file["sha256"] or file["git"]
        if (self.repository / "snapshots" / commit / file["name"]).exists() or (blobs / str(etag)).exists():
            return int(file["size"])
        partial = blobs / f"{etag}.incomplete"
        return partial.stat().st_size if partial.exists() else 0

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
    """By modelscope, which goes on with what was begun, and checks what it got."""

    def __init__(self, request: dict[str, Any]) -> None:
        import modelscope
        from modelscope.hub.api import HubApi

        self.modelscope, self.api = modelscope, HubApi()
        self.request = request
        self.revision = "master" if request["revision"] == "main" else request["revision"]

    def look(self) -> None:
        found = self.api.get_model_files(self.request["id"], revision=self.revision, recursive=True)
        files = [
            {
                "name": file["Path"],
                "size": file.get("Size") or 0,
                "sha256": file.get("Sha256") or None,
                "git": None,
                "here": 0,
            }
            for file in found
            if file.get("Type") != "tree"
        ]
        tell(commit=self.revision, files=files)

    def fetch(self, files: list[dict[str, Any]]) -> None:
        done = self.modelscope.snapshot_download(
            self.request["id"],
            revision=self.revision,
            cache_dir=self.request["cache_dir"],
            allow_file_pattern=[glob.escape(file["name"]) for file in files],
        )
        tell(progress=sum(file["size"] for file in files))
        for file in files:
            path = Path(done) / file["name"]
            if self.request["verified"].get(str(path)) == _state(path):
                continue
            if not _is_right(path, file):
                path.unlink()
                raise Refusal("checksum", file["name"])
            _tell_checked(path)
        tell(done=done)


class _Tracked:
    """A file that tells how much of it is there."""

    def __init__(self, stream: Any, here: dict[str, int], name: str) -> None:
        self._stream, self._here, self._name = stream, here, name

    def write(self, chunk: bytes) -> int:
        written: int = self._stream.write(chunk)
        self._here[self._name] = self._stream.tell()
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Progress:
    """Tells how many bytes are here, until it ends."""

    def __init__(self, here: dict[str, int]) -> None:
        self._here, self._ended, self._told = here, threading.Event(), -1
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        self._tell()

    def _run(self) -> None:
        while not self._ended.wait(_TICK):
            self._tell()

    def _tell(self) -> None:
        total = sum(list(self._here.values()))
        if total != self._told:
            self._told = total
            tell(progress=total)


def _is_right(path: Path, file: dict[str, Any]) -> bool:
    """By sha256, as git names small files by, or where the hub tells neither by size."""
    if path.stat().st_size != file["size"]:
        return False
    if file["sha256"]:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        return bool(found == file["sha256"].lower())
    if file["git"]:
        content = path.read_bytes()
        found = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return bool(found == file["git"].lower())
    return True


def _state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _tell_checked(path: Path) -> None:
    tell(checked=str(path), state=_state(path))


def _kind_of(error: Exception) -> str:
    """By the names of its class and of those above: where they stand differs between versions."""
    names = {parent.__name__ for parent in type(error).__mro__}
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk"
    if isinstance(error, PermissionError):
        return "permission"
    if isinstance(error, ValueError) and "Config name is missing" in str(error):  # datasets/load.py
        return "subset"
    kinds = {
        "GatedRepoError": "gated",
        "RevisionNotFoundError": "revision",
        "RepositoryNotFoundError": "missing",
        "NotExistError": "missing",
        "DatasetNotFoundError": "missing",
        "HFValidationError": "id",
        "AuthenticationError": "login",
        "PermissionDeniedError": "login",
        "FileIntegrityError": "checksum",
        "OfflineModeIsEnabled": "offline",
        "FileMetadataError": "no hub",
        "JSONDecodeError": "no hub",
    }
    found = next((kind for name, kind in kinds.items() if name in names), None)
    if found is None and status in (401, 403):
        return "login"
    if found is None and (
        status is not None or names & {"TransportError", "ConnectionError", "NetworkError"}
    ):
        return "unreachable"
    return found or "other"


def _reason(error: BaseException) -> str:
    with suppress(AttributeError):
        return f"HTTP status {error.response.status_code}"  # type: ignore[attr-defined]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_MOST_SAID]}"


if __name__ == "__main__":
    main()
