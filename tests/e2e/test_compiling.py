"""What DeepSpeed compiles is compiled once, and a compile that was killed holds up nobody after it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil
import pytest
from scratch import Project
from test_stopping import started, wait_until

pytestmark = pytest.mark.slow

FEW = ("-s", "max_samples=8", "-s", "num_train_epochs=1", "-s", "eval_dataset=null")
COMPILE_SECONDS = 180


def test_a_training_goes_past_a_compile_that_was_killed(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = tmp_path / "extensions" / "deepspeed_shm_comm"
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(operation.parent))
    lock, library = operation / "lock", operation / "deepspeed_shm_comm.so"
    with started(project, "train", "deepspeed", *FEW, "-n", "killed") as process:
        wait_until(lambda: lock.exists() or process.poll() is not None, COMPILE_SECONDS)
        children = psutil.Process(process.pid).children(recursive=True)
        for child in (psutil.Process(process.pid), *children):
            with contextlib.suppress(psutil.NoSuchProcess):  # a short one of the compiler's may have ended
                child.kill()
    assert lock.exists() and not library.exists()

    said = project.qtune("train", "deepspeed", *FEW).stderr
    assert f"removed the lock of a compile that is no more: {lock}" in said
    assert project.run("deepspeed").record["status"] == "finished"
    # ninja's own log: its version, two objects and the library, none of which the training made anew
    assert library.exists() and len((operation / ".ninja_log").read_text().splitlines()) == 4
    assert not lock.exists()
