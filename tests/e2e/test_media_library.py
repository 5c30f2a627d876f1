"""Tokens of pictures and videos against the library's own, over sizes, formats, bounds and models."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from media_cases import CUTOFFS, SETTINGS, STAGES, TEMPLATES, for_stage, rows
from scratch import run_script
from trees import TINY_MODEL

from qtune.data.lengths.chat import chat_for
from qtune.data.lengths.processors import Processor, processor_for
from qtune.data.lengths.tokens import load_tokenizer
from qtune.data.lengths.vision import media_tokens
from qtune.data.registrations import Registration
from qtune.data.rows.examples import Example, Message
from qtune.files import Document

COLUMNS = {"columns": {"images": "images", "videos": "videos"}}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the processors, the files, and the library's own lengths."""
    made = tmp_path_factory.mktemp("media")
    run_script("media_lengths.py", str(TINY_MODEL), str(made))
    return made


@pytest.mark.parametrize("model", TEMPLATES)
@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_pictures_and_videos_have_the_tokens_of_the_library(directory: Path, model: str, number: int) -> None:
    given = rows(directory / "media")
    measured = processor(directory, model, SETTINGS[number]).measure([example(row) for row in given])
    counted = [lengths.whole if lengths else None for lengths in measured]
    library = answers(directory)["lengths"][model][number]
    assert counted == library, given
    assert sum(length is not None for length in library) > 20
    assert all(lengths.exact for lengths in measured if lengths)


@pytest.mark.parametrize("model", TEMPLATES)
@pytest.mark.parametrize("stage", STAGES)
def test_media_are_cut_where_the_library_cuts_them(directory: Path, model: str, stage: str) -> None:
    examples = [example(row) for row in for_stage(rows(directory / "media"), stage)]
    made = processor(directory, model, {"stage": stage})
    measured = [made.measure([one])[0] for one in examples]
    for cutoff_len, library in zip(CUTOFFS, answers(directory)["cuts"][model][stage], strict=True):
        cut = [
            lengths and made.loses_media(0, [one], made.fit(lengths.pairs, cutoff_len))
            for one, lengths in zip(examples, measured, strict=True)
        ]
        assert cut == library, (cutoff_len, examples)
        assert {True, False} <= {*library}


def processor(directory: Path, model: str, setting: dict[str, Any]) -> Processor:
    train = {"template": TEMPLATES[model], "model_name_or_path": str(directory / model), **setting}
    registration = Registration("rows", COLUMNS, Document({}, {}, directory, "datasets.yaml", ""))
    chat = chat_for(train)
    tokenizer = load_tokenizer(train, chat.template, directory)
    media = media_tokens(train, chat.template, tokenizer, registration, directory)
    return processor_for(train, chat, tokenizer, media)


@cache
def answers(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "answers.json").read_text(encoding="utf-8"))
    return found


def example(row: dict[str, Any]) -> Example:
    prompt, response = ([Message(**message) for message in row[name]] for name in ("prompt", "response"))
    return Example(prompt, response, images=row["images"], videos=row["videos"])
