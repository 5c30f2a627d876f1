"""A run that may be read and not be written: commands work, or say so in a line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trees import Result, files_below, read_only, write_tree

from qtune.config.project import find_project
from qtune.launch import slurm
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.processes import process
from qtune.runs import record
from qtune.runs.find import SUBMITTED

Make = Callable[..., Path]
Command = Callable[..., Result]
GONE = 2**22 + 1


@pytest.fixture
def here(project: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose runs may all be read only; new ones can be made beside them."""
    program = write_tree(tmp_path / "bin", {"program": f"#!{sys.executable}\n"}) / "program"
    program.chmod(0o755)
    monkeypatch.setattr(process, "find_program", lambda name, fix="": program)
    root = project()
    prepared = pipeline.prepare("lora", find_project(root), Hardware())
    runs = []
    for name, status in (("done", "finished"), ("halted", "stopped"), ("lost", "running"), ("queued", "")):
        run = record.start(record.claim(root / "runs", name), prepared.manifest)
        run.begin_attempt(prepared.plan)
        (run.directory / "train.log").write_text("the last words\n")
        if status in ("finished", "stopped"):
            run.end(status, 0, "as it was asked to")
        elif status == "running":
            run.update(pid=GONE)
        else:
            run.update(status=SUBMITTED, job_id="77", pid=None)
        runs.append(run.directory)
    with read_only(*runs):
        yield root


def test_what_only_reads_works(qtune: Command, here: Path) -> None:
    listed = qtune("runs", directory=here)
    assert listed.code == 0 and listed.err == ""
    assert [line.split()[1] for line in listed.out.splitlines()[2:]].count("killed") == 1
    assert qtune("watch", "halted", directory=here).code == 130
    watched = qtune("watch", "lost", directory=here)
    assert watched.code == 1 and "was killed" in watched.err and "the last words" in watched.err
    assert qtune("diff", "lora", "halted", directory=here).code in (0, 1)
    replayed = qtune("replay", "halted", "--dry-run", "--force", directory=here)
    assert replayed.code == 0 and "runs/halted-2" in replayed.out


@pytest.mark.parametrize(
    "words",
    [
        ("resume", "halted"),
        ("resume", "lost", "--force"),
        ("resume", "--dry-run"),
        ("resume", "done", "-s", "num_train_epochs=9", "--force"),
        ("train", "lora", "-n", "halted", "--overwrite", "--force"),
        ("stop", "queued"),
    ],
)
def test_what_would_write_says_so_and_nothing_is_begun(
    qtune: Command, here: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "cancel_waiting", lambda job: pytest.fail("the job is cancelled"))
    before = files_below(here)
    done = qtune(*words, directory=here)
    assert done.code == 2 and "may not be written to" in done.err, done
    errors = [line for line in done.err.splitlines() if line.startswith("error: runs/")]
    assert len(errors) == 1 and "fix: " in done.err and "please report" not in done.err
    assert files_below(here / "runs") == {name[5:] for name in before if name.startswith("runs/")}


def test_what_cannot_be_recorded_names_the_record(
    qtune: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "state", lambda job: None)
    done = qtune("watch", "queued", directory=here)
    assert done.code == 2 and "/runs/queued/qtune.json: " in done.err
    assert len(done.err.splitlines()) == 2
