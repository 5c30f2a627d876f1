"""How an attempt is judged: a training that was stopped exits with 0 too, and its steps tell."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from qtune.processes.process import Outcome
from qtune.runs.ending import Watch, judged
from qtune.values import Config, Origin, Value

INTERRUPTED = Outcome(0, signal.SIGINT)
KILLED = Outcome(-9, signal.SIGTERM)


@pytest.mark.parametrize(
    ("outcome", "state", "logged", "early", "expected"),
    [
        (INTERRUPTED, 3, 2, None, ("stopped", "stopped by SIGINT at step 3 of 6")),
        (INTERRUPTED, 6, 5, None, ("finished", None)),  # it was asked on its last step
        (Outcome(0), 6, 5, None, ("finished", None)),
        (Outcome(0), 3, 2, None, ("stopped", "stopped by SIGTERM to its workers at step 3 of 6")),
        (Outcome(0), 3, 2, 1, ("finished", None)),  # early_stopping_steps
        (KILLED, 6, 2, None, ("stopped", "stopped by SIGTERM at step 2 of 6")),  # the state is of another end
        (KILLED, None, None, None, ("stopped", "stopped by SIGTERM before its first step")),
        (Outcome(-9, None, "its supervisor was ended by SIGKILL"), None, 2, None, ("failed", None)),
    ],
)
def test_an_end_is_judged_by_who_wanted_it_and_the_steps(
    tmp_path: Path,
    outcome: Outcome,
    state: int | None,
    logged: int | None,
    early: int | None,
    expected: tuple[str, str | None],
) -> None:
    if state is not None:
        (tmp_path / "trainer_state.json").write_text(json.dumps({"global_step": state, "max_steps": 6}))
    if logged is not None:
        row = {"current_steps": logged, "total_steps": 6, "loss": 1.5}
        (tmp_path / "trainer_log.jsonl").write_text(json.dumps(row) + '\n{"current_steps": 3, "tot')
    log = tmp_path / "train.log"
    log.touch()
    values = {("train", "early_stopping_steps"): Value(early, Origin("test"))} if early else {}
    ended = judged(tmp_path, log, Config("lora", values, ()), outcome, Watch(log))
    assert ended[:2] == (expected[0], outcome.exit_code)
    assert ended.reason == (expected[1] if expected[0] != "failed" else outcome.reason)
