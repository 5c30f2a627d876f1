"""Going on with a run: which, with what, and what has to be forced.

A small real program stands in for llamafactory-cli; e2e runs the real one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from saved import save_checkpoint
from trees import Result, files_below, write_tree

from qtune.config.project import find_project
from qtune.config.resolve import overrides
from qtune.data.registrations import read_registrations
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.processes import process
from qtune.runs import lock
from qtune.training import attempts, resuming

Qtune = Callable[..., Result]
Make = Callable[..., Path]
_START = """import pathlib, sys
out = pathlib.Path(dict(word.partition("=")[::2] for word in sys.argv)["output_dir"])
"""
FAIL = "raise SystemExit(1)"
FINISH = "(out / 'trainer_state.json').write_text('{\"global_step\": 6}')"
PAIRS = {
    "data/datasets.yaml": "rows: {file_name: rows.jsonl}\n"
    "pairs: {file_name: pairs.jsonl, ranking: true, columns: {chosen: chosen, rejected: rejected}}\n",
    "data/pairs.jsonl": [{"instruction": "a", "input": "", "chosen": "b", "rejected": "c"}] * 4,
}


@pytest.fixture
def ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program in the place of llamafactory-cli, which ends as told; `out` is its output_dir."""

    def put(body: str) -> None:
        path = tmp_path / "bin" / "llamafactory-cli"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\n{_START}{body}\n")
        path.chmod(0o755)
        monkeypatch.setattr(process, "find_program", lambda name: path)

    put(FAIL)
    return put


@pytest.fixture
def root(project: Make, ends: Callable[[str], None]) -> Path:
    """A project whose run `lora` failed after checkpoint 4."""
    root = project({"presets/mine.yaml": "about: mine\nextends: lora\ntrain: {learning_rate: 1.0e-3}\n"})
    failed(root, "mine", "lora", "lora_rank=8")
    for step in (2, 4):
        save_checkpoint(root / "runs" / "lora", step)
    ends(FINISH)
    return root


def failed(root: Path, preset: str, name: str, *settings: str) -> None:
    """Leave the run as a training does that failed."""
    read_registrations.cache_clear()
    prepared = pipeline.prepare(preset, find_project(root), Hardware(), [overrides(settings)])
    assert not prepared.errors
    run, prepared = attempts.claim(prepared, name=name)
    run.begin_attempt(prepared.plan)
    run.end("failed", 1, "it failed")


def record(root: Path, name: str = "lora") -> dict[str, Any]:
    return json.loads((root / "runs" / name / "qtune.json").read_text(encoding="utf-8"))


def set_record(root: Path, name: str = "lora", **changes: Any) -> None:
    text = json.dumps({**record(root, name), **changes})
    (root / "runs" / name / "qtune.json").write_text(text, encoding="utf-8")


def last_command(root: Path, name: str = "lora") -> list[str]:
    return record(root, name)["attempts"][-1]["command"]


@pytest.mark.parametrize("name", [None, "lora", "mine", "./runs/lora"])
def test_a_run_is_found_by_its_name_or_preset_or_as_the_newest(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    monkeypatch.chdir(root)
    assert resuming.find(find_project(root), name).directory == root / "runs" / "lora"


@pytest.mark.parametrize("command", [["resume"], ["train", "--resume"]])
def test_it_goes_on_from_the_newest_checkpoint_with_what_was_recorded(
    root: Path, qtune: Qtune, command: list[str]
) -> None:
    assert qtune("render", "mine", "-s", "lora_rank=99", directory=root).code == 0
    done = qtune(*command, directory=root)
    assert done.code == 0, done.err
    assert "from checkpoint-4" in done.err
    first, second = record(root)["attempts"]
    assert (first["status"], second["status"], record(root)["status"]) == ("failed", "finished", "finished")
    assert second["from_step"] == 4
    assert second["command"][2:] == [
        "runs/lora/rendered/train.yaml",
        "output_dir=runs/lora",
        "resume_from_checkpoint=runs/lora/checkpoint-4",
        "overwrite_output_dir=false",
    ]
    rendered = (root / "runs/lora/rendered/train.yaml").read_text()
    assert "lora_rank: 8 " in rendered and "learning_rate: 0.001 " in rendered
    assert "dataset_dir: runs/lora/rendered " in rendered
    entries = json.loads((root / "runs/lora/rendered/dataset_info.json").read_text())
    assert (root / "runs/lora/rendered" / entries["rows"]["file_name"]).resolve() == root / "data/rows.jsonl"


def test_broken_checkpoints_are_set_aside_with_a_line_for_each(root: Path, qtune: Qtune) -> None:
    (root / "runs/lora/checkpoint-4/optimizer.pt").write_bytes(b"")
    done = qtune("resume", directory=root)
    assert "checkpoint-4 is not complete (optimizer.pt: is empty): set aside as" in done.err
    assert "from checkpoint-2" in done.err
    assert (root / "runs/lora/set-aside/checkpoint-4/optimizer.pt").is_file()


def test_without_a_complete_one_it_starts_from_the_beginning(root: Path, qtune: Qtune) -> None:
    for step in (2, 4):
        (root / f"runs/lora/checkpoint-{step}/scheduler.pt").unlink()
    done = qtune("resume", directory=root)
    assert done.code == 0 and "from the beginning, in the same run" in done.err
    assert last_command(root)[-1] == "overwrite_output_dir=true"
    assert record(root)["attempts"][-1]["resume_from_checkpoint"] is None


@pytest.mark.parametrize("whole", [True, False])
def test_curves_go_on_where_they_are(root: Path, qtune: Qtune, whole: bool) -> None:
    logged = root / "runs/lora/runs/Jan01_host"
    logged.mkdir(parents=True)
    (logged / "events.out.tfevents.1700000000.host.1.0").touch()
    for step in () if whole else (2, 4):
        (root / f"runs/lora/checkpoint-{step}/scheduler.pt").unlink()
    assert qtune("resume", directory=root).code == 0
    environment = record(root)["attempts"][-1]["environment"]
    assert environment["TENSORBOARD_LOGGING_DIR"] == "runs/lora/runs/Jan01_host"
    # the step after the checkpoint, which TensorBoard's file has behind its second
    (event,) = logged.glob("*.qtune")
    assert (b"\x10\x05:\x02\x08\x01" in event.read_bytes()) == whole


def test_other_values_are_shown_and_need_force(root: Path, qtune: Qtune, ends: Callable[[str], None]) -> None:
    before = files_below(root)
    done = qtune("resume", "-s", "learning_rate=5e-4", directory=root)
    assert done.code == 2 and files_below(root) == before
    assert "learning_rate:\n    - 0.001" in done.err and "+ 0.0005  # --set" in done.err
    ends(FAIL)
    assert qtune("resume", "-s", "learning_rate=5e-4", "--force", directory=root).code == 1
    ends(FINISH)
    # once taken, they are the run's
    assert qtune("resume", directory=root).code == 0
    assert "learning_rate: 0.0005 " in (root / "runs/lora/rendered/train.yaml").read_text()
    assert record(root)["attempts"][-1]["changes"] == {"train.learning_rate": 0.0005}


def test_values_that_change_nothing_need_no_force(root: Path, qtune: Qtune) -> None:
    assert qtune("resume", "-s", "learning_rate=1e-3", directory=root).code == 0


def test_a_changed_preset_is_shown_and_the_recorded_values_stay(root: Path, qtune: Qtune) -> None:
    (root / "presets/mine.yaml").write_text("about: mine\nextends: lora\ntrain: {learning_rate: 2.0e-3}\n")
    done = qtune("resume", directory=root)
    assert done.code == 2 and "- 0.001" in done.err and "+ 0.002" in done.err
    assert "lora_rank" not in done.err
    assert qtune("resume", "--force", directory=root).code == 0
    assert "learning_rate: 0.001 " in (root / "runs/lora/rendered/train.yaml").read_text()


def test_changed_data_needs_force(root: Path, qtune: Qtune) -> None:
    with (root / "data/rows.jsonl").open("a") as rows:
        rows.write('{"instruction": "one more", "input": "", "output": "yes"}\n')
    done = qtune("resume", directory=root)
    assert done.code == 2 and "its data changed: data/rows.jsonl" in done.err
    assert qtune("resume", "--force", directory=root).code == 0


def test_other_versions_are_said(root: Path, qtune: Qtune) -> None:
    set_record(root, versions={**record(root)["versions"], "torch": "1.0"})
    done = qtune("resume", directory=root)
    assert done.code == 0 and "note: versions: torch was 1.0, is " in done.err


def test_a_finished_run_is_refused_unless_it_gets_longer(root: Path, qtune: Qtune) -> None:
    assert qtune("resume", directory=root).code == 0
    done = qtune("resume", "lora", directory=root)
    assert done.code == 2 and "is finished" in done.err and "num_train_epochs" in done.err
    assert "no unfinished run" in qtune("resume", directory=root).err
    longer = ("resume", "lora", "-s", "num_train_epochs=9", "--force")
    assert qtune(*longer, directory=root).code == 0


@pytest.mark.parametrize(
    ("preset", "recorded", "option", "told"),
    [
        ("deepspeed", ["launch.nproc_per_node=2"], ["launch.nproc_per_node=1"], "resume with 2 processes"),
        ("deepspeed", [], ["zero.stage=1"], "of stage 2: they cannot be gone on with as 1"),
        ("lora", [], ["finetuning_type=full"], "finetuning_type lora"),
        ("lora", ["launch.nproc_per_node=2"], [], "go on with one"),
        ("reward", ["dataset=pairs"], [], "of stage rm"),
        ("lora", ["save_only_model=true", "load_best_model_at_end=false"], [], "save_only_model"),
        ("lora", ["optim=galore_adamw", "optim_target_modules=all-linear"], [], "(optim galore_adamw)"),
    ],
)
def test_what_the_library_cannot_go_on_with_is_refused_even_with_force(
    root: Path,
    qtune: Qtune,
    preset: str,
    recorded: list[str],
    option: list[str],
    told: str,
) -> None:
    write_tree(root, PAIRS)
    failed(root, preset, "other", *recorded)
    save_checkpoint(root / "runs/other", 2, processes=2 if "launch.nproc_per_node=2" in recorded else 1)
    options = [word for value in option for word in ("-s", value)]
    done = qtune("resume", "other", *options, "--force", directory=root)
    assert done.code == 2 and told in done.err


def test_a_training_that_goes_on_is_left_alone(root: Path, qtune: Qtune) -> None:
    set_record(root, status="running")
    with lock.held(root / "runs/lora"):
        for command in (["--resume", "lora"], ["mine", "-n", "lora", "--overwrite"]):
            done = qtune("train", *command, directory=root)
            assert done.code == 2 and "is still training" in done.err
        assert "no unfinished run" in qtune("resume", directory=root).err


def test_a_killed_run_goes_on(root: Path, qtune: Qtune) -> None:
    set_record(root, status="running", pid=2**22 + 1)
    assert qtune("resume", directory=root).code == 0


def test_the_newest_unfinished_run_is_taken(root: Path, qtune: Qtune) -> None:
    (root / "runs/lora").rename(root / "runs/older")
    set_record(root, "older", attempts=[{**record(root, "older")["attempts"][0], "started": "2020"}])
    (root / "runs/empty").mkdir()
    assert "from checkpoint-4" in qtune("resume", "older", "--force", directory=root).err
    assert "no run `nothing`" in qtune("resume", "nothing", directory=root).err


def test_a_record_of_an_older_qtune_goes_on_too(root: Path, qtune: Qtune) -> None:
    old = record(root)
    for new in ("record_version", "attempts", "data", "git", "machine", "seed"):
        del old[new]
    (root / "runs/lora/qtune.json").write_text(json.dumps(old))
    done = qtune("resume", directory=root)
    assert done.code == 0 and "from checkpoint-4" in done.err


@pytest.mark.parametrize(
    "options",
    [
        ["--resume", "--replay"],
        ["--resume", "-n", "x"],
        ["--resume", "--overwrite"],
        ["--resume", "--hardware", "cpu"],
        ["--replay"],
    ],
)
def test_options_that_contradict_each_other_are_refused(root: Path, qtune: Qtune, options: list[str]) -> None:
    before = files_below(root)
    assert qtune("train", *options, directory=root).code == 2
    assert files_below(root) == before


def test_a_replay_trains_what_was_recorded_and_says_what_differs(root: Path, qtune: Qtune) -> None:
    for command in (["replay"], ["train", "--replay"]):
        assert "nothing differs today" in qtune(*command, "lora", directory=root).err
    (root / "presets/mine.yaml").write_text("about: mine\nextends: lora\ntrain: {learning_rate: 2.0e-3}\n")
    (root / "data/rows.jsonl").write_text('{"instruction": "a", "input": "", "output": "b"}\n')
    set_record(root, versions={**record(root)["versions"], "torch": "1.0"})
    done = qtune("replay", "lora", "-n", "again", directory=root)
    assert done.code == 0, done.err
    for line in (
        "versions: torch was 1.0, is ",
        "data: data/rows.jsonl changed",
        "presets/mine.yaml changed",
    ):
        assert line in done.err
    assert (record(root, "again")["status"], record(root)["status"]) == ("finished", "failed")
    rendered = (root / "runs/again/rendered/train.yaml").read_text()
    assert "lora_rank: 8 " in rendered and "learning_rate: 0.001 " in rendered
    # and so is a replay's own record good for another
    assert qtune("replay", "again", "-n", "third", directory=root).code == 0
    assert (root / "runs/third/rendered" / "dataset_info.json").read_text() == (
        root / "runs/again/rendered" / "dataset_info.json"
    ).read_text()
    assert record(root, "third")["datasets"] == record(root)["datasets"]


def test_overwriting_puts_a_new_run_in_the_place_of_the_old(root: Path, qtune: Qtune) -> None:
    done = qtune("train", "mine", "-n", "lora", "--overwrite", directory=root)
    assert done.code == 0, done.err
    assert not (root / "runs/lora/checkpoint-4").exists()
    assert len(record(root)["attempts"]) == 1 and record(root)["status"] == "finished"
    assert [path.name for path in (root / "runs").iterdir()] == ["lora"]
    assert qtune("train", "mine", "-n", "new", "--overwrite", directory=root).code == 0


def test_what_is_no_run_is_not_overwritten(root: Path, qtune: Qtune) -> None:
    (root / "runs/papers").mkdir()
    done = qtune("train", "mine", "-n", "papers", "--overwrite", directory=root)
    assert done.code == 2 and "is no run of qtune" in done.err


def test_where_the_new_record_cannot_be_written_the_old_run_stays(
    root: Path, qtune: Qtune, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qtune.runs import record as module

    def full(*args: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_atomic", full)
    assert qtune("train", "mine", "-n", "lora", "--overwrite", directory=root).code == 2
    assert (root / "runs/lora/checkpoint-4").is_dir()
    assert [path.name for path in (root / "runs").iterdir()] == ["lora"]
