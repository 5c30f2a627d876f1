"""Values set in a qtune.yaml that somebody wrote: nothing else in it changes."""

from __future__ import annotations

import pytest
import yaml

from qtune.config.edit import with_values
from qtune.errors import QtuneError

NEW = {"dataset": "a_train", "eval_dataset": "a_eval"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "# ours\ntrain:\n  dataset: a   # the best\n  # why not\n  eval_dataset: 'b'  # too\n\nruns: r\n",
            "# ours\ntrain:\n  dataset: a_train # the best\n  # why not\n  eval_dataset: a_eval # too\n"
            "\nruns: r\n",
        ),
        (
            "train:\n  dataset: a            # one\n  eval_dataset: b       # two\n",
            "train:\n  dataset: a_train      # one\n  eval_dataset: a_eval  # two\n",
        ),
        (
            "train:\n    dataset: a\n    # after it\n\n# presets: [x]\n",
            "train:\n    dataset: a_train\n    eval_dataset: a_eval\n    # after it\n\n# presets: [x]\n",
        ),
        (
            "train: {model: m, dataset: a}  # x\n",
            "train: {model: m, dataset: a_train, eval_dataset: a_eval}  # x\n",
        ),
        ("train: {}\n", "train: {dataset: a_train, eval_dataset: a_eval}\n"),
        ("train: {dataset: [a, b]}", "train: {dataset: a_train, eval_dataset: a_eval}"),
        ("train:\n  dataset:\nruns: r\n", "train:\n  dataset: a_train\n  eval_dataset: a_eval\nruns: r\n"),
        ("runs: r", "runs: r\ntrain:\n  dataset: a_train\n  eval_dataset: a_eval\n"),
        ("", "train:\n  dataset: a_train\n  eval_dataset: a_eval\n"),
        (
            "\ufefftrain:\r\n  dataset: a\r\n",
            "\ufefftrain:\r\n  dataset: a_train\r\n  eval_dataset: a_eval\r\n",
        ),
    ],
)
def test_values_take_their_place_and_all_else_stays(before: str, after: str) -> None:
    assert with_values(before, "train", NEW, "qtune.yaml") == after
    assert yaml.safe_load(after.removeprefix("\ufeff"))["train"].items() >= NEW.items()


@pytest.mark.parametrize(
    "text",
    [
        "train:\n  dataset:\n  - a\n  - b\n",
        "defaults: {x: &name a}\ntrain: {dataset: *name, eval_dataset: b}\n",
        "train:\n  # nothing yet\nruns: r\n",
        "{runs: r}\n",
        "train: {dataset: a}\n...\n# end\n--- \n",
    ],
)
def test_what_is_written_otherwise_is_refused_with_what_to_paste(text: str) -> None:
    with pytest.raises(QtuneError) as raised:
        with_values(text, "train", NEW, "qtune.yaml")
    assert raised.value.where and raised.value.where.startswith("qtune.yaml") and raised.value.fix


def test_values_that_yaml_would_read_otherwise_are_quoted() -> None:
    text = with_values(
        "train: {dataset: a}\n", "train", {"dataset": "no", "eval_dataset": "1e5"}, "qtune.yaml"
    )
    assert yaml.safe_load(text)["train"] == {"dataset": "no", "eval_dataset": "1e5"}
