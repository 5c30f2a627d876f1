"""One commit of a git repository, read through the `git` program: no checkout, no hooks, no submodules."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from qtune.config.entries import GitSource
from qtune.errors import QtuneError
from qtune.processes import process
from qtune.secrets.text import without

MAX_FETCH = 64_000_000
LINK = "120000"
"""The mode of a symbolic link."""

_SECONDS = 120.0
_SETTINGS = (
    "core.hooksPath=/dev/null",  # hooks of the user's own would run otherwise
    "core.bigFileThreshold=1m",  # larger ones stream through instead of filling the memory
    "fetch.unpackLimit=1",  # one file for all objects, so that one bound holds for them
    "gc.auto=0",
    "maintenance.auto=false",
)
# What a hook or script that calls qtune may have set for its own repository (git rev-parse --local-env-vars).
_ELSEWHERE = re.compile(
    r"GIT_(DIR|WORK_TREE|INDEX_FILE|COMMON_DIR|NAMESPACE|PREFIX|SHALLOW_FILE|GRAFT_FILE|(ALTERNATE_)?OBJECT_.*)"
)


@dataclass(frozen=True)
class Item:
    """One entry of a git tree: a file, directory, link or submodule. size: bytes, None but for files."""

    mode: str
    kind: str
    object: str
    size: int | None


class Repository:
    """A bare repository in a new directory, with one commit of a source in it."""

    def __init__(self, git: Path, directory: Path, source: GitSource) -> None:
        self._source = source
        settings = (argument for setting in _SETTINGS for argument in ("-c", setting))
        self._git: list[str | Path] = [git, *settings, f"--git-dir={directory}"]
        self._environment = {
            **{name: value for name, value in os.environ.items() if not _ELSEWHERE.fullmatch(name)},
            "GIT_ALLOW_PROTOCOL": "file:https:ssh",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }
        self._run("init", "--quiet", "--bare", "--template=")

    def fetch(self, ref: str, root: Path) -> str:
        """Fetch what `ref` names and nothing of its history; the commit's whole name."""
        url = self._source.url
        address = url if "://" in url else str(root / Path(url).expanduser())
        self._run("fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", address, ref)
        return self._run("rev-parse", "--verify", "FETCH_HEAD^{commit}").decode().strip()

    def tree(self, name: str) -> dict[str, Item]:
        """The entries of one directory; name: of its object, or of a commit for the top."""
        items = {}
        for line in self._run("ls-tree", "-z", "--long", name).split(b"\0")[:-1]:
            words, _, path = line.decode("utf-8", "surrogateescape").partition("\t")
            mode, kind, object_, size = words.split()
            items[path] = Item(mode, kind, object_, int(size) if kind == "blob" else None)
        return items

    def contents(self, objects: list[str]) -> list[bytes]:
        """The bytes of each object, all of which must be files."""
        given = "".join(f"{name}\n" for name in objects).encode()
        printed = BytesIO(self._run("cat-file", "--batch", given=given))
        found = []
        for _ in objects:
            size = int(printed.readline().split()[2])
            found.append(printed.read(size))
            printed.readline()
        return found

    def _run(self, *arguments: str, given: bytes = b"") -> bytes:
        answer = process.ask(
            [*self._git, *arguments],
            self._environment,
            given=given,
            seconds=_SECONDS,
            largest_file=MAX_FETCH,
        )
        if answer.exit_code == 0:
            return answer.out
        where = self._source.place
        if answer.exit_code is None:
            raise QtuneError(
                f"git took longer than {_SECONDS:g} seconds for `{self._source.name}`",
                where=where,
                fix="check the address and the network, then pull again",
            )
        said = without(answer.error.decode("utf-8", "replace")).strip().splitlines()
        if any("File too large" in line for line in said):
            raise QtuneError(
                f"`{self._source.name}` is larger than {MAX_FETCH:,} bytes",
                where=where,
                fix="presets are text: use a repository that holds little else",
            )
        reason = next((line for line in said if line.startswith(("fatal:", "error:"))), "git failed")
        raise QtuneError(
            f"`{self._source.name}` cannot be fetched: {reason.partition(': ')[2] or reason}",
            where=where,
            fix="check the address, the branch, tag or whole commit after its @, and your access to it",
        )
