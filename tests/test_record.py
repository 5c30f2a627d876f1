"""The record of a run: what it stood on, its attempts, and nothing that is secret."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from trees import write_tree

from qtune.config.project import find_project
from qtune.errors import QtuneError
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.render.manifest import from_text
from qtune.runs import progress, provenance, record
from qtune.secrets.text import redacted
from qtune.values import LaunchPlan

PLAN = LaunchPlan(("llamafactory-cli", "train", "rendered/lora/train.yaml"), {"NPROC_PER_NODE": "1"})


@pytest.fixture
def run(tmp_path: Path) -> record.Run:
    root = write_tree(
        tmp_path, {"qtune.yaml": "train: {model_name_or_path: m, dataset: rows}", "data/rows.jsonl": "{}\n"}
    )
    prepared = pipeline.examine("lora", find_project(root), Hardware())
    directory = record.claim(root / "runs", "lora")
    return record.start(directory, prepared.manifest, command=["qtune", "train", "lora"])


def test_each_attempt_is_recorded_with_what_came_of_it(run: record.Run) -> None:
    run.begin_attempt(PLAN)
    run.end_attempt("failed", 1, "out of memory")
    assert run.record["status"] == "running"
    (run.directory / "trainer_state.json").write_text('{"global_step": 6, "max_steps": 6}')
    changes = {"train.per_device_train_batch_size": 1}
    run.begin_attempt(PLAN, resume_from_checkpoint="checkpoint-3", from_step=3, changes=changes)
    run.end("finished", 0, None)

    read = record.read(run.directory)
    assert read.record == run.record
    first, second = read.attempts
    assert (first["status"], first["exit_code"], first["reason"]) == ("failed", 1, "out of memory")
    assert (second["status"], second["from_step"], second["global_step"]) == ("finished", 3, 6)
    assert (second["resume_from_checkpoint"], second["changes"]) == ("checkpoint-3", changes)
    assert second["command"] == list(PLAN.argv)
    assert (read.record["status"], read.record["pid"], read.record["global_step"]) == ("finished", None, 6)


def test_an_attempt_whose_qtune_was_killed_is_known_by_the_next(run: record.Run) -> None:
    run.begin_attempt(PLAN)
    run.begin_attempt(PLAN)
    assert [attempt["status"] for attempt in run.attempts] == ["killed", "running"]


def test_a_record_is_a_manifest_too(run: record.Run) -> None:
    text = (run.directory / record.RECORD).read_text(encoding="utf-8")
    assert from_text(text, "qtune.json").config.get("train", "dataset") == "rows"


@pytest.mark.parametrize("text", ["{", "[]", '{"record_version": 99}'])
def test_another_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / record.RECORD).write_text(text)
    with pytest.raises(QtuneError):
        record.read(tmp_path)


def test_no_secret_reaches_the_record_or_the_log(run: record.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123")
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 34)
    words = ("0123456789abcdef0123", "hf_" + "b" * 34, "me:pass@", "given-by-hand")
    given = ("x=0123456789abcdef0123", "https://me:pass@host/", "hub_token=given-by-hand", "hf_" + "b" * 34)
    run.log.write_bytes("".join(f"line {word}\n" for word in given[:2]).encode() + b"fine \xff\r 1/9\n")
    run.begin_attempt(LaunchPlan(("train", *given), {"X_TOKEN": "given-by-hand"}))
    run.end("failed", 1, f"Error: Authorization: Bearer {'c' * 20}")
    text = run.log.read_text(errors="replace") + (run.directory / record.RECORD).read_text()
    assert [word for word in (*words[:3], "c" * 20) if word in text] == []
    assert "given-by-hand" not in (run.directory / record.RECORD).read_text()
    assert run.log.read_bytes().endswith(b"fine \xff\r 1/9\n")


@pytest.mark.parametrize(
    "harmless", ["cutoff_len=2048", "tokenized_path=runs/x", "split_special_tokens=true", "KEYS=a", "a=b"]
)
def test_what_is_no_secret_stays(harmless: str) -> None:
    assert redacted([harmless]) == [harmless]


def test_the_facts_name_commit_data_and_versions(tmp_path: Path) -> None:
    files = {
        "qtune.yaml": "train: {model_name_or_path: m, dataset: rows}\n",
        "data/rows.jsonl": '{"instruction": "a", "output": "b"}\n',
        "data/datasets.yaml": "rows: {file_name: rows.jsonl}\n",
    }
    root = write_tree(tmp_path, files)
    prepared = pipeline.examine("lora", find_project(root), Hardware())
    assert provenance.gather(root, [], {})["git"] is None
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "a"],
    ):
        subprocess.run(["git", *command], cwd=root, check=True)
    found = provenance.gather(root, prepared.sources, {"rows": 1})
    assert len(found["git"]["commit"]) == 40 and found["git"]["dirty"] is False
    [data] = found["data"]
    assert (data["name"], data["rows"], list(data["files"])) == ("rows", 1, ["data/rows.jsonl"])
    assert found["versions"]["python"] and found["machine"]["cores"] >= 1
    (root / "qtune.yaml").write_text("{}")
    assert provenance.gather(root, [], {})["git"]["dirty"] is True


def test_of_a_step_that_was_trained_twice_the_last_loss_counts(tmp_path: Path) -> None:
    rows = [(1, 3.0), (2, 2.5), (3, 2.2), (2, 2.4), (3, 2.1)]
    lines = [json.dumps({"current_steps": step, "loss": loss}) for step, loss in rows]
    lines.insert(3, '{"current_steps": 4, "lo')
    (tmp_path / "trainer_log.jsonl").write_text("\n".join(lines))
    assert progress.losses(tmp_path) == [3.0, 2.4, 2.1]


def test_the_mean_loss_is_of_all_steps() -> None:
    history = [{"step": 2, "loss": 4.0}, {"step": 2, "eval_loss": 9.0}, {"step": 3, "loss": 1.0}]
    assert progress.mean_loss({"log_history": history}) == 3.0
    assert progress.mean_loss({}) is None
