"""A project's `hub:` block: which variables it becomes, who wins, and that no secret stands in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from trees import TINY_MODEL, Result

from qtune.config.project import find_project
from qtune.errors import QtuneError
from qtune.processes import process
from qtune.values import LaunchPlan

VARIABLES = ("USE_MODELSCOPE_HUB", "HF_ENDPOINT", "MODELSCOPE_ENDPOINT", "HF_HUB_OFFLINE")
BLOCK = f"train: {{model_name_or_path: {TINY_MODEL}, dataset: rows}}\n"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("hub", "variables"),
    [
        ("{}", {}),
        ("null", {}),
        ("{name: modelscope}", {"USE_MODELSCOPE_HUB": "1"}),
        ("{name: huggingface}", {"USE_MODELSCOPE_HUB": "0"}),
        ("{mirror: 'https://hf-mirror.com/'}", {"HF_ENDPOINT": "https://hf-mirror.com"}),
        (
            "{name: modelscope, mirror: 'http://10.0.0.1:8080/ms', offline: true}",
            {
                "USE_MODELSCOPE_HUB": "1",
                "MODELSCOPE_ENDPOINT": "http://10.0.0.1:8080/ms",
                "HF_HUB_OFFLINE": "1",
            },
        ),
        ("{offline: false}", {}),
    ],
)
def test_settings_become_the_hubs_own_variables(
    project: Callable[..., Path], hub: str, variables: dict[str, str]
) -> None:
    assert find_project(project({"qtune.yaml": f"hub: {hub}\n"})).hub == variables


@pytest.mark.parametrize(
    ("hub", "says", "fix"),
    [
        ("{mirrors: 'https://x.example'}", "unknown key `hub.mirrors`", "mirror"),
        ("{name: modelscop}", "`hub.name` is not a hub", "huggingface or modelscope"),
        ("{mirror: hf-mirror.com}", "no URL", "https://hf-mirror.com"),
        ("{mirror: 3}", "no URL", "https://hf-mirror.com"),
        ("{mirror: 'https://x.example/$(id)'}", "no URL", "https://hf-mirror.com"),
        ("{offline: 'yes, please'}", "true or false", "offline: true"),
        ("modelscope", "takes a mapping", "name, mirror, offline"),
    ],
)
def test_wrong_settings_name_their_line(project: Callable[..., Path], hub: str, says: str, fix: str) -> None:
    with pytest.raises(QtuneError) as error:
        find_project(project({"qtune.yaml": f"# one\nhub: {hub}\n"}))
    assert says in error.value.what
    assert fix in str(error.value.fix)
    assert error.value.where == "qtune.yaml:2"


@pytest.mark.parametrize(
    "hub",
    [
        "{token: hf_abcdef}",
        "{HF_TOKEN: hf_abcdef}",
        "{mirror: 'https://me:hf_abcdef@x.example'}",
        "{mirror: 'https://hf_abcdef@x.example'}",
        "{mirror: 'https://x.example/?token=hf_abcdef'}",
        "{mirror: hf_abcdef}",
        "{name: hf_abcdef}",
    ],
)
def test_a_secret_is_refused_and_not_repeated(project: Callable[..., Path], hub: str) -> None:
    with pytest.raises(QtuneError) as error:
        find_project(project({"qtune.yaml": f"hub: {hub}\n"}))
    assert "hf_abcdef" not in str(error.value)


def test_a_variable_of_the_environment_wins(
    project: Callable[..., Path], qtune: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project({"qtune.yaml": BLOCK + "hub: {mirror: 'https://team.example', offline: true}\n"})
    monkeypatch.setenv("HF_ENDPOINT", "https://mine.example")
    assert qtune("check", directory=root).code == 0
    assert os.environ["HF_ENDPOINT"] == "https://mine.example"
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_the_launcher_by_hand_sets_them_where_nothing_else_did(
    project: Callable[..., Path], qtune: Callable[..., Result], tmp_path: Path
) -> None:
    root = project({"qtune.yaml": BLOCK + "hub: {mirror: 'https://team.example'}\n"})
    assert qtune("render", "lora", "--hardware", "cpu", directory=root).code == 0
    program = tmp_path / "bin" / "llamafactory-cli"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$HF_ENDPOINT"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    environment.pop("HF_ENDPOINT")
    script = ["bash", root / "rendered" / "lora" / "launch.sh"]
    assert process.ask(script, environment).out == b"https://team.example\n"
    mine = {**environment, "HF_ENDPOINT": "https://mine.example"}
    assert process.ask(script, mine).out == b"https://mine.example\n"


def test_every_child_gets_them(
    project: Callable[..., Path], qtune: Callable[..., Result], tmp_path: Path
) -> None:
    block = "hub: {name: modelscope, mirror: 'https://ms.example', offline: true}\n"
    root = project({"qtune.yaml": BLOCK + block})
    assert qtune("check", directory=root).code == 0
    log = tmp_path / "log"
    outcome = process.run(LaunchPlan(("env",), {}), root, log, lambda output: None)
    assert outcome.exit_code == 0
    lines = log.read_text().splitlines()
    assert {"USE_MODELSCOPE_HUB=1", "MODELSCOPE_ENDPOINT=https://ms.example", "HF_HUB_OFFLINE=1"} <= {*lines}
