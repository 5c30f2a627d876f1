"""Predicted peaks of GPU memory against those that others published (docs/published)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from published_memory import Published, Source, comparable, sources

from qtune.schema import arguments

COMPARABLE = comparable()
ROWS, PROJECTS = 150, 8
WITHIN_A_TENTH, HIGH_TOO_LOW = 0.8, 0.03  # shares of the comparable rows


def share(found: Callable[[Published], bool]) -> float:
    return sum(map(found, COMPARABLE)) / len(COMPARABLE)


def worst() -> str:
    """The twenty rows whose predictions are farthest off, a line each."""
    rows = sorted(COMPARABLE, key=lambda row: abs(1 - row.ratio), reverse=True)[:20]
    return "\n".join(f"{row.ratio:.2f} {row.source}: {row.model}, {row.what}" for row in rows)


def test_enough_rows_of_enough_projects_are_comparable() -> None:
    assert len(COMPARABLE) >= ROWS
    assert len({source.project for source in sources() if source.comparable}) >= PROJECTS


def test_what_is_expected_is_near_what_was_measured() -> None:
    assert share(lambda row: abs(1 - row.ratio) <= 0.1) >= WITHIN_A_TENTH, worst()


def test_what_torch_allocates_for_rows_of_one_length_is_known_to_a_few_hundredths() -> None:
    (runs,) = (source for source in sources() if source.name == "fitcheck")
    off = sorted(abs(1 - row.ratio) for row in runs.comparable)
    assert off[len(off) // 2] <= 0.02
    assert off[len(off) * 9 // 10] <= 0.1


def test_the_most_to_be_reckoned_with_is_hardly_ever_too_little() -> None:
    """Of what was reserved or seen by nvidia-smi: what is allocated lies below it by its making."""
    held = [row for row in COMPARABLE if row.measure != "allocated"]
    assert sum(row.predicted[1] < row.bytes for row in held) <= HIGH_TOO_LOW * len(held), worst()


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.name)
def test_a_page_names_each_row_once(source: Source) -> None:
    named = [(row.model, row.what) for row in source.rows]
    assert len(named) == len(set(named))


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.name)
def test_arguments_of_a_page_are_the_librarys(source: Source) -> None:
    """A misspelt one would leave the prediction as it is."""
    known = arguments().keys()
    assert {key for row in source.rows for key in row.train} <= known
