"""What the fast tests share: a project that renders, and the command line in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from trees import ROWS, TINY_MODEL, Result, write_tree

from qtune import cli


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write the golden renderings anew")
    parser.addoption("--wheel", type=Path, help="test this wheel instead of one built for the test")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """A project's `hub:` settings, which hold for the rest of a process, end with the test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


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
