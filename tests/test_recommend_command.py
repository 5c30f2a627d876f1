"""`qtune recommend`: what it prints, saves and refuses."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from trees import REPOSITORY, Result, cost, files_below

from qtune.advice.recommend import SPEEDS

SMALL = "Qwen/Qwen2.5-0.5B-Instruct"
PAIRS = [{"instruction": "say", "input": "", "chosen": "a", "rejected": "b"}] * 10


def refused(result: Result, *says: str) -> None:
    assert result.code == 2 and result.err.count("error: ") == 1 and "fix: " in result.err, result
    for words in says:
        assert words in result.err


def test_it_answers_in_an_empty_directory(qtune: Callable[..., Result], tmp_path: Path) -> None:
    result = qtune("recommend", "-m", "Qwen/Qwen2.5-7B", "--hardware", "1x26GB", directory=tmp_path)
    lines = result.out.splitlines()
    assert (
        result.code == 0
        and lines[0] == "Qwen/Qwen2.5-7B, 7.62B parameters, stage sft, on 1x26GB (26 GiB, 27.9 GB each)"
    )
    assert "lora            the fastest that fits; batch 1 instead of 2 to fit" in lines
    assert lines[-1].startswith("qtune render lora -m Qwen/Qwen2.5-7B --hardware 1x26GB -s per_device_train")
    assert "not for this: zero3_nvme" in result.out and "no dataset is named yet" in result.err
    assert files_below(tmp_path) == set()


def test_the_command_it_ends_with_works(qtune: Callable[..., Result], project: Callable[..., Path]) -> None:
    root = project()
    asked = ["recommend", "-m", SMALL, "--hardware", "1x8GB", "-s", "learning_rate=0.001"]
    command = shlex.split(qtune(*asked, directory=root).out.splitlines()[-1])
    assert command[:2] == ["qtune", "render"]
    assert qtune(*command[1:], directory=root).code == 0
    rendered = yaml.safe_load((root / "rendered" / command[2] / "train.yaml").read_text())
    # the rows are of a few tokens, so eight of them fit at once
    assert (rendered["per_device_train_batch_size"], rendered["learning_rate"]) == (8, 0.001)
    assert f"cutoff_len={rendered['cutoff_len']}" in command and rendered["cutoff_len"] < 256


def test_for_this_machine_it_heeds_host_memory_and_disk_and_trains(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    root = project()
    result = qtune("recommend", directory=root)
    assert "GB of host memory free" in result.out.splitlines()[0]
    assert result.out.splitlines()[-1].startswith("qtune train ")
    free = json.loads(qtune("recommend", "--json", directory=root).out)["free"]
    assert free["host"] > 0 and free["disk"] > 0


def test_as_json(qtune: Callable[..., Result], tmp_path: Path) -> None:
    asked = ["recommend", "-m", SMALL, "--hardware", "2x16GB", "--json"]
    found = json.loads(qtune(*asked, directory=tmp_path).out)
    assert (found["hardware"], found["stage"], found["parameters"]) == ("2x16GB", "sft", 494032768)
    assert found["recommended"] == found["presets"][0]["preset"] and found["command"].startswith("qtune ")
    speeds = {preset["speed"] for preset in found["presets"] if preset["verdict"] == "fits"}
    assert found["presets"][0]["speed"] == "fastest" and speeds <= set(SPEEDS.values())
    for preset in found["presets"]:
        own = preset["per_device_train_batch_size"] * preset["gradient_accumulation_steps"]
        assert preset["effective_batch"] == 2 * own
        assert preset["gpu"]["low"] <= preset["gpu"]["expected"] <= preset["gpu"]["high"]
    assert list(found["unsuitable"]) == ["zero3_nvme"] and found["remedies"] == [] and found["rows"] is None
    cpu = json.loads(qtune("recommend", "-m", SMALL, "--hardware", "cpu", "--json", directory=tmp_path).out)
    assert cpu["presets"][0]["gpu"] is None and cpu["recommended"] == "lora"


def test_where_nothing_fits_it_says_what_would_help(qtune: Callable[..., Result], tmp_path: Path) -> None:
    asked = ["recommend", "lora", "qlora", "-m", "Qwen/Qwen2.5-72B", "--hardware", "1x8GB"]
    result = qtune(*asked, directory=tmp_path)
    assert result.code == 0 and "nothing fits for certain; the nearest, qlora, needs " in result.out
    assert "it fits with a GPU of 80GB (84.9 GB)" in result.out and "qtune render" not in result.out
    found = json.loads(qtune(*asked, "--json", directory=tmp_path).out)
    assert (found["recommended"], found["command"]) == (None, None) and found["remedies"]


@pytest.mark.parametrize("hardware", ["1x8GB", "1x24GB", "2x24GB", "cpu"])
def test_what_is_saved_renders_and_passes_its_check(
    qtune: Callable[..., Result], project: Callable[..., Path], hardware: str
) -> None:
    root = project({"qtune.yaml": f"train: {{model_name_or_path: {SMALL}, dataset: rows}}\n"})
    asked = ["recommend", "--hardware", hardware, "-s", "lora_dropout=0.05", "--json"]
    found = json.loads(qtune(*asked, "--write", "ours", directory=root).out)
    text = (root / "presets" / "ours.yaml").read_text()
    assert f"for {SMALL} on {hardware}" in text and "presets: [presets]" in (root / "qtune.yaml").read_text()
    assert qtune("check", "ours", "--hardware", hardware, directory=root).out == "ok: ours\n"
    assert qtune("render", "ours", "--hardware", hardware, directory=root).code == 0
    rendered = yaml.safe_load((root / "rendered" / "ours" / "train.yaml").read_text())
    first = found["presets"][0]
    for key in ("per_device_train_batch_size", "gradient_accumulation_steps"):
        assert rendered[key] == first[key]
    assert rendered["lora_dropout"] == 0.05
    assert shlex.split(found["command"]) == ["qtune", "render", "ours", "--hardware", hardware]
    again = json.loads(qtune("recommend", "ours", "--hardware", hardware, "--json", directory=root).out)
    assert again["presets"][0]["gpu"] == first["gpu"] and again["presets"][0]["verdict"] == "fits"


def test_what_qtune_yaml_says_is_not_saved_but_repeated(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    train = f"{{model_name_or_path: {SMALL}, dataset: rows, lora_dropout: 0.1}}"
    root = project({"qtune.yaml": f"presets: [presets]\ntrain: {train}\n"})
    asked = ["recommend", "--hardware", "1x24GB", "-s", "lora_dropout=0.2", "--write", "ours"]
    result = qtune(*asked, directory=root)
    assert "lora_dropout" not in (root / "presets" / "ours.yaml").read_text()
    assert result.out.splitlines()[-1] == "qtune render ours --hardware 1x24GB -s lora_dropout=0.2"


@pytest.mark.parametrize(
    ("tree", "arguments", "says"),
    [
        ({"presets/ours.yaml": ""}, [], ["is there already"]),
        ({}, ["-m", "Qwen/Qwen2.5-72B", "lora"], ["nothing fits", "nothing is saved"]),
        ({"qtune.yaml": "train: {lora_rank: 1\n"}, [], ["qtune.yaml:1"]),
    ],
)
def test_nothing_is_overwritten_or_saved_that_does_not_fit(
    qtune: Callable[..., Result],
    project: Callable[..., Path],
    tree: dict[str, str],
    arguments: list[str],
    says: list[str],
) -> None:
    root = project(tree)
    before = files_below(root)
    asked = ["recommend", *arguments, "--hardware", "1x8GB", "--write", "ours"]
    refused(qtune(*asked, directory=root), *says)
    assert files_below(root) == before


def test_saving_needs_a_project(qtune: Callable[..., Result], tmp_path: Path) -> None:
    asked = ["recommend", "-m", SMALL, "--hardware", "1x8GB", "--write", "ours"]
    refused(qtune(*asked, directory=tmp_path), "qtune init")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no model is named"),
        (["-m", "org/nobody-knows-this"], "not known"),
        (["-m", SMALL, "stge3"], "`stage3`"),
        (["-m", SMALL, "--hardware", "gpu"], "--hardware"),
        (["-m", SMALL, "-d", "nope"], "`nope` is not registered"),
        (["-m", SMALL, "-s", "lora_rank=big"], "an integer"),
    ],
)
def test_a_bad_request_is_one_clear_message(
    qtune: Callable[..., Result], tmp_path: Path, arguments: list[str], says: str
) -> None:
    refused(qtune("recommend", *arguments, directory=tmp_path), says)


def test_rows_decide_the_cutoff_and_what_is_cut_is_said(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    long_rows = [{"instruction": "say", "input": "", "output": "word " * 3000}] * 20
    root = project({"data/rows.jsonl": long_rows})
    asked = ["recommend", "lora", "-m", "Qwen/Qwen2.5-7B", "--hardware"]
    whole = qtune(*asked, "1xH200", directory=root)
    assert "its rows are of up to 4," in whole.out and "instead of 2048 for the rows" in whole.out
    assert "cuts " not in whole.out and "-s cutoff_len=" in whole.out.splitlines()[-1]
    assert "cuts 100% of the rows" in qtune(*asked, "1xA10G", directory=root).out
    kept = json.loads(qtune(*asked, "1xH200", "-s", "cutoff_len=512", "--json", directory=root).out)
    assert kept["presets"][0]["cutoff_len"] == 512 and "cutoff_len=" in kept["command"]


def test_the_demos_rows_stand_for_nothing_until_they_are_asked_for(
    qtune: Callable[..., Result], tmp_path: Path
) -> None:
    qtune("init", ".", "-m", "Qwen/Qwen2.5-7B", directory=tmp_path)
    asked = ["recommend", "qlora", "--hardware", "1x24GB"]
    result = qtune(*asked, directory=tmp_path)
    assert "rows are of up to" not in result.out and "the demo's rows are not weighed" in result.err
    assert "rows are of up to" in qtune(*asked, "-d", "demo", directory=tmp_path).out


def test_a_batch_that_was_said_is_kept(qtune: Callable[..., Result], project: Callable[..., Path]) -> None:
    root = project()
    asked = [
        "recommend",
        "-m",
        SMALL,
        "--hardware",
        "1x80GB",
        "-s",
        "per_device_train_batch_size=3",
        "--json",
    ]
    found = json.loads(qtune(*asked, directory=root).out)["presets"]
    assert {preset["per_device_train_batch_size"] for preset in found} == {3}


def test_the_data_decides_the_stage(qtune: Callable[..., Result], project: Callable[..., Path]) -> None:
    registrations = (
        "rows: {file_name: rows.jsonl}\n"
        "pairs: {file_name: pairs.jsonl, ranking: true, columns: {prompt: instruction, chosen: chosen, "
        "rejected: rejected}}\n"
    )
    root = project({"data/datasets.yaml": registrations, "data/pairs.jsonl": PAIRS})
    asked = ["recommend", "-m", SMALL, "--hardware", "1x24GB", "--json"]
    rows = json.loads(qtune(*asked, directory=root).out)
    pairs = json.loads(qtune(*asked, "-d", "pairs", directory=root).out)
    assert rows["stage"] == "sft" and "dpo" not in [preset["preset"] for preset in rows["presets"]]
    assert pairs["stage"] == "dpo" and [preset["preset"] for preset in pairs["presets"]] == ["dpo"]


def test_presets_of_ones_own_are_weighed_too(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    tree = {
        "presets/ours.yaml": "extends: lora\ntrain: {lora_rank: 4, per_device_train_batch_size: 8}\n",
        "presets/broken.yaml": "extends: lora\ntrain: {nope: 1}\n",
        "presets/unreadable.yaml": "a: [\n",
    }
    asked = ["recommend", "-m", SMALL, "--hardware", "1x8GB", "--json"]
    found = json.loads(qtune(*asked, directory=project(tree)).out)
    ours = next(preset for preset in found["presets"] if preset["preset"] == "ours")
    # the rows are of a few tokens, so all of them fit at once
    assert (ours["per_device_train_batch_size"], ours["effective_batch"]) == (32, 32)
    assert {"broken", "unreadable", "zero3_nvme"} <= set(found["unsuitable"])


def test_it_takes_less_than_a_second_and_nothing_heavy(tmp_path: Path) -> None:
    arguments = ("recommend", "-m", "Qwen/Qwen2.5-72B", "--hardware", "8x80GB", "--json")
    modules, seconds = cost(*arguments, directory=tmp_path, goal=1)
    assert modules & {"torch", "transformers", "numpy", "pydantic", "psutil", "rich", "requests"} == set()
    assert seconds < 1


def test_help_names_it(qtune: Callable[..., Result]) -> None:
    result = qtune("recommend", "--help", directory=REPOSITORY)
    assert result.code == 0 and "fastest that fits" in result.out and "--write" in result.out
