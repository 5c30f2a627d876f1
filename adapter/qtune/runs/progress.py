"""What LLaMA-Factory and transformers wrote down of a training's steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def losses(directory: Path) -> list[float]:
    """Each training loss that LLaMA-Factory logged, in order; of a step trained twice the last one.

    It appends to trainer_log.jsonl when it resumes (llamafactory/train/callbacks.py, LogCallback), so steps
    after the checkpoint stand there a second time. A child that was killed may leave half a line.
    """
    path = directory / "trainer_log.jsonl"
    if not path.is_file():
        return []
    found: dict[int, float] = {}
    last = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            step, loss = row.get("current_steps"), row.get("loss")
        except (ValueError, AttributeError):
            continue
        if loss is None:
            continue
        step = step if isinstance(step, int) else last + 1
        if step <= last:
            found = {known: value for known, value in found.items() if known < step}
        found[step], last = loss, step
    return list(found.values())


def mean_loss(state: Mapping[str, Any]) -> float | None:
    """The mean training loss of all steps, from a trainer_state.json; None where it logged none.

    Each entry of its `log_history` is the mean since the one before (transformers/trainer.py,
    _maybe_log_save_evaluate).
    """
    total, last = 0.0, 0
    for entry in state.get("log_history", []):
        if "loss" in entry and entry["step"] > last:
            total += entry["loss"] * (entry["step"] - last)
            last = entry["step"]
    return total / last if last else None
