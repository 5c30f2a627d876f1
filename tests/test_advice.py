"""recommend puts first what experts take, case by case."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_recommend import ranked

from qtune.data.lengths.sample import RowLengths

CASES: list[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("advice_cases.yaml").read_text(encoding="utf-8")
)


def test_every_case_has_a_reason_and_a_practice_that_it_stems_from() -> None:
    assert len(CASES) >= 30
    assert all(case["reason"] and case["practice"] for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['model']}-{case['hardware']}")
def test_the_first_is_an_experts(case: dict[str, Any]) -> None:
    rows = RowLengths(Counter(case["rows"]), certain=True) if "rows" in case else None
    choices = ranked(case["model"], case["hardware"], case.get("among", ()), rows=rows)
    expected = case["first"] if isinstance(case["first"], list) else [case["first"]]
    assert choices[0].name in expected, [(choice.name, choice.verdict) for choice in choices]
    assert choices[0].verdict == "fits"
    if "cutoff_len" in case:
        assert choices[0].cutoff_len == case["cutoff_len"]
