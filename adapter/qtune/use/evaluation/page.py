"""The answers of an evaluation as one web page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.pages import page as pages
from qtune.use.evaluation.scores import Result
from qtune.use.evaluation.table import table

_MOST_ROWS = 1000


def page(result: Result) -> str:
    """HTML with the scores, and each row's prompt, reference and answers; equal ones are marked."""
    columns, scores = table(result)
    whose = [item.whose for item in result.scores]
    values = {
        "title": f"{result.run} on {result.dataset}",
        "columns": columns,
        "scores": scores,
        "whose": whose,
        "rows": [_row(row, whose) for row in result.answers[:_MOST_ROWS]],
        "more": f"{len(result.answers) - _MOST_ROWS:,}" if len(result.answers) > _MOST_ROWS else "",
    }
    return pages.page("evaluation", values)


def _row(row: Mapping[str, Any], whose: list[str]) -> dict[str, Any]:
    # what ends the turn in a template is part of the reference, and ends the answer
    same = [row[name].strip() == row["reference"].strip() for name in whose]
    answers = [_text(row[name]) for name in whose]
    return {
        "number": row["row"],
        "prompt": _text(row["prompt"]),
        "reference": _text(row["reference"]),
        "answers": list(zip(answers, same, strict=True)),
    }


def _text(text: str) -> str:
    """A model may answer anything; what HTML has no sign for is shown as a question mark."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text)
