"""TensorBoard's curves of a run that goes on; tests/e2e/test_resuming.py reads them with TensorBoard."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from qtune.runs import curves

# by tensorboard 2.21, RecordWriter: file_version brain.Event:2, and twice SessionLog.START at step 301
GOLDEN = bytes.fromhex(
    "1800000000000000a37f4b22090000008074d2da411a0d627261696e2e4576656e743a3248f03b53"
    + "100000000000000095fbfe18090000008074d2da4110ad023a020801cbcd39a5" * 2
)
NOW = 1_800_000_000


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that two attempts logged in, at `NOW`."""
    monkeypatch.setattr(time, "time", lambda: NOW + 0.5)
    for directory, second in (("Jan01_host", NOW - 200), ("Jan02_host", NOW - 100)):
        (tmp_path / "runs" / directory).mkdir(parents=True)
        (tmp_path / "runs" / directory / f"events.out.tfevents.{second}.host.1.0").touch()
    return tmp_path


def test_what_is_logged_again_is_taken_back_by_an_event_of_tensorboards_own(run: Path) -> None:
    curves.go_on(run, 301)
    logged = run / "runs" / "Jan02_host"
    assert curves.logged_to(run) == logged
    assert (logged / f"events.out.tfevents.{NOW}.qtune").read_bytes() == GOLDEN
    assert len(list(run.rglob("*.qtune"))) == 1


def test_nothing_is_written_where_nothing_was_logged(tmp_path: Path) -> None:
    curves.go_on(tmp_path, 1)
    assert curves.logged_to(tmp_path) is None and list(tmp_path.iterdir()) == []


def test_by_a_clock_that_was_set_back_nothing_is_taken_back(run: Path) -> None:
    (run / "runs" / "Jan01_host" / f"events.out.tfevents.{NOW + 9}.host.2.0").touch()
    curves.go_on(run, 301)
    assert list(run.rglob("*.qtune")) == []
