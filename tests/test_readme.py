"""README stays true: the examples, the commands, the versions."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from trees import REPOSITORY, ROWS, TINY_MODEL, Result, write_tree

from qtune.config.presets import KEYS

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def block(language: str, containing: str) -> str:
    (text,) = (text for kind, text in BLOCKS if kind == language and containing in text)
    return text


def test_the_path_from_own_rows_is_under_ten_lines_and_works_up_to_the_training(
    qtune: Callable[..., Result], tmp_path: Path
) -> None:
    """Every line but `pip` and the training itself, which the end-to-end tests do."""
    lines = block("bash", "qtune init").splitlines()
    assert len(lines) < 10
    home = write_tree(tmp_path, {"home/answers.jsonl": ROWS}) / "home"
    directory = tmp_path
    for line in lines:
        for command in (shlex.split(part.replace("~", str(home))) for part in line.split("&&")):
            match command:
                case ["pip", *_] | ["qtune", "train"]:
                    continue
                case ["qtune", *arguments]:
                    assert qtune(*arguments, directory=directory).code == 0, line
                case ["cd", name]:
                    directory = directory / name
                case _:
                    pytest.fail(f"a command this test does not know: {line}")
    rendered = (directory / "rendered/lora/dataset_info.json").read_text(encoding="utf-8")
    assert str(home / "answers.jsonl") in rendered


def test_the_registrations_shown_are_good(qtune: Callable[..., Result], project: Callable[..., Path]) -> None:
    chats = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}]
    tree = {
        "data/datasets.yaml": block("yaml", "chats:"),
        "data/chats.jsonl": chats,
        "data/questions.jsonl": [{"question": "a", "answer": "b"}],
    }
    assert qtune("check", "lora", "-d", "chats,questions", directory=project(tree)).code == 0


def test_the_preset_shown_is_good(qtune: Callable[..., Result], project: Callable[..., Path]) -> None:
    root = project({"presets/ours.yaml": block("yaml", "our house style")})
    assert qtune("check", "ours", directory=root).code == 0
    assert set(yaml.safe_load(block("yaml", "our house style"))) <= set(KEYS)


def test_the_nodes_shown_are_good(qtune: Callable[..., Result], project: Callable[..., Path]) -> None:
    root = project()
    with (root / "qtune.yaml").open("a") as settings:
        settings.write(f"\n{block('yaml', 'nnodes: 2')}")
    (example,) = (
        text for _, text in re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL) if "--node-rank" in text
    )
    for line in example.splitlines():
        _, command, _, preset, *options = shlex.split(line)
        assert command == "qtune" and set(options) & {"--name", "--node-rank"}
        rank = options[options.index("--node-rank") + 1]
        assert qtune("check", preset, "-s", f"launch.node_rank={rank}", directory=root).code == 0


def test_the_line_to_change_is_the_checkouts_own() -> None:
    line = block("yaml", "Qwen/Qwen2.5-0.5B-Instruct").strip()
    assert (
        yaml.safe_load((REPOSITORY / "qtune.yaml").read_text())["defaults"].keys()
        >= yaml.safe_load(line).keys()
    )
    assert (REPOSITORY / "data" / TINY_MODEL.name).is_dir()


def test_make_commands_are_targets_and_qtune_commands_exist(
    qtune: Callable[..., Result], tmp_path: Path
) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", README, re.MULTILINE))
    assert {"train", "test"} <= named <= targets
    commands = set(re.findall(r"`qtune ([a-z]+)", README)) - {"[train]"}
    overview = qtune("--help", directory=tmp_path).out
    assert all(re.search(rf"\b{command}\b", overview) for command in commands)


def test_the_versions_are_those_of_the_constraints_and_allowed_by_the_package() -> None:
    pinned = dict(
        re.findall(r"^([\w.-]+)==(\S+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    )
    words = {"LLaMA-Factory": "llamafactory", "PEFT": "peft", "DeepSpeed": "deepspeed"}
    text = README.partition("pinned in `constraints.txt`:")[2].partition("Python 3.11.")[0]
    stated = re.findall(r"([\w-]+) (\d+\.\d+\.\d+)", text)
    assert len(stated) == 6
    assert {name: version for name, version in stated if pinned[words.get(name, name)] != version} == {}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted += extra
    names = {re.split(r"[<>=!\[ ]", requirement)[0].lower() for requirement in wanted}
    assert names - {name.lower() for name in pinned} == set()
    assert "://" not in (REPOSITORY / "constraints.txt").read_text()
