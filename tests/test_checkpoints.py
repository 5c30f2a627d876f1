"""Which checkpoints can be gone on from."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from saved import save_checkpoint

from qtune.runs.checkpoints import at_home, flaw, in_order, newest, set_aside, verified
from qtune.values import Config, Origin, Value

Damage = Callable[[Path], Any]


def config(**keys: Any) -> Config:
    values = {tuple(key.split("__")): Value(value, Origin("test")) for key, value in keys.items()}
    return Config("test", values)


LORA = config(train__finetuning_type="lora")
FULL = config(train__finetuning_type="full")
TWO = config(train__finetuning_type="lora", launch__nproc_per_node=2)
ZERO_2 = config(train__finetuning_type="lora", launch__nproc_per_node=2, zero__stage=2)
ZERO_3 = config(train__finetuning_type="full", launch__nproc_per_node=2, zero__stage=3)
FSDP = config(train__finetuning_type="lora", launch__nproc_per_node=2, launch__launcher="accelerate")
KINDS: dict[str, tuple[Config, dict[str, Any]]] = {
    "lora": (LORA, {}),
    "full": (FULL, {"adapter": False}),
    "two": (TWO, {"processes": 2}),
    "zero 2": (ZERO_2, {"processes": 2, "zero": 2}),
    "zero 3": (ZERO_3, {"processes": 2, "zero": 3, "adapter": False}),
    "fsdp whole": (FSDP, {"processes": 2, "fsdp": "whole"}),
    "fsdp sharded": (FSDP, {"processes": 2, "fsdp": "sharded"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_checkpoint_has_no_flaw(tmp_path: Path, kind: str) -> None:
    expected, options = KINDS[kind]
    assert flaw(save_checkpoint(tmp_path, 7, **options), 7, expected) is None


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_of_a_checkpoint_counts(tmp_path: Path, kind: str) -> None:
    """Whichever is missing or cut off in its middle: the flaw names it."""
    expected, options = KINDS[kind]
    path = save_checkpoint(tmp_path, 7, **options)
    free = {"model.safetensors"} if kind == "zero 3" else set()  # DeepSpeed has the weights in its own
    for file in [file for file in path.rglob("*") if file.is_file() and file.name not in free]:
        content = file.read_bytes()
        name = file.name.removeprefix("bf16_").removesuffix(".bin")  # it could have another
        file.unlink()
        assert name in (flaw(path, 7, expected) or ""), file
        file.write_bytes(b"")
        assert flaw(path, 7, expected) is not None, file
        if file.name not in (".metadata", "latest", "adapter_config.json"):
            file.write_bytes(content[: len(content) // 2])
            assert file.name in (flaw(path, 7, expected) or ""), file
        file.write_bytes(content)
    assert flaw(path, 7, expected) is None


def shard(path: Path) -> None:
    weights = path / "model.safetensors"
    weights.rename(path / "model-00001-of-00002.safetensors")
    parts = {name: f"model-0000{number}-of-00002.safetensors" for number, name in enumerate("ab", 1)}
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))


@pytest.mark.parametrize(
    ("kind", "damage", "told"),
    [
        ("lora", lambda path: (path / "checkpoint-is-incomplete.txt").touch(), "half-written"),
        ("lora", lambda path: (path / "trainer_state.json").write_text('{"global_step": 6}'), "of step 6"),
        ("full", shard, "model-00002-of-00002.safetensors is missing"),
        ("two", lambda path: (path / "rng_state_1.pth").unlink(), "rng_state_1.pth: is missing"),
        ("zero 2", lambda path: (path / "latest").write_text("global_step8"), "'global_step8'"),
        ("zero 2", lambda path: (path / "latest").write_text("../.."), "not there"),
        ("lora", lambda path: (path / "optimizer.pt").write_bytes(bytes(3000)), "optimizer.pt: is broken"),
    ],
)
def test_what_else_is_noticed(tmp_path: Path, kind: str, damage: Damage, told: str) -> None:
    expected, options = KINDS[kind]
    path = save_checkpoint(tmp_path, 7, **options)
    damage(path)
    assert told in (flaw(path, 7, expected) or "")


def test_ranks_that_stopped_one_step_apart_left_no_complete_checkpoint(tmp_path: Path) -> None:
    whole, *parts = [save_checkpoint(tmp_path, step, processes=2) for step in (5, 6, 7)]
    (parts[0] / "rng_state_1.pth").unlink()
    (parts[1] / "rng_state_0.pth").unlink()
    found, broken = newest(tmp_path, TWO)
    assert found is not None and found.path == whole
    assert [checkpoint.step for checkpoint in broken] == [7, 6]


@pytest.mark.parametrize(("count", "ahead"), [(7, False), (8, True)])
def test_a_stop_under_zero_leaves_weights_a_step_ahead(tmp_path: Path, count: int, ahead: bool) -> None:
    path = save_checkpoint(tmp_path, 7, **KINDS["zero 2"][1])
    (path / "global_step7").rename(path / f"global_step{count}")
    (path / "latest").write_text(f"global_step{count}")
    [checkpoint] = verified(tmp_path, ZERO_2)
    assert (checkpoint.flaw, checkpoint.is_ahead) == (None, ahead)


def test_the_model_alone_cannot_be_gone_on_from(tmp_path: Path) -> None:
    only = config(train__finetuning_type="lora", train__save_only_model=True)
    assert "save_only_model" in (flaw(save_checkpoint(tmp_path, 7), 7, only) or "")


def test_what_is_set_aside_is_kept_where_the_library_does_not_look(tmp_path: Path) -> None:
    for _ in range(2):
        (save_checkpoint(tmp_path, 9) / "optimizer.pt").unlink()
        found, broken = newest(tmp_path, LORA)
        assert found is None
        set_aside(broken[0])
    assert sorted(path.name for path in (tmp_path / "set-aside").iterdir()) == [
        "checkpoint-9",
        "checkpoint-9-2",
    ]
    assert list(tmp_path.glob("checkpoint-*")) == []


def test_a_moved_run_finds_its_best_checkpoint(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 7)
    state = {"global_step": 7, "best_model_checkpoint": "/elsewhere/runs/x/checkpoint-5", "log_history": []}
    (path / "trainer_state.json").write_text(json.dumps(state))
    found, _ = newest(tmp_path, LORA)
    assert found is not None
    at_home(found, "runs/y")
    now = json.loads((path / "trainer_state.json").read_text())
    assert now == {**state, "best_model_checkpoint": "runs/y/checkpoint-5"}


def test_after_a_clock_was_set_back_the_later_checkpoints_are_still_the_younger(tmp_path: Path) -> None:
    now = time.time()
    for step, age in ((9, -7200), (10, -3600), (11, -7000), (2, 500)):
        os.utime(save_checkpoint(tmp_path, step), (now - age, now - age))
    in_order(tmp_path)
    times = [(tmp_path / f"checkpoint-{step}").stat().st_mtime for step in (2, 9, 10, 11)]
    assert times == sorted(set(times)) and times[-1] < now and times[0] == now - 500
