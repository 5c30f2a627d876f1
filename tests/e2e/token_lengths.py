"""How long LLaMA-Factory's processors make rows, for every chat template.

Run as `python token_lengths.py answers.json`; answers with {"templates": {name: [for each of SETTINGS, for
each row, {"lengths", "labels"} or null]}, "packed": …, "padded": …}. Templates of multimodal models get the
plugin of text models, since the others ask for a model's own processor even where a row is only text.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from functools import cache
from pathlib import Path
from typing import Any

from llamafactory.data.loader import _get_dataset_processor
from llamafactory.data.mm_plugin import get_mm_plugin
from llamafactory.data.template import TEMPLATES, get_template_and_fix_tokenizer
from llamafactory.extras.constants import IGNORE_INDEX
from llamafactory.hparams import DataArguments
from token_cases import PACKED, SETTINGS, samples_for
from transformers import AutoTokenizer, DataCollatorForSeq2Seq
from trees import TINY_MODEL

BATCH_SIZE = 3


def processor(name: str, setting: dict[str, Any]) -> Any:
    """The processor that the library would train with."""
    stage = {"dpo": "rm"}.get(setting["stage"], setting["stage"])
    given = {key: value for key, value in setting.items() if key != "stage"}
    data_args = DataArguments(template=name, **given)
    data_args.packing = data_args.packing if data_args.packing is not None else stage == "pt"
    default_system = TEMPLATES[name].default_system
    tokenizer = tokenizer_of(name)
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    fixed = dataclasses.replace(template, mm_plugin=get_mm_plugin("base"))
    template.default_system = default_system
    return _get_dataset_processor(data_args, stage, fixed, tokenizer, None)


@cache
def tokenizer_of(name: str) -> Any:
    """One for each template, since templates add their own tokens."""
    return AutoTokenizer.from_pretrained(TINY_MODEL)


def processed(made: Any, samples: list[dict[str, Any]]) -> dict[str, list[Any]]:
    columns = ("prompt", "response", "system", "tools")
    examples = {f"_{column}": [sample[column] for sample in samples] for column in columns}
    return made.preprocess_dataset(examples | dict.fromkeys(("_images", "_videos", "_audios"), [None] * 99))


def measured(columns: dict[str, list[Any]], index: int) -> dict[str, Any] | None:
    inputs = [name for name in columns if name.endswith("input_ids")]
    if not inputs or index >= len(columns[inputs[0]]):
        return None
    lengths = [len(columns[name][index]) for name in inputs]
    named = [name for name in ("labels", "chosen_labels", "rejected_labels") if name in columns]
    labels = [label for name in named for label in columns[name][index]]
    # in pre-training the collator makes labels of all tokens
    return {
        "lengths": lengths,
        "labels": sum(label != IGNORE_INDEX for label in labels) if named else sum(lengths),
    }


def rows(name: str, setting: dict[str, Any]) -> list[dict[str, Any] | None] | str:
    """A row that is left out or crashes is null; a setting that the template refuses is the error's text."""
    samples = samples_for(setting["stage"])
    try:
        made = processor(name, setting)
    except ValueError as error:
        return str(error)
    if setting["stage"] == "kto":  # whose rows borrow from each other
        columns = processed(made, samples)
        return [measured(columns, index) for index in range(len(samples))]
    return [row(made, sample) for sample in samples]


def row(made: Any, sample: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return measured(processed(made, [sample]), 0)
    except (RuntimeError, ValueError):  # a call that the template cannot write
        return None


def packed(name: str, setting: dict[str, Any]) -> dict[str, Any]:
    """Sequences, how long they are, and how many of their tokens are padding."""
    made = processor(name, setting)
    columns = processed(made, samples_for(setting["stage"]))
    lengths = {len(ids) for ids in columns["input_ids"]}
    # the library counts positions within a row, and writes 0 for padding
    padding = sum(trailing_zeros(positions) for positions in columns.get("position_ids", []))
    return {"sequences": len(columns["input_ids"]), "lengths": sorted(lengths), "padding": padding}


def trailing_zeros(ids: list[int]) -> int:
    run = 0
    while run < len(ids) and ids[-1 - run] == 0:
        run += 1
    return run


def padded(name: str) -> int:
    """The tokens of every batch of the demo samples in their order, as the collator pads them."""
    made = processor(name, {"stage": "sft", "cutoff_len": 128})
    columns = processed(made, samples_for("sft"))
    features = [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}
        for ids, labels in zip(columns["input_ids"], columns["labels"], strict=True)
    ]
    collate = DataCollatorForSeq2Seq(made.tokenizer, pad_to_multiple_of=8, label_pad_token_id=IGNORE_INDEX)
    starts = range(0, len(features), BATCH_SIZE)
    return sum(collate(features[start : start + BATCH_SIZE])["input_ids"].numel() for start in starts)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    answers = {
        "templates": {name: [rows(name, setting) for setting in SETTINGS] for name in TEMPLATES},
        "packed": [packed("qwen", setting) for setting in PACKED],
        "padded": padded("qwen"),
    }
    Path(sys.argv[1]).write_text(json.dumps(answers), encoding="utf-8")
