"""A run's own rendered files: what it trains is in them, and nothing that changes elsewhere reaches it."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from trees import Result

from qtune.config.project import Project, find_project
from qtune.data.registrations import Registration
from qtune.errors import QtuneError
from qtune.files import alone
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline, records, renderings
from qtune.prepare.pipeline import Prepared
from qtune.render import manifest as manifests
from qtune.runs import written
from qtune.runs.record import Run
from qtune.training import attempts
from qtune.values import Config, Origin, Value

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def _launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "require_launcher", lambda name=None: None)


def claimed(prepared: Prepared) -> tuple[Run, Prepared, Path]:
    """A run of it with its files written, as an attempt begins."""
    run, prepared = attempts.claim(prepared)
    return run, prepared, pipeline.write_files(prepared)


def rendered(root: Path) -> Project:
    project = find_project(root)
    pipeline.write(pipeline.prepare("lora", project, Hardware()))
    return project


def rate(directory: Path) -> float:
    return float(yaml.safe_load((directory / "train.yaml").read_text())["learning_rate"])


def test_two_of_one_preset_keep_their_values_apart(project: Make) -> None:
    root = project()
    first = claimed(pipeline.prepare("lora", rendered(root), Hardware()))
    (root / "presets/other.yaml").write_text("extends: lora\ntrain: {learning_rate: 1e-5}\n")
    second = claimed(pipeline.prepare("other", find_project(root), Hardware(), name="lora"))
    rates = [
        yaml.safe_load((item[2] / "train.yaml").read_text())["learning_rate"] for item in (first, second)
    ]
    assert rates[0] != rates[1] == 1e-5
    for run, prepared, directory in (first, second):
        own = f"runs/{run.name}"
        assert prepared.plan.argv[-1] == f"{own}/rendered/train.yaml"
        values = yaml.safe_load((directory / "train.yaml").read_text())
        assert (values["dataset_dir"], values["output_dir"]) == (f"{own}/rendered", own)
        recorded = json.loads((run.directory / "qtune.json").read_text())["files"]
        assert recorded == {path.name: manifests.digest(path.read_bytes()) for path in directory.iterdir()}
        entry = json.loads((directory / "dataset_info.json").read_text())["rows"]
        assert (directory / entry["file_name"]).resolve() == root / "data/rows.jsonl"


def test_a_job_trains_what_was_submitted_whatever_templates_say_later(project: Make) -> None:
    root = project({"qtune.yaml": (project() / "qtune.yaml").read_text() + "zero: {stage: 2}\n"})
    run, _, directory = claimed(pipeline.prepare("lora", rendered(root), Hardware()))
    before = {path.name: path.read_text() for path in directory.iterdir()}
    templates = root / "templates"
    templates.mkdir()
    for name in ("zero.json", "launch/launch.sh"):
        (templates / name).parent.mkdir(exist_ok=True)
        text = (Path(__file__).parents[1] / "templates" / f"{name}.j2").read_text()
        (templates / f"{name}.j2").write_text(text.replace('"zero_opt', '"steps_per_print": 9, "zero_opt'))
    read = records.read_record(find_project(root), run.directory)
    assert {file.name: file.text for file in read.files} == before
    # with other values, or without those files, they are rendered anew
    (directory / "train.yaml").unlink()
    anew = {file.name: file.text for file in records.read_record(find_project(root), run.directory).files}
    assert '"steps_per_print": 9' in anew["zero.json"] and anew["train.yaml"] == before["train.yaml"]


@pytest.mark.parametrize("move", [Path.rename, shutil.copytree], ids=["moved", "copied"])
def test_a_run_that_was_moved_reads_the_files_of_its_new_place(
    project: Make, move: Callable[[Path, Path], object]
) -> None:
    root = project({"qtune.yaml": (project() / "qtune.yaml").read_text() + "zero: {stage: 2}\n"})
    run, _, directory = claimed(pipeline.prepare("lora", rendered(root), Hardware()))
    zero = (directory / "zero.json").read_text()
    elsewhere = root / "runs" / "elsewhere"
    move(run.directory, elsewhere)
    read = records.read_record(find_project(root), elsewhere)
    values = yaml.safe_load((pipeline.write_files(read) / "train.yaml").read_text())
    own = "runs/elsewhere/rendered"
    assert (values["dataset_dir"], values["deepspeed"]) == (own, f"{own}/zero.json")
    assert values["output_dir"] == "runs/elsewhere" and read.plan.argv[-1] == f"{own}/train.yaml"
    assert (elsewhere / "rendered" / "zero.json").read_text() == zero


def test_edits_by_hand_of_every_rendered_file_reach_the_run(project: Make) -> None:
    root = project({"data/more.jsonl": '{"instruction": "a", "output": "b"}\n'})
    prepared = pipeline.prepare("lora", find_project(root), Hardware(), launcher("accelerate"))
    directory = pipeline.write(prepared)
    edit(directory / "train.yaml", "learning_rate: 0.0001", "learning_rate: 0.0007")
    edit(directory / "dataset_info.json", "data/rows.jsonl", "data/more.jsonl")
    edit(directory / "accelerate.yaml", "fsdp_offload_params: false", "fsdp_offload_params: true")
    read = renderings.read(find_project(root), "lora")
    assert [source.path for source in read.sources] == [root / "data/more.jsonl"]
    run, _, own = claimed(read)
    assert rate(own) == 0.0007
    assert "fsdp_offload_params: true" in (own / "accelerate.yaml").read_text()
    entry = json.loads((own / "dataset_info.json").read_text())["rows"]
    assert (own / entry["file_name"]).resolve() == root / "data/more.jsonl"
    # and the record alone tells all of it
    again = records.read_record(find_project(root), run.directory)
    assert [source.path for source in again.sources] == [root / "data/more.jsonl"]


def test_a_path_with_spaces_is_named_by_a_link_without(project: Make) -> None:
    """LLaMA-Factory's launcher splits its command at spaces."""
    root = project({"qtune.yaml": (project() / "qtune.yaml").read_text() + "runs: my runs\n"})
    _, prepared, directory = claimed(pipeline.prepare("lora", find_project(root), Hardware()))
    assert directory == root / "my runs" / "lora" / "rendered"
    named = prepared.plan.argv[-1]
    assert " " not in named and (root / named).samefile(directory / "train.yaml")
    pipeline.write_files(prepared)  # the next attempt finds the link
    assert [path.name for path in (root / "rendered" / ".links").iterdir()] == [Path(named).parent.name]


def launcher(name: str) -> list[Any]:
    from qtune.values import Layer

    return [Layer("--launcher", {("launch", "launcher"): Value(name, Origin("--launcher"))})]


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_what_a_template_fails_with_leaves_no_run(project: Make) -> None:
    root = project()
    rendered(root)
    read = renderings.read(find_project(root), "lora")
    (root / "templates").mkdir()
    (root / "templates/train.yaml.j2").write_text("{{ nothing.of.the.kind }}")
    with pytest.raises(QtuneError):
        attempts.claim(renderings.read(find_project(root), "lora"))
    assert read.files and list((root / "runs").iterdir()) == []


def test_a_record_that_names_a_file_elsewhere_is_no_record(project: Make) -> None:
    root = project()
    run, _, _ = claimed(pipeline.prepare("lora", rendered(root), Hardware()))
    plain = json.loads((run.directory / "qtune.json").read_text())
    plain["files"]["../../elsewhere.txt"] = "0" * 64
    (run.directory / "qtune.json").write_text(json.dumps(plain))
    with pytest.raises(QtuneError, match="is not what qtune wrote"):
        records.read_record(find_project(root), run.directory)


def test_a_rendering_is_read_whole_while_another_writes_it(project: Make) -> None:
    root = project()
    here = rendered(root)
    with ThreadPoolExecutor() as pool:
        with alone(root / "rendered/lora"):
            reading = pool.submit(renderings.read, here, "lora")
            edit(root / "rendered/lora/train.yaml", "learning_rate: 0.0001", "learning_rate: 5.0e-05")
        assert reading.result(10).config.get("train", "learning_rate") == 5e-5


class Enumerated:
    """Stands for a class of the library, whose code must not run when its file is read."""

    def __init__(self, word: str) -> None:
        self.word = word

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.getenv, ("HOME",)) if self.word == "harmless call" else (OrderedDict, ([("a", 1)],))


class TrainingArguments:
    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


def saved(directory: Path, **values: Any) -> Path:
    """As torch.save writes an object: a zip with one pickle (torch/serialization.py)."""
    directory.mkdir(exist_ok=True)
    with zipfile.ZipFile(directory / written.FILE, "w") as file:
        file.writestr("training_args/data.pkl", pickle.dumps(TrainingArguments(**values)))
    return directory / written.FILE


def config(**train: Any) -> Config:
    return Config("x", {("train", name): Value(value, Origin("preset")) for name, value in train.items()}, ())


@pytest.mark.parametrize(
    ("recorded", "trained", "other"),
    [
        ({"learning_rate": 1e-3}, {"learning_rate": 1e-3}, None),
        ({"learning_rate": 1e-3}, {"learning_rate": 1e-5}, "learning_rate 1e-05, where 0.001 is recorded"),
        ({"num_train_epochs": 2}, {"num_train_epochs": 2.0}, None),
        ({"cutoff_len": 512}, {}, None),  # which the library writes nowhere
        ({"bf16": True}, {"bf16": False}, None),
        ({"max_steps": 3}, {"max_steps": None}, None),
        (
            {"per_device_train_batch_size": 8, "auto_find_batch_size": True},
            {"per_device_train_batch_size": 4},
            None,
        ),
        (
            {"gradient_accumulation_steps": 2, "accelerator_config": {"split_batches": False}},
            {"gradient_accumulation_steps": 4},
            None,
        ),
    ],
)
def test_what_the_library_wrote_is_held_against_the_record(
    tmp_path: Path, recorded: dict[str, Any], trained: dict[str, Any], other: str | None
) -> None:
    file = saved(tmp_path, optim=Enumerated("adamw"), seed=42, **trained)
    assert written.difference(file, config(**recorded)) == other


def test_nothing_of_the_file_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    file = saved(tmp_path, optim=Enumerated("harmless call"), learning_rate=2.0)
    monkeypatch.setattr(os, "getenv", called.append)
    assert written.difference(file, config(learning_rate=1.0)) is not None
    assert called == []


def test_only_what_this_attempt_wrote_counts(tmp_path: Path) -> None:
    old = saved(tmp_path / "checkpoint-1", learning_rate=1.0)
    before = written.times(tmp_path)
    new = saved(tmp_path, learning_rate=2.0)
    os.utime(new, ns=(0, before[old] + 5))
    newest = saved(tmp_path / "checkpoint-2", learning_rate=3.0)
    os.utime(newest, ns=(0, before[old] + 9))
    assert written.since(tmp_path, before) == [newest, new]


def test_a_file_of_another_format_tells_nothing(tmp_path: Path) -> None:
    file = tmp_path / written.FILE
    for content in (b"", b"no zip", pickle.dumps({"learning_rate": 1.0})):
        file.write_bytes(content)
        assert written.difference(file, config(learning_rate=2.0)) is None


def test_a_registration_that_is_none_is_named(project: Make, qtune: Callable[..., Result]) -> None:
    root = project()
    rendered(root)
    (root / "rendered/lora/dataset_info.json").write_text('{"rows": 7}')
    done = qtune("train", "--dry-run", directory=root)
    assert done.code == 2 and "rendered/lora/dataset_info.json:1: is no registration" in done.err
    assert Registration.__name__ not in done.err
