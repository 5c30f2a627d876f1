"""JSON Schema and completion: what an editor and a shell offer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from trees import REPOSITORY, Result

from qtune.config.json_schema import SCHEMAS
from qtune.files import read_yaml
from qtune.schema import known_keys

SHIPPED = [
    *(("preset", path) for path in sorted((REPOSITORY / "presets").glob("*.yaml"))),
    ("project", REPOSITORY / "qtune.yaml"),
    ("datasets", REPOSITORY / "data" / "datasets.yaml"),
]


@cache
def validator(kind: str) -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(SCHEMAS[kind]())


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_one(name: str) -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMAS[name]())


@pytest.mark.parametrize(("kind", "path"), SHIPPED, ids=lambda value: getattr(value, "name", value))
def test_every_shipped_yaml_is_valid(kind: str, path: Path) -> None:
    validator(kind).validate(read_yaml(path).data)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("preset", "lora_rank: 8"),
        ("preset", "train: {lora_rnk: 8}"),
        ("preset", "train: {lora_rank: eight}"),
        ("preset", "train: {finetuning_type: loar}"),
        ("preset", "train: {output_dir: x}"),
        ("preset", "zero: {stage: 5}"),
        ("preset", "zero: {offload_param: {devise: cpu}}"),
        ("preset", "launch: {nproc: 1}"),
        ("preset", "runs: x"),
        ("project", "extends: lora"),
        ("datasets", "x: {format: sharegpt}"),
        ("datasets", "x: {file_name: a, columns: {promt: b}}"),
    ],
)
def test_a_slip_is_marked(kind: str, text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validator(kind).validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    [
        "extends: [lora, x]\ntrain: {bf16: auto, lora_rank: null, template: qwen}",
        "train: {lr_scheduler_kwargs: {anything: 1}}",
        "zero: {stage: 3, reduce_bucket_size: auto, offload_param: {device: nvme, nvme_path: /x}}",
        "train:\n  # nothing yet\n",
        "",
    ],
)
def test_what_a_preset_may_say_is_valid(text: str) -> None:
    validator("preset").validate(yaml.safe_load(text))


def test_an_argument_has_its_help_default_and_choices() -> None:
    train = SCHEMAS["preset"]()["properties"]["train"]["properties"]
    assert train["learning_rate"]["default"] == known_keys("train")["learning_rate"].default
    assert train["learning_rate"]["description"]
    assert {"enum": ["fp4", "nf4"]} in train["quantization_type"]["anyOf"]
    assert any("qwen" in choice.get("enum", []) for choice in train["template"]["anyOf"])


def test_init_and_copy_put_the_schemas_where_their_comments_point(
    qtune: Callable[..., Result], tmp_path: Path
) -> None:
    qtune("init", ".", directory=tmp_path)
    qtune("copy", "lora", "ours", directory=tmp_path)
    for name in ("qtune.yaml", "data/datasets.yaml", "presets/ours.yaml"):
        path = tmp_path / name
        comment = path.read_text().splitlines()[0]
        schema = path.parent / comment.removeprefix("# yaml-language-server: $schema=")
        jsonschema.validate(read_yaml(path).data, json.loads(schema.read_text()))


def test_the_command_prints_or_writes(qtune: Callable[..., Result], project: Callable[..., Path]) -> None:
    root = project()
    assert json.loads(qtune("schema", "datasets", directory=root).out) == SCHEMAS["datasets"]()
    assert "preset.schema.json" in qtune("schema", "--write", directory=root).out
    assert qtune("schema", "nope", directory=root).code == 2


def completed(root: Path, shell: str, words: str) -> str:
    environment: dict[str, Any] = {"_QTUNE_COMPLETE": f"complete_{shell}", "PATH": os.environ["PATH"]}
    if shell == "bash":
        environment |= {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - (words[-1] != " "))}
    else:
        environment |= {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    program = "import sys; sys.argv[0] = 'qtune'; from qtune.cli import main; main()"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_presets_datasets_runs_and_arguments(
    project: Callable[..., Path], shell: str
) -> None:
    root = project({"presets/ours.yaml": "extends: lora\n", "runs/first/qtune.json": "{}"})
    assert {"stage3", "stage2_offload"} <= set(
        completed(root, shell, "qtune render st").replace('"', " ").split()
    )
    assert "ours" in completed(root, shell, "qtune train our")
    assert "rows" in completed(root, shell, "qtune render lora -d ro")
    assert "first" in completed(root, shell, "qtune diff fir")
    assert "lora_rank" in completed(root, shell, "qtune show lora lora_r")
    assert "lora_rank" in completed(root, shell, "qtune render lora -s lora_r")


def test_a_broken_project_completes_to_nothing(project: Callable[..., Path]) -> None:
    assert completed(project({"qtune.yaml": "train: ["}), "bash", "qtune render st").strip() == ""
