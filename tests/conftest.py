"""What the fast tests share: a project that renders, and the command line in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from types import CodeType
from typing import Any
from uuid import uuid4

import jinja2
import pytest
from hypothesis import settings
from jinja2.bccache import Bucket
from trees import ROWS, TINY_MODEL, Result, write_tree

from qtune import cli
from qtune.processes import marks, node
from qtune.render import templates

settings.register_profile("busy", deadline=None)  # other tests run beside
settings.load_profile("busy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write the golden renderings anew")
    parser.addoption("--wheel", type=Path, help="test this wheel instead of one built for the test")


class _Compiled(jinja2.BytecodeCache):
    """Templates that this process compiled, by name and hash of the source."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code is not None:
            self._codes[bucket.key, bucket.checksum] = bucket.code


@pytest.fixture(scope="session", autouse=True)
def _once() -> Iterator[None]:
    """What each command does once is done once for all of this process, and none waits for a disk."""
    make, compiled = templates.environment, _Compiled()

    def environment(read: Callable[[str], str | None]) -> jinja2.Environment:
        made = make(read)
        made.bytecode_cache = compiled
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates, "environment", environment)
        patch.setattr(metadata, "version", cache(metadata.version))
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's own cache.

    Its own is made as it is needed: most tests have no use for a directory, and each makes the next slower.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "caches" / uuid4().hex))


@pytest.fixture(autouse=True)
def _plain_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed does not depend on the terminal from which the tests are run."""
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """A project's `hub:` settings, which hold for the rest of a process, end with the test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends a training waits for less time than for real, in this process and its supervisors."""
    path = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    monkeypatch.setattr(node, "__name__", "hurried_node")
    monkeypatch.setattr(marks, "GRACE_SECONDS", 0.3)


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """Makes a project that renders: `project({"presets/x.yaml": "…"})` adds or replaces files."""

    def make(tree: Mapping[str, Any] | None = None) -> Path:
        files = {
            "qtune.yaml": f"presets: [presets]\ntrain: {{model_name_or_path: {TINY_MODEL}, dataset: rows}}\n",
            "data/datasets.yaml": "rows: {file_name: rows.jsonl}\n",
            "data/rows.jsonl": ROWS,
            "presets/.keep": "",
        }
        return write_tree(tmp_path / "project", {**files, **(tree or {})})

    return make


@pytest.fixture
def qtune(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs the command line in `directory` and returns what it printed."""

    def run(*arguments: str, directory: Path) -> Result:
        monkeypatch.chdir(directory)
        monkeypatch.setattr(sys, "argv", ["qtune", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        code = ended.value.code
        return Result(code if isinstance(code, int) else int(code is not None), printed.out, printed.err)

    return run
