"""Token counts against the library's own: every chat template, stage and way of cutting rows off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from scratch import environment
from token_cases import PACKED, SETTINGS, samples_for
from trees import REPOSITORY, TINY_MODEL

from qtune.data.lengths.chat import chat_for
from qtune.data.lengths.packing import greedy_knapsack, padded_tokens
from qtune.data.lengths.processors import Fitted, Lengths, Processor, cutoff_of, packs, processor_for
from qtune.data.lengths.tokens import Tokenizer, load_tokenizer
from qtune.data.rows.examples import Example, Message
from qtune.schema import template_names

HERE = Path(__file__).parent
BATCH_SIZE = 3
NO_TRAIN_ON_PROMPT = "Current template does not support `train_on_prompt`."
# What an estimate of rows with tools may be off by; measured over all templates: 0.72 to 1.38.
TOOLS_LEAST, TOOLS_MOST = 0.7, 1.4


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The library's own lengths."""
    answers = tmp_path_factory.mktemp("tokens") / "answers.json"
    path = os.pathsep.join([str(HERE.parent), str(HERE)])
    done = subprocess.run(
        [sys.executable, str(HERE / "token_lengths.py"), str(answers)],
        env=environment(PYTHONPATH=path, LLAMAFACTORY_VERBOSITY="ERROR"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stderr[-8000:]
    return json.loads(answers.read_text(encoding="utf-8"))


def processor(template: str, setting: dict[str, Any]) -> tuple[Processor, int]:
    train = {**setting, "template": template}
    return processor_for(train, chat_for(train), tokenizer(template)), cutoff_of(train)


@cache
def tokenizer(template: str) -> Tokenizer:
    train = {"template": template, "model_name_or_path": str(TINY_MODEL)}
    return load_tokenizer(train, chat_for(train).template, REPOSITORY)


def examples(stage: str) -> list[Example]:
    return [
        Example(
            [Message(**message) for message in given["prompt"]],
            [Message(**message) for message in given["response"]],
            given["system"],
            given["tools"],
        )
        for given in samples_for(stage)
    ]


def compared(
    library: dict[str, Any], template: str
) -> Iterator[tuple[dict[str, Any], Lengths | None, Fitted | None, dict[str, Any] | None]]:
    """(setting, our lengths, what is left of them, the library's row) of each setting and row."""
    for setting, rows in zip(SETTINGS, library["templates"][template], strict=True):
        if rows == NO_TRAIN_ON_PROMPT:
            continue
        made, cutoff_len = processor(template, setting)
        for lengths, row in zip(made.measure(examples(setting["stage"])), rows, strict=True):
            yield setting, lengths, lengths and made.fit(lengths.pairs, cutoff_len), row


def test_every_template_of_the_library_is_compared(library: dict[str, Any]) -> None:
    assert sorted(library["templates"]) == list(template_names())


@pytest.mark.parametrize("template", template_names())
def test_rows_have_the_lengths_and_labels_of_the_library(library: dict[str, Any], template: str) -> None:
    exact = 0
    for setting, lengths, fitted, row in compared(library, template):
        assert (lengths is None) == (row is None), setting
        if lengths is None or fitted is None or row is None or not lengths.exact:
            continue
        exact += 1
        assert list(fitted.sequences) == row["lengths"], (setting, lengths)
        if setting["stage"] != "ppo":  # where the answers of the data are not trained on
            assert fitted.labels == row["labels"], (setting, lengths)
    assert exact > 350


@pytest.mark.parametrize("template", template_names())
def test_rows_with_tools_are_estimated_within_bounds(library: dict[str, Any], template: str) -> None:
    ratios = [
        sum(fitted.sequences) / sum(row["lengths"])
        for setting, lengths, fitted, row in compared(library, template)
        if setting["cutoff_len"] == 100_000 and lengths and fitted and row and not lengths.exact
    ]
    assert all(TOOLS_LEAST < ratio < TOOLS_MOST for ratio in ratios), ratios


@pytest.mark.parametrize("number", range(len(PACKED)))
def test_packed_sequences_are_as_many_and_as_full_as_the_librarys(
    library: dict[str, Any], number: int
) -> None:
    setting, answer = PACKED[number], library["packed"][number]
    assert packs(setting)
    made, cutoff_len = processor("qwen", setting)
    measured = [lengths for lengths in made.measure(examples(setting["stage"])) if lengths is not None]
    if setting["stage"] == "pt":
        assert answer["lengths"] == [cutoff_len]
        assert answer["sequences"] == sum(lengths.whole for lengths in measured) // cutoff_len
        return
    kept = [made.fit(lengths.pairs, cutoff_len).sequences[0] for lengths in measured]
    tokens = sum(kept)
    knapsacks = greedy_knapsack(kept, cutoff_len)
    assert answer["lengths"] == [cutoff_len + 1]
    assert answer["sequences"] == len(knapsacks)
    assert answer["padding"] == len(knapsacks) * (cutoff_len + 1) - tokens


def test_batches_are_padded_as_the_collator_does(library: dict[str, Any]) -> None:
    made, cutoff_len = processor("qwen", {"stage": "sft", "cutoff_len": 128})
    kept = [
        made.fit(lengths.pairs, cutoff_len).sequences[0]
        for lengths in made.measure(examples("sft"))
        if lengths is not None
    ]
    assert padded_tokens([kept], BATCH_SIZE, made.multiple, made.padded_together) == library["padded"]
