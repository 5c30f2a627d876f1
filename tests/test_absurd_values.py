"""Absurd values, and texts that give a terminal orders, are told with their file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from trees import TINY_MODEL, Result

from qtune.errors import QtuneError
from qtune.schema import arguments, problem

PROJECT = f"presets: [presets]\ntrain: {{model_name_or_path: {TINY_MODEL}, dataset: rows}}\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train: {max_steps: 99999999999999999999999999}", "max_steps: is out of range"),
        ("train: {num_train_epochs: 1e300}", "num_train_epochs: is out of range"),
        ("train: {num_train_epochs: .inf}", "num_train_epochs: is not a finite number (inf)"),
        ("train: {learning_rate: .nan}", "learning_rate: is not a finite number (nan)"),
        (f"train: {{lora_rank: 1{'0' * 400}}}", "lora_rank: is out of range"),
        (
            "train: {lr_scheduler_kwargs: {min_lr: .nan}}",
            "lr_scheduler_kwargs.min_lr: holds a number that is not a finite number (nan)",
        ),
        (
            "train: {interleave_probs: [0.5, .inf]}",
            "interleave_probs: holds a number that is not a finite number (inf)",
        ),
        ("zero: {stage: 2, reduce_bucket_size: 1e300}", "zero.reduce_bucket_size: is out of range"),
        ("launch: {nproc_per_node: 100000000000000000000}", "launch.nproc_per_node: is out of range"),
        ('about: "red \\e[31m"', "holds a control character (\\x1b)"),
        ('train: {run_name: "\\e[2J"}', "holds a control character (\\x1b)"),
        ('train: {"run\\x9bname": 1}', "holds a control character (\\x9b)"),
        ('extends: [lora, "\\a"]', "holds a control character (\\x07)"),
    ],
)
def test_an_absurd_value_is_a_finding_at_its_line(
    qtune: Callable[..., Result], project: Callable[..., Path], line: str, says: str
) -> None:
    text = line if line.startswith("extends") else f"extends: lora\n{line}"
    root = project({"qtune.yaml": PROJECT, "presets/x.yaml": f"# a comment\n{text}\n"})
    number = len(text.splitlines()) + 1
    for command in (("check", "x"), ("render", "x")):
        result = qtune(*command, directory=root)
        assert result.code == 2, result
        assert f"presets/x.yaml:{number}" in result.err and says in result.err
        assert "\x1b" not in result.err and "\x9b" not in result.err
    assert not (root / "rendered").exists()


def test_what_only_looks_finds_nothing_to_fail_on(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    preset = "extends: lora\ntrain: {num_train_epochs: .inf, lr_scheduler_kwargs: {min_lr: .nan}}\n"
    root = project({"qtune.yaml": PROJECT, "presets/x.yaml": preset})
    shown = qtune("show", "x", directory=root)
    assert shown.code == 0 and "num_train_epochs: .inf" in shown.out and "min_lr: .nan" in shown.out
    assert qtune("estimate", "x", "--hardware", "cpu", directory=root).code == 0


def test_line_breaks_and_the_largest_numbers_are_no_matter() -> None:
    assert problem(arguments()["default_system"], "one\n\ttwo") is None
    assert problem(arguments()["max_steps"], 2**63) is None


def test_an_error_gives_a_terminal_no_orders() -> None:
    error = QtuneError("says \x1b[31m", where="x\r.yaml", fix="\udcff\n\tgo on")
    assert str(error) == "x\\r.yaml: says \\x1b[31m\n  fix: \\udcff\n\tgo on"
