"""End to end: the real command, the real LLaMA-Factory, a model small enough for a CPU."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from scratch import MOST_SECONDS, UNTIL_KNOWN, Project

CHECKOUT = Path(__file__).resolve().parents[2]


def copied(root: Path) -> Project:
    root.mkdir()
    shutil.copy(CHECKOUT / "qtune.yaml", root)
    shutil.copytree(CHECKOUT / "data", root / "data")
    return Project(root)


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    """A test that hangs fails, and says where."""

    def note(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not done within {MOST_SECONDS} s")

    signal.signal(signal.SIGALRM, note)
    signal.alarm(MOST_SECONDS)
    yield
    signal.alarm(0)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The checkout's project, copied to where a test may write."""
    return copied(tmp_path / "project")


@pytest.fixture(scope="session")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose run `knows` was trained `full` on the demo set's first rows until it knows them.

    For tests that only use it: they share it, and write nothing.
    """
    project = copied(tmp_path_factory.mktemp("knowing") / "project")
    project.qtune("train", "full", "-n", "knows", *UNTIL_KNOWN)
    return project
