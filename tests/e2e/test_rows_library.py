"""The verdict on each row against the library: its converters and processors do with it what qtune says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from row_cases import CASES
from scratch import run_script

HERE = Path(__file__).parent
MODEL = HERE.parents[1] / "data" / "tiny-qwen2"
DRAWN, SEED = 10_000, 20


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("rows") / "answers.json"
    run_script("rows_agree.py", str(MODEL), str(DRAWN), str(SEED), str(path))
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("rows", ["hand", "drawn"])
def test_the_library_does_with_each_row_what_qtune_says(answers: dict[str, Any], rows: str) -> None:
    assert answers[rows]["disagree"] == []


def test_there_were_plenty_of_each_verdict(answers: dict[str, Any]) -> None:
    assert sum(answers["hand"]["counts"].values()) == len(CASES)
    drawn = answers["drawn"]["counts"]
    assert sum(drawn.values()) == DRAWN
    assert all(drawn[verdict] > DRAWN / 5 for verdict in ("accepted", "dropped", "crash"))
    assert drawn["refused"] < DRAWN / 20
