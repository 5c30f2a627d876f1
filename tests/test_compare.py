"""`diff`: by meaning, between presets, rendered directories, runs and plain YAML."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from trees import Result

from qtune.config.project import find_project
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.prepare.compare import compare, read_side


def differing(root: Path, first: str, second: str) -> dict[str, tuple[object, object]]:
    project = find_project(root)
    sides = (read_side(name, project, Hardware()) for name in (first, second))
    return {
        f"{item.section} {item.key}": tuple(value and value.value for value in (item.first, item.second))
        for item in compare(*sides)
    }


def rendered(root: Path, preset: str) -> Path:
    return pipeline.write(pipeline.prepare(preset, find_project(root), Hardware()))


def test_two_presets_differ_in_their_own_keys(project: Callable[..., Path]) -> None:
    root = project({"presets/a.yaml": "extends: lora\ntrain: {lora_rank: 4}\nzero: {stage: 2}\n"})
    assert differing(root, "a", "lora") == {
        "method lora_rank": (4, 64),
        "train ddp_backend": ("gloo", None),  # auto: DeepSpeed has a process group
        "zero stage": (2, None),
    }


def test_zero_keys_without_a_stage_are_no_difference(project: Callable[..., Path]) -> None:
    root = project({"presets/a.yaml": "extends: lora\nzero: {overlap_comm: true}\n"})
    assert differing(root, "a", "lora") == {}


@pytest.mark.parametrize("preset", ["lora", "stage3"])
def test_a_preset_its_rendered_directory_its_yaml_and_its_run_mean_the_same(
    project: Callable[..., Path], preset: str
) -> None:
    root = project()
    directory = rendered(root, preset)
    shutil.copytree(directory, root / "runs" / "one")
    for other in (f"rendered/{preset}", f"rendered/{preset}/train.yaml", "one", "runs/one"):
        assert differing(root, preset, other) == {}, other


def test_a_plain_yaml_counts_defaults_and_numbers_by_value(project: Callable[..., Path]) -> None:
    root = project({"a.yaml": "lora_rank: 8\nnum_train_epochs: 3\n", "b.yaml": "num_train_epochs: 3.0\n"})
    assert differing(root, "a.yaml", "b.yaml") == {}
    assert differing(root, "a.yaml", "lora")["method lora_rank"] == (8, 64)


def test_an_edit_by_hand_is_a_difference_with_its_line(project: Callable[..., Path]) -> None:
    root = project()
    path = rendered(root, "lora") / "train.yaml"
    path.write_text(path.read_text().replace("lora_rank: 64", "lora_rank: 65"))
    assert differing(root, "lora", "rendered/lora") == {"method lora_rank": (64, 65)}


def test_datasets_are_compared_by_what_holds(project: Callable[..., Path]) -> None:
    info = {"rows": {"file_name": "rows.jsonl", "columns": {"prompt": "instruction", "response": "input"}}}
    other = {"other/dataset_info.json": info, "x.yaml": "dataset: rows\ndataset_dir: other\n"}
    found = differing(project(other), "lora", "x.yaml")
    assert found["datasets rows.file_name"] == ("../../data/rows.jsonl", "../../other/rows.jsonl")
    assert found["datasets rows.columns.response"] == ("output", "input")


def test_the_command_prints_both_origins_and_can_exit_with_1(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    root = project({"presets/a.yaml": "extends: lora\ntrain:\n  lora_rank: 4\n"})
    result = qtune("diff", "a", "lora", "--exit-code", directory=root)
    assert result.code == 1
    assert result.out == (
        "### method\nlora_rank:\n  - 4  # a (presets/a.yaml:3)\n  + 64  # lora (qtune/presets/lora.yaml:9)\n"
    )
    assert qtune("diff", "a", "a", "--exit-code", directory=root).code == 0
    (item,) = json.loads(qtune("diff", "a", "lora", "--json", directory=root).out)
    assert (item["key"], item["a"]["value"], item["b"]["value"]) == ("lora_rank", 4, 64)


@pytest.mark.parametrize(
    ("name", "says"), [("lroa", "`lora`"), ("list.yaml", "not a mapping"), ("broken.yaml", "broken.yaml:1")]
)
def test_what_is_no_config_is_refused(
    qtune: Callable[..., Result], project: Callable[..., Path], name: str, says: str
) -> None:
    result = qtune("diff", "lora", name, directory=project({"list.yaml": "- a\n", "broken.yaml": "{"}))
    assert result.code == 2 and says in result.err
