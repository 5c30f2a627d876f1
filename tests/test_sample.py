"""How long a training's rows are, by the first of each dataset, and the cutoff_len that they need."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from trees import TINY_MODEL, write_tree

from qtune.config.project import find_project
from qtune.data.lengths.sample import RowLengths, sample_lengths
from qtune.data.registrations import read_registrations

UNKNOWN = {"model_name_or_path": "org/not-here", "template": "qwen", "stage": "sft"}


def row(words: int) -> dict[str, str]:
    return {"instruction": "say", "input": "", "output": "word " * words}


def sampled(root: Path, *datasets: list[dict[str, str]], **train: object) -> RowLengths | None:
    names = [f"d{number}" for number in range(len(datasets))]
    tree = {
        "qtune.yaml": "",
        "data/datasets.yaml": {name: {"file_name": f"{name}.jsonl"} for name in names},
        **{f"data/{name}.jsonl": rows for name, rows in zip(names, datasets, strict=True)},
    }
    project = find_project(write_tree(root, tree))
    registrations = read_registrations(project)
    return sample_lengths([registrations[name] for name in names], {**UNKNOWN, **train}, root)


def test_counted_rows_are_certain_and_guessed_ones_are_not(tmp_path: Path) -> None:
    guessed = sampled(tmp_path / "a", [row(10), row(200)])
    counted = sampled(tmp_path / "b", [row(10), row(200)], model_name_or_path=str(TINY_MODEL))
    assert guessed and not guessed.certain and guessed.lengths.total() == 2
    assert counted and counted.certain and counted.longest > 200
    assert guessed.needed(2048) >= guessed.longest * 1.25


def test_all_datasets_count_and_no_more_than_the_first_rows_of_each(tmp_path: Path) -> None:
    found = sampled(tmp_path, [row(5)] * 4001, [row(300)], model_name_or_path=str(TINY_MODEL))
    assert found and found.lengths.total() == 4001 and found.longest > 300 and not found.certain


def test_data_that_is_not_here_has_no_lengths(tmp_path: Path) -> None:
    assert sampled(tmp_path) is None


@pytest.mark.parametrize(
    ("lengths", "cutoff_len", "needed"),
    [
        ({160: 100}, 2048, 192),  # no more than the rows
        ({64: 100}, 2048, 64),
        ({4096: 100}, 512, 4096),  # and no less
        ({100: 99, 9000: 1}, 2048, 2048),  # one in a hundred may be cut, but the config's own stays
        ({3000: 99, 9000: 1}, 2048, 3008),
    ],
)
def test_the_cutoff_that_rows_need(lengths: dict[int, int], cutoff_len: int, needed: int) -> None:
    assert RowLengths(Counter(lengths), certain=True).needed(cutoff_len) == needed


def test_pictures_are_left_whole_and_positions_are_a_bound() -> None:
    lengths = Counter({3000: 99, 9000: 1})
    assert RowLengths(lengths, certain=True, with_media=True).needed(2048) == 9024
    assert RowLengths(lengths, certain=True, longest_position=2500).needed(2048) == 2500


def test_the_share_that_is_cut() -> None:
    found = RowLengths(Counter({100: 3, 600: 1}), certain=True)
    assert [found.share_cut(length) for length in (50, 100, 600)] == [1.0, 0.25, 0.0]
