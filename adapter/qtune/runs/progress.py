"""What LLaMA-Factory and transformers wrote down of a training's steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qtune.files import read_object


def losses(directory: Path) -> list[float]:
    """Each training loss that LLaMA-Factory logged, in order; of a step trained twice the last one.

    It appends to trainer_log.jsonl when it resumes (llamafactory/train/callbacks.py, LogCallback), so steps
    after the checkpoint stand there a second time.
    """
    found: dict[int, float] = {}
    last = 0
    for row in _rows(directory):
        step, loss = row.get("current_steps"), row.get("loss")
        if loss is None:
            continue
        step = step if isinstance(step, int) else last + 1
        if step <= last:
            found = {known: value for known, value in found.items() if known < step}
        found[step], last = loss, step
    return list(found.values())


def reached(directory: Path, *, ended: bool) -> tuple[int, int] | None:
    """The last step of a training that it wrote of, and how many steps it has; None where it wrote of none.

    ended: it came to an end of its own, so that its trainer_state.json is of that, and of no earlier attempt.
    """
    if ended:
        state = read_object(directory / "trainer_state.json")
        step, steps = state.get("global_step"), state.get("max_steps")
    else:
        rows = [row for row in _rows(directory) if "current_steps" in row]
        step, steps = (rows[-1]["current_steps"], rows[-1].get("total_steps")) if rows else (None, None)
    return (step, steps) if isinstance(step, int) and isinstance(steps, int) else None


def _rows(directory: Path) -> list[Mapping[str, Any]]:
    """The lines of trainer_log.jsonl; a child that was killed may leave half of one."""
    path = directory / "trainer_log.jsonl"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return [row for line in text.splitlines() if (row := _object(line))]


def _object(text: str) -> Mapping[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


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
