"""Rows that see each other under `neat_packing`: the rule against the library's own models."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from scratch import environment

from qtune.config.recurrence import recurrent_kind

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("packed_neighbours.py")


def test_rows_see_their_neighbours_in_models_that_carry_a_state(tmp_path: Path) -> None:
    answers = tmp_path / "answers.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(answers)], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-8000:]
    found = json.loads(answers.read_text(encoding="utf-8"))
    assert found.pop("qwen3_5, patched") < 1e-5  # 0.0 measured
    layers = {"lfm2": ["conv"]}
    for kind, difference in found.items():
        carries = bool(recurrent_kind({"model_type": kind, "layer_types": layers.get(kind)}, kind))
        # measured: 0.0 in qwen2 and gemma3, from 0.001 (lfm2) to 0.6 (bamba) in the others
        assert (difference > 1e-4) == carries, (kind, difference)


def test_every_model_that_transformers_calls_stateful_is_known_as_such() -> None:
    spec = importlib.util.find_spec("transformers")
    assert spec is not None and spec.origin is not None
    stateful = [
        path.parent.name
        for path in Path(spec.origin).parent.glob("models/*/modeling_*.py")
        if "_is_stateful = True" in path.read_text(encoding="utf-8")
    ]
    assert len(stateful) > 10
    assert [kind for kind in stateful if not recurrent_kind({"model_type": kind}, "")] == []
