"""Trainings of one preset at once: each trains what it records, whatever the others render meanwhile."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml
from scratch import QTUNE, SHORT, Project, RunDirectory, environment
from test_stopping import wait_until

RATES = (1e-3, 1e-4, 1e-5)
ROUNDS = 10


def trained_rate(run: RunDirectory) -> float:
    """The learning rate that the library wrote into its own model card."""
    card = (run.path / "README.md").read_text(encoding="utf-8")
    [rate] = re.findall(r"^- learning_rate: (.+)$", card, re.MULTILINE)
    return float(rate)


def recorded_rate(run: RunDirectory) -> float:
    [rate] = [item["value"] for item in run.record["config"] if item["key"] == ["train", "learning_rate"]]
    return float(rate)


@pytest.mark.slow
@pytest.mark.parametrize(
    "again",
    [pytest.param(number, marks=[pytest.mark.faults] * (number > 1)) for number in range(1, ROUNDS + 1)],
)
def test_three_at_once_each_train_what_they_record(project: Project, again: int) -> None:
    rates = RATES[again % 3 :] + RATES[: again % 3]
    started = [
        subprocess.Popen(
            [str(QTUNE), "train", "lora", *SHORT, "-s", f"learning_rate={rate}", "-n", f"at-{rate}"],
            cwd=project.root,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rate in rates
    ]
    assert [process.wait() for process in started] == [0, 0, 0]
    for rate in rates:
        run = project.run(f"at-{rate}")
        assert trained_rate(run) == recorded_rate(run) == rate
        assert yaml.safe_load((run.path / "rendered" / "train.yaml").read_text())["learning_rate"] == rate
        assert f"{run.path.name}/rendered/train.yaml" in " ".join(run.record["attempts"][0]["command"])


def test_a_training_that_took_other_values_than_it_records_is_an_error(project: Project) -> None:
    process = project.start("train", "lora", *SHORT, "-s", "learning_rate=0.001")
    run = project.run("lora")
    file = run.path / "rendered" / "train.yaml"
    wait_until(lambda: bool(run.path.joinpath("qtune.json").exists() and run.record["attempts"]), 60)
    text = file.read_text(encoding="utf-8")  # which the library reads once it has imported itself
    file.write_text(text.replace("learning_rate: 0.001", "learning_rate: 1.0e-05"), encoding="utf-8")
    assert process.wait() == 1
    assert run.record["status"] == "failed"
    said = project.output.read_text(encoding="utf-8", errors="replace")
    assert "it trained with learning_rate 1e-05, where 0.001 is recorded: somebody changed" in said
    assert not list(run.path.glob("checkpoint-*")) and list(run.path.glob("set-aside/checkpoint-*"))
