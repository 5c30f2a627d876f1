"""A hub on this machine: Hugging Face's protocol, and as much of ModelScope's as its library needs."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_CHUNK = 1 << 16
_LARGE = (".safetensors", ".bin", ".gguf")  # by LFS, as .gitattributes of models has it


@dataclass
class Hub:
    """What the hub has, how it behaves, and what was asked of it.

    gated, private: ids; damaged: files whose content is another than their checksum says; stall: (file,
    bytes) after which a transfer of it stands still, and ends at `go`; sent: bytes that went out, by file.
    """

    address: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    private: dict[str, str] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    stall: tuple[str, int] | None = None
    stalled: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    sent: Counter[str] = field(default_factory=Counter)
    ranges: list[tuple[str, str]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def add(self, name: str, directory: Path) -> None:
        self.repositories[name] = {
            path.relative_to(directory).as_posix(): path.read_bytes()
            for path in sorted(directory.rglob("*"))
            if path.is_file()
        }


@contextmanager
def serve() -> Iterator[Hub]:
    hub = Hub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.go.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer()

    def _answer(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.hub.requests.append(f"{self.command} {path}")
        routes = (
            (r"/api/(models|datasets)/([^/]+/[^/]+)(?:/revision/([^/]+))?", self._info),
            (r"/api/(models|datasets)/([^/]+/[^/]+)/tree/([^/]+)(?:/(.*))?", self._tree),
            (r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._file),
            (r"/api/v1/models/([^/]+/[^/]+)/repo/files", self._modelscope_files),
            (r"/api/v1/models/([^/]+/[^/]+)/repo", self._modelscope_file),
        )
        for pattern, route in routes:
            if match := re.fullmatch(pattern, path):
                route(*match.groups(), **{k: v[0] for k, v in parse_qs(url.query).items() if k in _ASKED})
                return
        self._json({"error": f"no route {path}"}, 404)

    # Hugging Face

    def _info(self, kind: str, name: str, revision: str | None, **asked: str) -> None:
        if not self._may(name, revision or "main"):
            return
        siblings = [
            {"rfilename": file, **_described(file, content)}
            for file, content in self.hub.repositories[name].items()
        ]
        self._json({"id": name, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []})

    def _tree(self, kind: str, name: str, revision: str, below: str | None, **asked: str) -> None:
        if not self._may(name, revision):
            return
        self._json(
            [
                {"type": "file", "path": file, "oid": described["blobId"], **described}
                for file, content in self.hub.repositories[name].items()
                if file.startswith(f"{below.rstrip('/')}/" if below else "")
                for described in (_described(file, content),)
            ]
        )

    def _file(self, kind: str | None, name: str, revision: str, file: str, **asked: str) -> None:
        if not self._may(name, revision):
            return
        content = self.hub.repositories[name].get(file)
        if content is None:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
            self._json({"error": "Entry not found"}, 404, headers)
            return
        described = _described(file, content)
        etag = described.get("lfs", {}).get("sha256") or described["blobId"]
        self._content(file, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

    def _may(self, name: str, revision: str) -> bool:
        """Whether the hub gives it; else it has said why not, as Hugging Face's does."""
        if name in self.hub.private:
            wanted = f"Bearer {self.hub.private[name]}"
            if self.headers.get("Authorization") == wanted:
                return True
        elif name in self.hub.gated:
            self._json({"error": "gated"}, 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
            return False
        elif name in self.hub.repositories:
            if revision in ("main", COMMIT):
                return True
            self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
            return False
        self._json({"error": "Repository not found"}, 401, {"X-Error-Code": "RepoNotFound"})
        return False

    # ModelScope

    def _modelscope_files(self, name: str, **asked: str) -> None:
        if name not in self.hub.repositories:
            self._json({"Code": 10010205001, "Message": "not found", "Success": False}, 404)
            return
        files = [
            {
                "Path": file,
                "Name": Path(file).name,
                "Size": len(content),
                "Type": "blob",
                "Sha256": hashlib.sha256(content).hexdigest(),
            }
            for file, content in self.hub.repositories[name].items()
        ]
        self._json({"Code": 200, "Success": True, "Data": {"Files": files}})

    def _modelscope_file(self, name: str, FilePath: str = "", **asked: str) -> None:
        content = self.hub.repositories.get(name, {}).get(FilePath)
        if content is None:
            self._json({"Code": 404, "Message": "not found"}, 404)
        else:
            self._content(FilePath, content, {"ETag": hashlib.sha256(content).hexdigest()})

    # both

    def _content(self, file: str, content: bytes, headers: dict[str, str]) -> None:
        if file in self.hub.damaged:
            content = bytes(len(content))
        asked = self.headers.get("Range")
        first, last = 0, len(content) - 1
        if asked:
            self.hub.ranges.append((file, asked))
            begin, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(begin), int(end or last)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        body = content[first : last + 1]
        self.send_response(206 if asked else 200)
        for key, value in {**headers, "Accept-Ranges": "bytes", "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        for start in range(0, len(body), _CHUNK):
            if self.hub.stall and self.hub.stall[0] == file and start >= self.hub.stall[1]:
                self.hub.stalled.set()
                self.hub.go.wait()
                self.close_connection = True
                return
            chunk = body[start : start + _CHUNK]
            try:
                self.wfile.write(chunk)
            except OSError:  # whoever asked is gone
                self.close_connection = True
                return
            self.hub.sent[file] += len(chunk)

    def _json(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for key, text in (headers or {}).items():
            self.send_header(key, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


_ASKED = ("FilePath", "Revision", "Recursive", "Root")


def _described(file: str, content: bytes) -> dict[str, object]:
    """Size and checksums of a file, as both of the hub's listings have them."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    if not file.endswith(_LARGE):
        return {"size": len(content), "blobId": blob}
    sha256 = hashlib.sha256(content).hexdigest()
    lfs = {"sha256": sha256, "oid": sha256, "size": len(content), "pointerSize": 134}
    return {"size": len(content), "blobId": blob, "lfs": lfs}
