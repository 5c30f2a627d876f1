"""End to end: the real command, the real LLaMA-Factory, a model small enough for a CPU."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from scratch import Project

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The checkout's project, copied to where a test may write."""
    root = tmp_path / "project"
    root.mkdir()
    shutil.copy(CHECKOUT / "qtune.yaml", root)
    shutil.copytree(CHECKOUT / "data", root / "data")
    return Project(root)
