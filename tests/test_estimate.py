"""`qtune estimate`: what it says, in a project and outside of any, and what it does not need."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from trees import Result, cost

from qtune.advice.forecast import forecast
from qtune.config.project import find_project
from qtune.config.resolve import overrides
from qtune.machine.hardware import parse_hardware

Qtune = Callable[..., Result]
Project = Callable[..., Path]
SEVEN = ("-m", "Qwen/Qwen2.5-7B", "--hardware", "1x24GB")
HEAVY = {
    "torch",
    "transformers",
    "numpy",
    "psutil",
    "datasets",
    "safetensors",
    "huggingface_hub",
    "httpx",
    "requests",
}


def test_parts_range_verdict_disk_and_steps_of_one_preset(project: Project, qtune: Qtune) -> None:
    result = qtune("estimate", "qlora", "--hardware", "1x24GB", directory=project())
    assert result.code == 0, result.err
    for words in ("GPU memory at the peak", "logits and loss", "CUDA context", "in all", "host memory"):
        assert words in result.out
    assert "fits: each GPU has 23.6 GB" in result.out
    assert "a checkpoint" in result.out and "save_total_limit: 2" in result.out
    # ten rows, two in a batch, four batches in a step: two steps an epoch, three epochs
    assert "6 steps of 8 rows (batch 2 x accumulation 4 x processes 1), 2 an epoch" in result.out
    assert "every row as long as cutoff_len (2048 tokens)" in result.out
    assert "qtune train qlora" in result.err


def test_what_does_not_fit_is_answered_and_the_next_step_named(project: Project, qtune: Qtune) -> None:
    result = qtune("estimate", "full", *SEVEN, directory=project())
    assert result.code == 0
    assert "does not fit: each GPU has 23.6 GB" in result.out
    assert "qtune recommend -m Qwen/Qwen2.5-7B --hardware 1x24GB" in result.err


def test_json_has_bytes_and_parts_that_add_up(project: Project, qtune: Qtune) -> None:
    found = json.loads(qtune("estimate", "lora", *SEVEN, "--json", directory=project()).out)
    assert found["parameters"] == 7_615_616_512
    assert found["verdict"] in ("fits", "tight", "does not fit")
    gpu = sum(part["bytes"] for part in found["parts"] if part["where"] == "gpu")
    assert gpu == found["gpu"]["expected"]
    assert found["gpu"]["low"] <= found["gpu"]["expected"] <= found["gpu"]["high"]
    assert (found["effective_batch"], found["steps_per_epoch"], found["steps"]) == (8, 2, 6)


@pytest.mark.parametrize(
    "setting", ["add_tokens=<a>", "add_special_tokens=<a>,<b>", "new_special_tokens_config=tokens.yaml"]
)
def test_added_tokens_are_a_resized_vocabulary(project: Project, qtune: Qtune, setting: str) -> None:
    """llamafactory/model/patcher.py, patch_tokenizer: both embeddings are then trained whole."""

    def told(setting: str) -> str:
        return qtune("estimate", "lora", *SEVEN, "-s", setting, "--json", directory=project()).out

    assert told(setting) == told("resize_vocab=true") != told("resize_vocab=false")


def test_all_lists_every_preset_in_the_order_of_the_catalogue(tmp_path: Path, qtune: Qtune) -> None:
    found = json.loads(qtune("estimate", "--all", *SEVEN, "--json", directory=tmp_path).out)
    listed = json.loads(qtune("presets", "--json", directory=tmp_path).out)
    names = [row["preset"] for row in found["presets"]]
    assert names == [row["name"] for row in listed if row["name"] not in found["unsuitable"]]
    assert set(found["unsuitable"]) == {"sft_small", "sft_fast", "sft_standard"}  # two processes
    assert {row["verdict"] for row in found["presets"]} >= {"fits", "does not fit"}


def test_a_directory_without_a_project_will_do(tmp_path: Path, qtune: Qtune) -> None:
    result = qtune("estimate", "--all", *SEVEN, directory=tmp_path)
    assert result.code == 0, result.err
    assert "stage3" in result.out
    single = qtune("estimate", *SEVEN, directory=tmp_path)
    assert single.code == 0, single.err
    assert "lora with Qwen/Qwen2.5-7B" in single.out
    assert "how many, the data does not tell" in single.out
    assert list(tmp_path.iterdir()) == []


def test_data_that_is_not_registered_stops_no_estimate(project: Project) -> None:
    machine, elsewhere = parse_hardware("1x24GB"), [overrides(["dataset=nowhere"])]
    assert forecast("lora", find_project(project()), machine, [], None).rows == 10
    assert forecast("lora", find_project(project()), machine, elsewhere, None).rows is None
    broken = project({"data/datasets.yaml": "rows: [not, a, mapping]\n"})
    assert forecast("lora", find_project(broken), machine, [], None).rows is None


@pytest.mark.parametrize(
    "options", [("-d", "nosuch"), ("-s", "eval_dataset=nosuch"), ("--all", "-d", "nosuch")]
)
def test_data_that_is_asked_for_and_not_registered_is_refused_as_by_train(
    project: Project, qtune: Qtune, options: tuple[str, ...]
) -> None:
    result = qtune("estimate", *options, "--hardware", "1x24GB", directory=project())
    assert (result.code, result.out) == (2, "")
    assert "dataset `nosuch` is not registered" in result.err and "qtune data add" in result.err


def test_a_value_of_no_use_is_named_with_where_to_look(project: Project, qtune: Qtune) -> None:
    result = qtune("estimate", "lora", "-s", "cutoff_len=long", "--hardware", "1x24GB", directory=project())
    assert result.code == 2
    assert "cannot be estimated" in result.err and "qtune check lora" in result.err


def test_no_model_and_both_ways_at_once_are_refused(tmp_path: Path, qtune: Qtune) -> None:
    result = qtune("estimate", "--hardware", "cpu", directory=tmp_path)
    assert result.code == 2 and "no model is named" in result.err
    result = qtune("estimate", "lora", "--all", *SEVEN, directory=tmp_path)
    assert result.code == 2 and "--all takes no preset" in result.err


@pytest.mark.parametrize("hardware", ["1x24GB", "cpu"])
def test_all_needs_nothing_heavy_and_less_than_a_second(tmp_path: Path, hardware: str) -> None:
    arguments = ("estimate", "--all", "-m", "Qwen/Qwen2.5-7B", "--hardware", hardware, "--json")
    modules, seconds = cost(*arguments, directory=tmp_path, goal=1)
    assert modules & HEAVY == set()
    assert seconds < 1


def test_the_experts_of_a_quantised_model_are_said_to_stay_in_16_bits(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    """transformers 5 keeps a layer's experts in one 3-D parameter, which bitsandbytes does not take."""
    root, said = project(), "the experts (28.99B of 30.53B parameters) stay in 16 bits"
    moe, dense = ("-m", "Qwen/Qwen3-30B-A3B"), ("-m", "Qwen/Qwen2.5-7B")
    alone = qtune("estimate", "qlora", *moe, "--hardware", "1x80GB", directory=root).out
    assert said in alone and "linear layers in 4 bits (bnb), experts in 16, frozen" in alone
    assert said not in qtune("estimate", "lora", *moe, "--hardware", "1x80GB", directory=root).out
    for command in (["estimate", "--all", "--hardware", "1x80GB"], ["presets", "--fits", "80GB"]):
        assert qtune(*command, *moe, directory=root).err.count(said) == 1
        assert "16 bits" not in qtune(*command, *dense, directory=root).err
