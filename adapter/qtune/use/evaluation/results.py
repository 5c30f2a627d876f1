"""What an evaluation found out, and the files it leaves in the run's directory."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qtune.errors import ChildFailed
from qtune.files import write_together
from qtune.use.evaluation.page import page
from qtune.use.evaluation.scores import Result

METRICS, ROWS, PAGE, LOG = "metrics.json", "rows.jsonl", "page.html", "eval.log"
EVALUATIONS = "eval"
"""Below the run's directory."""

# How long it took is no result.
_TIMES = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")


def metrics_in(path: Path, prefix: str) -> dict[str, float | None]:
    """The metrics of one of the library's result files, by their names without `prefix`."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    names = {name.removeprefix(prefix): value for name, value in content.items() if name.startswith(prefix)}
    return {
        name: float(value) if math.isfinite(value) else None
        for name, value in names.items()
        if name not in _TIMES and isinstance(value, int | float)
    }


def perplexity(loss: float | None) -> float | None:
    """As the library has it at stage pt; None where that is beyond all numbers."""
    try:
        return None if loss is None else math.exp(loss)
    except OverflowError:
        return None


def joined(predictions: Mapping[str, Path]) -> list[dict[str, Any]]:
    """The rows of each model's generated_predictions.jsonl, side by side.

    Raises ChildFailed where the models did not answer the same rows.
    """
    read = {
        whose: [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        for whose, path in predictions.items()
    }
    counts = {whose: len(rows) for whose, rows in read.items()}
    if len(set(counts.values())) > 1:
        raise ChildFailed(f"LLaMA-Factory answered different rows: {counts}")
    return [
        {
            "row": number,
            "prompt": together[-1]["prompt"],
            "reference": together[-1]["label"],
            **{whose: row["predict"] for whose, row in zip(read, together, strict=True)},
        }
        for number, together in enumerate(zip(*read.values(), strict=True), 1)
    ]


def write(result: Result, directory: Path) -> list[Path]:
    """Put the files down, all of them or none; those of an earlier evaluation are replaced."""
    texts = {METRICS: json.dumps(result.plain(), indent=1, ensure_ascii=False) + "\n"}
    if result.answers:
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in result.answers)
        texts |= {ROWS: "".join(lines), PAGE: page(result)}
    paths = put(texts, directory)
    for name in {ROWS, PAGE} - texts.keys():
        (directory / name).unlink(missing_ok=True)
    return paths


def put(texts: Mapping[str, str], directory: Path) -> list[Path]:
    """Write files by their names into `directory`, all of them or none; their paths."""
    paths = [directory / name for name in texts]
    with write_together(*paths) as streams:
        for stream, text in zip(streams, texts.values(), strict=True):
            stream.write(text.encode("utf-8", errors="replace"))  # a broken answer may hold half a pair
    return paths
