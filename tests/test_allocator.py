"""torch's allocator grows its segments unless the user has it otherwise, and the estimate follows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from trees import Result

from qtune.machine import allocator, makers
from qtune.machine.allocator import GROWING, NAMES, grows
from qtune.machine.hardware import Hardware

Project = Callable[..., Path]
Qtune = Callable[..., Result]
OTHER = "max_split_size_mb:128"
# GPUs on which LoRA of Qwen2.5-1.5B may just fit, with segments that grow and without
GROWS, FIXED = "1x13GB", "1x14.5GB"
# the user's environment, and what PYTORCH_CUDA_ALLOC_CONF says to a training
AROUND: list[tuple[dict[str, str], str | None]] = [
    ({}, GROWING),
    ({NAMES[0]: OTHER}, OTHER),
    ({NAMES[0]: ""}, ""),
    ({NAMES[1]: OTHER}, None),
    ({NAMES[1]: f"{GROWING},{OTHER}"}, None),
]


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("around", "told"), AROUND)
def test_a_dry_run_shows_it_where_the_user_says_nothing(
    project: Project,
    qtune: Qtune,
    monkeypatch: pytest.MonkeyPatch,
    around: Mapping[str, str],
    told: str | None,
) -> None:
    monkeypatch.setattr(makers, "detect_hardware", lambda: Hardware(1, 80.0, bf16=True, cores=8))
    for name, value in around.items():
        monkeypatch.setenv(name, value)
    result = qtune("train", "lora", "--dry-run", "--json", directory=project())
    [start] = json.loads(result.out)["starts"]
    assert {**around, **start["environment"]}.get(NAMES[0]) == told


def test_nothing_is_said_of_it_on_a_cpu(project: Project, qtune: Qtune) -> None:
    assert "ALLOC_CONF" not in qtune("train", "lora", "--dry-run", directory=project()).out
    qtune("render", "lora", "--hardware", "cpu", directory=project())
    assert "ALLOC_CONF" not in (project() / "rendered" / "lora" / "launch.sh").read_text()


@pytest.mark.parametrize(("around", "told"), AROUND)
def test_the_launcher_by_hand_lets_the_user_have_the_last_word(
    project: Project, qtune: Qtune, around: Mapping[str, str], told: str | None
) -> None:
    qtune("render", "lora", "--hardware", "1x24GB", directory=project())
    script = (project() / "rendered" / "lora" / "launch.sh").read_text()
    [line] = [line for line in script.splitlines() if "ALLOC_CONF" in line]
    done = subprocess.run(
        ["bash", "-uc", f'{line}; echo "${NAMES[0]}"'], env=around, capture_output=True, text=True, check=True
    )
    # torch reads this name first, so it says what the other one did
    assert done.stdout.rstrip("\n") == (around[NAMES[1]] if told is None else told)


def test_segments_grow_where_somebody_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert [grows(around) for around, _ in AROUND] == [True, False, False, False, True]
    assert not grows({NAMES[0]: OTHER, NAMES[1]: GROWING})  # the first name holds
    monkeypatch.setattr(allocator, "_WSL", tmp_path)
    assert not grows({}) and grows({NAMES[0]: GROWING})


def test_the_most_that_is_needed_follows(
    project: Project, qtune: Qtune, monkeypatch: pytest.MonkeyPatch
) -> None:
    def needed() -> dict[str, int]:
        words = ("estimate", "lora", "-m", "Qwen/Qwen2.5-7B", "--hardware", "1x80GB", "--json")
        found: dict[str, int] = json.loads(qtune(*words, directory=project()).out)["gpu"]
        return found

    growing = needed()
    monkeypatch.setenv(NAMES[0], OTHER)
    fixed = needed()
    assert growing["low"] == fixed["low"]
    assert growing["expected"] < fixed["expected"] and growing["high"] < fixed["high"]


@pytest.mark.parametrize(
    ("around", "memory", "words"),
    [
        ({NAMES[0]: OTHER}, FIXED, f"{NAMES[0]}={GROWING} in the environment"),
        ({}, GROWS, "a smaller batch, accumulated more often: -s per_device_train_batch_size=1"),
    ],
)
def test_what_may_just_fit_is_told_what_is_enough(
    project: Project,
    qtune: Qtune,
    monkeypatch: pytest.MonkeyPatch,
    around: Mapping[str, str],
    memory: str,
    words: str,
) -> None:
    for name, value in around.items():
        monkeypatch.setenv(name, value)
    command = ("estimate", "lora", "-m", "Qwen/Qwen2.5-1.5B", "--hardware", memory)
    out = qtune(*command, directory=project()).out
    assert "may just fit" in out
    assert f"for certain it fits with {words}" in out


def test_a_recommendation_names_it_where_nothing_fits_for_certain(
    project: Project, qtune: Qtune, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NAMES[0], OTHER)
    setting = ("-s", "per_device_train_batch_size=2", "-s", "cutoff_len=2048")
    command = ("recommend", "lora", "-m", "Qwen/Qwen2.5-1.5B", "--hardware", FIXED, *setting)
    assert f"it fits with {NAMES[0]}={GROWING} in the environment" in qtune(*command, directory=project()).out
