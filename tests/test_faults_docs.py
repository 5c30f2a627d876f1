"""docs/faults.md names a test for each fault, and each is there."""

from __future__ import annotations

import re

import pytest
from trees import REPOSITORY

ROWS = [
    line
    for line in (REPOSITORY / "docs" / "faults.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| fault ")
]


@pytest.mark.parametrize("row", ROWS)
def test_each_fault_names_a_test_that_is_there(row: str) -> None:
    found = re.search(r"\| `(tests/[\w/]+\.py)::(\w+)` \|$", row)
    assert found is not None, row
    assert f"def {found[2]}(" in (REPOSITORY / found[1]).read_text(encoding="utf-8")
