"""An evaluation's scores as a table of text."""

from __future__ import annotations

from qtune.use.evaluation.scores import Result

_TITLES = {"bleu-4": "BLEU-4", "rouge-1": "ROUGE-1", "rouge-2": "ROUGE-2", "rouge-l": "ROUGE-L"}
_MOST_COLUMNS = 10


def table(result: Result) -> tuple[list[str], list[list[str]]]:
    """(columns, lines): a line for each model, or one for each figure where there are many."""
    metrics = list(dict.fromkeys(name for item in result.scores for name in item.metrics))
    columns = ["", *(_TITLES.get(name, name) for name in metrics), "rows", "tokens"]
    lines = [
        [
            item.whose,
            # the library gives the first as percentages
            *(_number(item.metrics.get(name), 2 if name in _TITLES else 4) for name in metrics),
            _count(result.rows),
            _count(result.tokens),
        ]
        for item in result.scores
    ]
    if len(columns) > _MOST_COLUMNS:
        first, *turned = zip(columns, *lines, strict=True)
        return list(first), [list(line) for line in turned]
    return columns, lines


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return "not a number"
    return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.3g}"


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"
