"""The number of steps; e2e holds it against the library's own."""

from __future__ import annotations

from typing import Any

import pytest

from qtune.predict.steps import predict_steps

BASE = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "num_train_epochs": 3}


@pytest.mark.parametrize(
    ("train", "rows", "processes", "steps"),
    [
        ({}, 200, 1, 75),
        ({}, 201, 1, 78),  # a last, smaller step in each epoch
        ({}, 200, 2, 39),
        ({}, 1, 8, 3),
        ({"num_train_epochs": 0.5}, 200, 1, 13),
        ({"max_steps": 7}, 200, 1, 7),
        ({"max_steps": -1}, 200, 1, 75),
        ({"val_size": 0.1}, 200, 1, 69),
        ({"val_size": 0.001}, 200, 1, 75),
        ({"val_size": 40}, 200, 1, 60),
        ({"dataloader_drop_last": True}, 201, 1, 75),
        ({"dataloader_drop_last": True}, 203, 2, 39),  # 50 whole batches of each process
        ({"dataloader_drop_last": True}, 207, 4, 21),
        ({"dataloader_drop_last": True}, 3, 2, 0),
    ],
)
def test_steps(train: dict[str, Any], rows: int, processes: int, steps: int) -> None:
    predicted = predict_steps({**BASE, **train}, rows, processes)
    assert predicted and (predicted.total, predicted.effective_batch) == (steps, 8 * processes)


@pytest.mark.parametrize(
    "train", [{"packing": True}, {"neat_packing": True}, {"stage": "pt"}, {"streaming": True}]
)
def test_no_number_is_made_up(train: dict[str, Any]) -> None:
    assert predict_steps({**BASE, **train}, 200, 1) is None


SPLIT = {"accelerator_config": {"split_batches": True}}


@pytest.mark.parametrize(
    ("train", "rows", "steps"),
    [
        (SPLIT, 200, 75),
        ({"accelerator_config": '{"split_batches": true}'}, 201, 78),
        ({**SPLIT, "dataloader_drop_last": True}, 201, 75),
        ({**SPLIT, "dataloader_drop_last": True}, 1, 0),
        ({**SPLIT, "max_steps": 5}, 200, 5),
    ],
)
def test_a_batch_that_is_split_is_of_all_processes_together(
    train: dict[str, Any], rows: int, steps: int
) -> None:
    predicted = predict_steps({**BASE, **train}, rows, 2)
    assert predicted and (predicted.total, predicted.effective_batch) == (steps, 8)


def test_where_a_file_says_how_batches_are_made_no_number_is_made_up() -> None:
    assert predict_steps({**BASE, "accelerator_config": "accelerator.json"}, 200, 2) is None
