"""Kept tokens and mixed datasets, by the real library."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from scratch import Project

AUTO = ("-s", "tokenized_path=auto", "-s", "max_samples=16", "-s", "num_train_epochs=1")
LOADED, SAVED = "Loaded tokenized dataset from", "Tokenized dataset is saved at"
HERE = Path(__file__).parent


def test_kept_tokens_train_alike_and_a_changed_row_makes_new_ones(project: Project) -> None:
    project.qtune("train", "lora", *AUTO, "-s", "logging_steps=1")
    first = project.run("lora")
    assert SAVED in first.log and LOADED not in first.log
    (kept,) = (project.root / "runs" / ".tokenized").iterdir()
    assert not (first.path / "tokenized").exists()

    project.qtune("train", "lora", *AUTO, "-s", "logging_steps=1")
    second = project.run("lora-2")
    assert LOADED in second.log and SAVED not in second.log
    assert second.losses == first.losses and first.losses
    assert second.evaluations == first.evaluations and first.evaluations
    assert second.record["predicted_steps"] == first.record["predicted_steps"] == second.state["global_step"]

    data = project.root / "data" / "demo.jsonl"
    rows = data.read_text(encoding="utf-8").splitlines(keepends=True)
    row = json.loads(rows[0])
    rows[0] = json.dumps({**row, "output": row["output"] + " Indeed."}, ensure_ascii=False) + "\n"
    data.write_text("".join(rows), encoding="utf-8")
    # what was rendered before names the old tokens
    project.qtune("train")
    third = project.run("lora-3")
    assert SAVED in third.log and LOADED not in third.log
    assert third.losses != first.losses
    assert len(list((project.root / "runs" / ".tokenized").iterdir())) == 2
    assert kept.is_dir()


@pytest.mark.slow
def test_mixed_datasets_train_for_the_steps_that_were_told(project: Project) -> None:
    told = project.qtune(
        "train",
        "lora",
        *("-d", "demo,demo_eval", "-s", "eval_dataset=null", "-s", "max_samples=30"),
        *("-s", "mix_strategy=interleave_over", "-s", "interleave_probs=0.8,0.2", "-s", "num_train_epochs=1"),
    ).stderr
    run = project.run("lora")
    assert run.record["predicted_steps"] == run.state["global_step"] > 0
    assert f"{run.state['global_step']} steps of 8 rows" in told


def test_rows_of_mixed_datasets_are_the_librarys(project: Project, tmp_path: Path) -> None:
    answers = tmp_path / "answers.json"
    project.command(sys.executable, str(HERE / "mixed_rows.py"), str(answers), "200", "5")
    assert json.loads(answers.read_text(encoding="utf-8")) == []
