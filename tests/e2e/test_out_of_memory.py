"""A training that the system leaves too little memory goes on with a smaller step, and ends as the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import copied
from limits import Group, Peaks, measured, memory_group, within_data
from scratch import QTUNE, Project, RunDirectory

pytestmark = pytest.mark.slow

SHORT, LONG = 4, 1000  # tokens, more or less
BATCH = 32  # half of which fits: the peaks of either vary by some 110 MB, and lie 340 MB apart
EVALUATED = 96  # likewise, and half of it takes 270 MB more than the training
SETTINGS = (
    "cutoff_len=2048",
    "num_train_epochs=1",
    "logging_steps=1",
    "save_steps=3",
    "save_total_limit=9",
    "disable_shuffling=true",
    "eval_dataset=null",
)


class Reference(NamedTuple):
    """A training that had room: what it took at most, and its losses."""

    peaks: Peaks
    losses: list[float]


def rows(*words: int) -> str:
    made = [{"instruction": f"q{n}", "input": "", "output": "ab cd " * (n // 4)} for n in words]
    return "\n".join(json.dumps(row) for row in made)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = copied(tmp_path_factory.mktemp("memory") / "project")
    data = made.root / "data"
    (data / "long.jsonl").write_text(rows(*[LONG] * 2 * BATCH))
    (data / "late.jsonl").write_text(rows(*[SHORT] * 9 * BATCH, *[LONG] * 2 * BATCH))
    (data / "short.jsonl").write_text(rows(*[SHORT] * 2 * BATCH))
    (data / "evaluated.jsonl").write_text(rows(*[LONG] * EVALUATED))
    with (data / "datasets.yaml").open("a") as registrations:
        for name in ("long", "late", "short", "evaluated"):
            registrations.write(f"\n{name}: {{file_name: {name}.jsonl}}\n")
    return made


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    with memory_group() as made:
        yield made


@pytest.fixture(scope="module")
def reference(project: Project, group: Group) -> Reference:
    with measured(group) as peaks:
        project.command(*group.within, *command("late", BATCH // 2, 2, "-n", "reference"))
    return Reference(peaks, project.run("reference").losses)


def command(dataset: str, batch: int, accumulation: int, *options: str) -> list[str]:
    batches = f"per_device_train_batch_size={batch}", f"gradient_accumulation_steps={accumulation}"
    settings = [word for setting in (*SETTINGS, *batches) for word in ("-s", setting)]
    return [str(QTUNE), "train", "lora", "-d", dataset, *settings, *options]


def attempts(run: RunDirectory) -> list[tuple[Any, ...]]:
    keys = ("status", "from_step", "changes")
    return [tuple(attempt[key] for key in keys) for attempt in run.record["attempts"]]


HALVED = {"train.per_device_train_batch_size": BATCH // 2, "train.gradient_accumulation_steps": 2}


def test_killed_at_the_first_step_it_starts_again_with_half_the_batch(
    project: Project, group: Group, reference: Reference
) -> None:
    group.limit(reference.peaks.memory + (190 << 20))
    try:
        result = project.command(
            *group.within, *command("long", BATCH, 1, "-n", "first", "--on-oom", "step-down")
        )
    finally:
        group.limit(1 << 40)
    run = project.run("first")
    assert attempts(run) == [("failed", 0, {}), ("finished", 0, HALVED)]
    failure = run.record["attempts"][0]["failure"]
    assert failure["id"] == "killed-for-memory"
    assert "the estimate is" in failure["cause"] and "logits and loss" in failure["cause"]
    assert "going on with batch 16 x accumulation 2, for batch 32 x accumulation 1" in result.stderr
    assert run.record["status"] == "finished" and len(run.losses) == 2


def test_refused_memory_at_the_tenth_step_it_goes_on_from_the_checkpoint_before(
    project: Project, reference: Reference
) -> None:
    limit = within_data(reference.peaks.data + (130 << 20))
    result = project.command(*limit, *command("late", BATCH, 1, "-n", "tenth", "--on-oom", "step-down"))
    run = project.run("tenth")
    assert attempts(run) == [("failed", 0, {}), ("finished", 9, HALVED)]
    assert run.record["attempts"][0]["failure"]["id"] == "host-allocator"
    assert "Error code 12 (Cannot allocate memory)" in result.stderr
    assert run.losses[-len(reference.losses) :] == pytest.approx(reference.losses, rel=1e-3)


def test_without_being_asked_to_it_stops_and_says_what_would_go_on(
    project: Project, group: Group, reference: Reference
) -> None:
    """And resumed with the option, an evaluation that is too large shrinks alone."""
    batch = f"per_device_eval_batch_size={EVALUATED}"
    evaluated = ("-s", "eval_dataset=evaluated", "-s", "eval_steps=1", "-s", batch)
    group.limit(reference.peaks.memory + (540 << 20))
    try:
        stopped = project.command(
            *group.within, *command("short", BATCH, 1, "-n", "evaluates", *evaluated), exit_code=1
        )
        resumed = project.command(*group.within, str(QTUNE), "resume", "evaluates", "--on-oom", "step-down")
    finally:
        group.limit(1 << 40)
    halved = f"per_device_eval_batch_size {EVALUATED // 2}, for {EVALUATED}"
    assert f"--on-oom step-down would go on with {halved}" in stopped.stderr
    assert f"going on with {halved}" in resumed.stderr
    run = project.run("evaluates")
    shrunk = {"train.per_device_eval_batch_size": EVALUATED // 2}
    assert [(status, changes) for status, _, changes in attempts(run)] == [
        ("failed", {}),
        ("failed", {}),
        ("finished", shrunk),
    ]
    assert len(run.evaluations) == 2


def test_no_group_is_left(group: Group) -> None:
    assert (group.path / "cgroup.procs").read_text() == "", Path(group.path)
