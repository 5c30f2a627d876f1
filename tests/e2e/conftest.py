"""End to end: the real command, the real LLaMA-Factory, a model small enough for a CPU."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType

import pytest
from scratch import MOST_SECONDS, UNTIL_KNOWN, Project, environment

from qtune.config.project import find_project
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.processes import process
from qtune.training import operations
from qtune.values import LaunchPlan

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session", autouse=True)
def _compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What DeepSpeed compiles is there before the first test, so that none has it killed or waits for it.

    One of the test processes compiles, and qtune's own lock makes the others wait.
    """
    directory, hardware = tmp_path_factory.mktemp("compiled"), Hardware()
    config = pipeline.resolve("deepspeed", find_project(CHECKOUT), hardware)
    plan = LaunchPlan((), {"CUDA_VISIBLE_DEVICES": ""})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_EXTENSIONS_DIR", environment()["TORCH_EXTENSIONS_DIR"])
        start = partial(process.run, directory=directory, log=directory / "log", show=lambda output: None)
        operations.make_ready(config, hardware, plan, start, print)


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
