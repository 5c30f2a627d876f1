"""`defaults:` of qtune.yaml, and so the demo of `init`: it holds where nothing else is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from trees import REPOSITORY, ROWS, TINY_MODEL, Result, write_tree

from qtune.cli.options import override_layers
from qtune.config.project import find_project
from qtune.download.subject import request_for
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.prepare.renderings import examine, read, stale_layers

Qtune = Callable[..., Result]
THEIRS = """\
model_name_or_path: theirs/Llama-3.2-1B-Instruct
stage: sft
do_train: true
finetuning_type: lora
template: llama3
dataset: rows
"""


@pytest.fixture
def root(tmp_path: Path, qtune: Qtune) -> Path:
    """A project as `init` makes it, with one more dataset."""
    assert qtune("init", directory=tmp_path).code == 0
    write_tree(tmp_path, {"data/rows.jsonl": ROWS, "theirs.yaml": THEIRS})
    with (tmp_path / "data/datasets.yaml").open("a", encoding="utf-8") as registrations:
        registrations.write("\nrows: {file_name: rows.jsonl}\n")
    return tmp_path


def rendered(root: Path, name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((root / f"rendered/{name}/train.yaml").read_text("utf-8"))
    return values


def test_other_data_is_not_evaluated_on_the_demo_rows_and_that_is_said(root: Path, qtune: Qtune) -> None:
    done = qtune("render", "lora", "-d", "rows", directory=root)
    assert done.code == 0, done.err
    assert "note: nothing is evaluated: qtune.yaml's default `eval_dataset` goes with" in done.err
    assert "`qtune data split rows --eval 5%`" in done.err
    train = rendered(root, "lora")
    assert train["dataset"] == "rows" and train["eval_strategy"] == "no"
    assert not train.keys() & {"eval_dataset", "val_size", "load_best_model_at_end"}
    assert "demo" not in (root / "rendered/lora/dataset_info.json").read_text()
    done = qtune("check", "lora", "-d", "rows", directory=root)
    assert "ok: lora" in done.out and "nothing is evaluated" in done.err


def test_the_demo_is_evaluated_on_its_own_rows_and_nothing_is_said(root: Path, qtune: Qtune) -> None:
    done = qtune("render", "lora", directory=root)
    assert done.code == 0 and "evaluated" not in done.err
    train = rendered(root, "lora")
    assert (train["dataset"], train["eval_dataset"]) == ("demo", "demo_eval")
    assert train["load_best_model_at_end"] is True


@pytest.mark.parametrize(
    ("options", "evaluation"),
    [
        (("-s", "eval_dataset=rows"), {"eval_dataset": "rows"}),
        (("-d", "rows", "-s", "eval_dataset=demo_eval"), {"eval_dataset": "demo_eval"}),
        (("-d", "demo"), {"eval_dataset": "demo_eval"}),
        (("-s", "val_size=0.1"), {"val_size": 0.1}),
        (("-d", "rows", "-s", "val_size=auto"), {"val_size": 0.1}),
        (("-s", "val_size=auto"), {"eval_dataset": "demo_eval"}),
        (("-s", "val_size=0"), {"eval_dataset": "demo_eval", "val_size": 0}),
        (("-s", "eval_dataset=null"), {}),
    ],
)
def test_rows_to_evaluate_on_that_are_named_hold_alone(
    root: Path, qtune: Qtune, options: tuple[str, ...], evaluation: dict[str, Any]
) -> None:
    done = qtune("render", "lora", *options, directory=root)
    assert done.code == 0, done.err
    train = rendered(root, "lora")
    assert {key: train[key] for key in ("eval_dataset", "val_size") if key in train} == evaluation
    assert "nothing is evaluated" not in done.err


def test_default_evaluation_rows_without_a_default_dataset_are_for_all(
    project: Callable[..., Path], qtune: Qtune
) -> None:
    text = f"defaults: {{model_name_or_path: {TINY_MODEL}, eval_dataset: rows}}\n"
    shown = qtune("show", "lora", "-d", "rows", directory=project({"qtune.yaml": text}))
    assert "eval_dataset: rows\n" in shown.out


def test_an_import_keeps_its_own_model_data_and_evaluation(root: Path, qtune: Qtune) -> None:
    done = qtune("import", "theirs.yaml", "-n", "imp", directory=root)
    assert done.code == 0 and "says otherwise" not in done.err
    assert qtune("render", "imp", directory=root).code == 0
    train = rendered(root, "imp")
    assert (train["model_name_or_path"], train["dataset"]) == ("theirs/Llama-3.2-1B-Instruct", "rows")
    assert not train.keys() & {"eval_dataset", "val_size"}
    write_tree(root, {"theirs.yaml": f"{THEIRS}val_size: 0.2\neval_strategy: steps\neval_steps: 9\n"})
    assert qtune("import", "theirs.yaml", "-n", "other", directory=root).code == 0
    assert qtune("render", "other", directory=root).code == 0
    train = rendered(root, "other")
    assert train["val_size"] == 0.2 and "eval_dataset" not in train


def test_what_was_rendered_by_default_gives_way_to_an_option_too(root: Path, qtune: Qtune) -> None:
    """`data stats` and others lay options over what was rendered last."""
    assert qtune("render", "lora", directory=root).code == 0
    shown = qtune("estimate", "-d", "rows", "--json", "--hardware", "1x24GB", directory=root)
    assert shown.code == 0, shown.err
    config = examine(find_project(root), None, Hardware(), override_layers(None, "rows", None)).config
    assert config.get("train", "dataset") == "rows" and config.find("train", "eval_dataset") is None


def test_a_rendering_is_stale_once_where_defaults_changed(root: Path, qtune: Qtune) -> None:
    assert qtune("render", "lora", "--hardware", "cpu", directory=root).code == 0
    text = (root / "qtune.yaml").read_text()
    (root / "qtune.yaml").write_text(f"{text}\ntrain: {{lora_rank: 4}}\n")
    assert qtune("render", "lora", "--hardware", "cpu", directory=root).code == 0
    (root / "qtune.yaml").write_text(text)
    assert stale_layers(read(find_project(root), "lora")) == ["qtune.yaml"]


def test_precedence_is_base_defaults_presets_project(project: Callable[..., Path]) -> None:
    tree = {
        "qtune.yaml": "presets: [presets]\n"
        "defaults: {cutoff_len: 7, lora_rank: 7, learning_rate: 7.0, warmup_steps: 7}\n"
        "train: {warmup_steps: 9}\n",
        "presets/ours.yaml": "extends: lora\ntrain: {learning_rate: 8.0, warmup_steps: 8}\n",
    }
    config = pipeline.resolve("ours", find_project(project(tree)), Hardware())
    values = {
        key: config.find("train", key) for key in ("cutoff_len", "lora_rank", "learning_rate", "warmup_steps")
    }
    assert [value and value.value for value in values.values()] == [7, 64, 8.0, 9]
    assert str(values["cutoff_len"].origin) == "project defaults (qtune.yaml:2)"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("defaults: [demo]\n", "qtune.yaml:1: `defaults` takes a mapping of keys"),
        ("defaults: {no_such: 1}\n", "qtune.yaml:1 no_such"),
        ("defaults: {dataset: nosuch}\n", "dataset `nosuch` is not registered"),
    ],
)
def test_wrong_defaults_are_refused_with_their_line(
    project: Callable[..., Path], qtune: Qtune, text: str, message: str
) -> None:
    done = qtune("check", "lora", directory=project({"qtune.yaml": text}))
    assert done.code == 2 and message in done.err


def test_recommend_leaves_out_a_preset_that_trains_another_model(root: Path, qtune: Qtune) -> None:
    assert qtune("import", "theirs.yaml", "-n", "imp", directory=root).code == 0
    done = qtune("recommend", "--hardware", "1x24GB", directory=root)
    assert "imp (it trains theirs/Llama-3.2-1B-Instruct)" in done.out


def test_download_takes_the_default_model(root: Path, qtune: Qtune) -> None:
    found = request_for(find_project(root), None, None, "huggingface", None, None)
    assert found.id == "Qwen/Qwen2.5-0.5B-Instruct"


# --- projects as they were made before, and edits


def test_demo_rows_beside_other_data_are_a_warning(root: Path, qtune: Qtune) -> None:
    for block in ("train", "defaults"):
        (root / "qtune.yaml").write_text(
            f"{block}:\n  model_name_or_path: Qwen/Qwen2.5-0.5B-Instruct\n"
            "  dataset: rows\n  eval_dataset: demo_eval\n"
        )
        done = qtune("check", "lora", directory=root)
        assert done.code == 0 and done.err.count("warning:") == 1
        assert "qtune.yaml:4 eval_dataset: `demo_eval` says nothing of a training on `rows`" in done.err


# --- init, and the checkout


def test_init_takes_the_model(tmp_path: Path, qtune: Qtune) -> None:
    (tmp_path / "models/x").mkdir(parents=True)
    (tmp_path / "here/own").mkdir(parents=True)
    wanted = {
        "Qwen/Qwen3-8B": "Qwen/Qwen3-8B",
        "models/x": str(tmp_path / "models/x"),
        "here/own": "own",
        "a: b": "a: b",
    }
    for model, written in wanted.items():
        (tmp_path / "here/qtune.yaml").unlink(missing_ok=True)
        assert qtune("init", "here", "-m", model, directory=tmp_path).code == 0
        text = (tmp_path / "here/qtune.yaml").read_text()
        assert yaml.safe_load(text)["defaults"]["model_name_or_path"] == written
    shown = qtune("show", "lora", "-m", "Qwen/Qwen3-8B", directory=tmp_path / "here").out
    assert "template: qwen3\n" in shown
    refused = qtune("init", "there", "-m", " ", directory=tmp_path)
    assert refused.code == 2 and "-m: names no model" in refused.err and not (tmp_path / "there").exists()


def test_the_checkouts_own_demo_gives_way_too() -> None:
    project = find_project(REPOSITORY)
    assert project.layer is not None and not project.layer.values
    assert project.defaults is not None and len(project.defaults.values) == 3
