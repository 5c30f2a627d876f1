"""Out of memory: what is tried next keeps the effective batch and ends."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from qtune.config.project import find_project
from qtune.failures.words import Phase, phase
from qtune.machine.hardware import parse_hardware
from qtune.prepare import pipeline
from qtune.prepare.pipeline import Prepared
from qtune.processes import process
from qtune.runs.record import Run
from qtune.training import attempts, stepping
from qtune.training.stepping import Step
from qtune.values import Config, Layer, Origin, Value

Make = Callable[..., Path]


@pytest.fixture
def claimed(project: Make, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Run, Prepared]]:
    """A run of a preset, recorded and not started."""
    monkeypatch.setattr(process, "find_program", lambda name, fix="": Path("/bin/true"))
    root = project()

    def claim(preset: str, hardware: str, **settings: Any) -> tuple[Run, Prepared]:
        values = {("train", key): Value(value, Origin("--set")) for key, value in settings.items()}
        found = find_project(root)
        prepared = pipeline.prepare(preset, found, parse_hardware(hardware), [Layer("--set", values)])
        assert not prepared.errors, prepared.errors
        pipeline.write(prepared)
        return attempts.claim(prepared, name="x")

    return claim


def ladder(run: Run, prepared: Prepared, at: Phase = "training") -> list[Step]:
    """Every step there is, each attempted and failed."""
    steps: list[Step] = []
    run.begin_attempt(prepared.plan)
    while (step := stepping.after(run, prepared, at)) is not None:
        run.end_attempt("failed", -9, "ended by SIGKILL")
        run.begin_attempt(step.prepared.plan, changes=step.changes)
        prepared = step.prepared
        steps.append(step)
        assert len(steps) < 30, "it does not end"
    return steps


def effective(config: Config) -> int:
    batch = config.get("train", "per_device_train_batch_size")
    return int(batch * config.get("train", "gradient_accumulation_steps") * config.processes)


@pytest.mark.parametrize(
    ("preset", "hardware", "settings", "texts"),
    [
        (
            "lora",
            "1x24GB",
            {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 3},
            [
                "batch 4 x accumulation 6, for batch 8 x accumulation 3",
                "batch 2 x accumulation 12, for batch 4 x accumulation 6",
                "batch 1 x accumulation 24, for batch 2 x accumulation 12",
                "preset qlora, batch 2 x accumulation 12",
            ],
        ),
        (
            "stage2_offload",
            "2x8GB",
            {},
            ["preset stage3, batch 2 x", "preset minimal, batch 1 x"],
        ),
        ("lora", "1x24GB", {"per_device_train_batch_size": 3}, ["batch 1 x accumulation 12, for batch 3 x"]),
    ],
)
def test_the_effective_batch_stays_down_the_whole_ladder(
    claimed: Callable[..., tuple[Run, Prepared]],
    preset: str,
    hardware: str,
    settings: dict[str, int],
    texts: list[str],
) -> None:
    run, prepared = claimed(preset, hardware, **settings)
    steps = ladder(run, prepared)
    told = iter(step.text for step in steps)
    assert all(any(step.startswith(text) for step in told) for text in texts), [step.text for step in steps]
    assert {effective(step.prepared.config) for step in steps} == {effective(prepared.config)}
    assert len({str(step.changes) for step in steps}) == len(steps)
    assert all(not step.prepared.errors for step in steps)
    store = prepared.project.store
    assert store.load(steps[-1].text.split()[1].rstrip(",")).step_down is None or "batch 1" in steps[-1].text


def test_what_was_given_or_removed_by_hand_stays_so(claimed: Callable[..., tuple[Run, Prepared]]) -> None:
    run, prepared = claimed("lora", "1x24GB", warmup_steps=None, seed=7, per_device_train_batch_size=1)
    steps = ladder(run, prepared)
    assert [step.text.split(",")[0] for step in steps] == ["preset qlora", "preset minimal"]
    for step in steps:
        assert step.prepared.config.find("train", "warmup_steps") is None
        assert step.prepared.config.get("train", "seed") == 7
        assert step.prepared.config.get("train", "per_device_train_batch_size") == 1


def test_before_the_first_step_no_batch_is_tried(claimed: Callable[..., tuple[Run, Prepared]]) -> None:
    run, prepared = claimed("lora", "1x24GB")
    assert all(step.text.startswith("preset ") for step in ladder(run, prepared, "before"))


def test_an_evaluation_shrinks_its_own_batch_first(claimed: Callable[..., tuple[Run, Prepared]]) -> None:
    run, prepared = claimed("lora", "1x24GB", per_device_eval_batch_size=5)
    steps = ladder(run, prepared, "evaluating")
    assert [step.text for step in steps[:2]] == [
        "per_device_eval_batch_size 2, for 5",
        "per_device_eval_batch_size 1, for 2",
    ]
    assert steps[0].changes == {"train.per_device_eval_batch_size": 2}
    assert all(step.text.startswith("preset ") for step in steps[2:])


def test_checkpoints_are_gone_on_with_where_the_same_is_trained(
    claimed: Callable[..., tuple[Run, Prepared]],
) -> None:
    run, prepared = claimed("stage2_offload", "1x24GB")
    continues = {step.text.split(",")[0]: step.continues for step in ladder(run, prepared)}
    assert continues["preset stage3"] is False
    assert all(same for text, same in continues.items() if not text.startswith("preset"))


@pytest.mark.parametrize(
    ("lines", "at"),
    [
        ([], "before"),
        (["[INFO|trainer.py:1467] >> ***** Running training *****"], "training"),
        (["***** Running training *****", "***** Running Evaluation *****", " 50%|#"], "evaluating"),
        (
            ["***** Running Evaluation *****", "{'eval_loss': '7.567', 'eval_runtime': '0.033'}"],
            "training",
        ),
    ],
)
def test_the_log_tells_what_the_trainer_was_at(lines: list[str], at: Phase) -> None:
    assert phase(lines) == at


ASKED = """
import sys
from types import SimpleNamespace
from qtune.cli.training.start import steps_down
from qtune.processes import signals
from qtune.runs.ending import Ended
given = sys.argv[1] if len(sys.argv) > 1 else None
with signals.collected() as received:
    goes_on = steps_down(given, Ended("failed", -9, "ended by SIGKILL"), SimpleNamespace(text="batch 1"))
print(goes_on, received)
"""


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        (b"y\n", b"True []"),
        (b"\n", b"True []"),
        (b"n\n", b"False []"),
        (b"\x03", b"False [2]"),
        (b"\x04", b"False []"),
    ],
)
def test_at_a_terminal_somebody_is_asked(typed: bytes, answer: bytes) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", ASKED])
    said = b""
    while b"go on with batch 1? [Y/n]: " not in said:
        said += os.read(terminal, 1 << 10)
    while psutil.Process(pid).status() != psutil.STATUS_SLEEPING:  # a Ctrl-C before the reading is not heard
        time.sleep(0.01)
    os.write(terminal, typed)
    with suppress(OSError):  # Linux' answer at the end of a terminal
        while more := os.read(terminal, 1 << 10):
            said += more
    os.waitpid(pid, 0)
    os.close(terminal)
    assert answer in said


@pytest.mark.parametrize(
    ("option", "goes_on", "says"),
    [
        ((), "False", "--on-oom step-down would go on with batch 1"),
        (("stop",), "False", ""),
        (("step-down",), "True", "going on with batch 1"),
    ],
)
def test_elsewhere_the_option_decides(option: tuple[str, ...], goes_on: str, says: str) -> None:
    asked = [sys.executable, "-c", ASKED, *option]
    result = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    assert result.stdout.split()[0] == goes_on
    assert says in result.stderr
