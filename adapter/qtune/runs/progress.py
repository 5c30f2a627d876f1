"""What LLaMA-Factory and transformers wrote down of a training's steps."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qtune.files import from_json, read_object

_TAIL_BYTES = 4000


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


def last_loss(directory: Path) -> float | None:
    """The training loss that was logged last, None where none was."""
    rows = (row.get("loss") for row in _last_rows(directory))
    return next((loss for loss in rows if isinstance(loss, int | float)), None)


def reached(directory: Path, *, ended: bool) -> tuple[int, int] | None:
    """The last step of a training that it wrote of, and how many steps it has; None where it wrote of none.

    ended: it came to an end of its own, so that its trainer_state.json is of that, and of no earlier attempt.
    """
    if ended:
        state = read_object(directory / "trainer_state.json")
        step, steps = state.get("global_step"), state.get("max_steps")
    else:
        row = next((row for row in _last_rows(directory) if "current_steps" in row), {})
        step, steps = row.get("current_steps"), row.get("total_steps")
    return (step, steps) if isinstance(step, int) and isinstance(steps, int) else None


def _rows(directory: Path) -> list[Mapping[str, Any]]:
    """The lines of trainer_log.jsonl; a child that was killed may leave half of one."""
    return [row for line in _lines(directory, 0) if (row := _object(line))]


def _last_rows(directory: Path) -> Iterator[Mapping[str, Any]]:
    """The same from the last one back, first those of the file's end, which mostly tell."""
    for tail in (_TAIL_BYTES, 0):
        yield from map(_object, reversed(_lines(directory, tail)))


def _lines(directory: Path, tail: int) -> list[str]:
    """The lines of trainer_log.jsonl, of its last `tail` bytes where that is not 0."""
    path = directory / "trainer_log.jsonl"
    try:
        if not path.is_file():
            return []
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - tail) if tail else 0)
            return stream.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _object(text: str) -> Mapping[str, Any]:
    try:
        content = from_json(text)
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
