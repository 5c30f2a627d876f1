"""What LLaMA-Factory trains of rows: `python encode_rows.py CASES ANSWERS`, two JSON files.

CASES: {"template", "arguments", "row"} of each, in OpenAI's words; template null: whatever the tokenizer has.
ANSWERS: {"prompt", "trained", "tokens"} of each: the text of the tokens that no loss is computed for, and of
the others, and those as tokens.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from pathlib import Path
from typing import Any

from llamafactory.data.converter import get_dataset_converter
from llamafactory.data.loader import _get_dataset_processor
from llamafactory.data.mm_plugin import get_mm_plugin
from llamafactory.data.parser import get_dataset_list
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.extras.constants import IGNORE_INDEX
from llamafactory.hparams import DataArguments
from row_cases import registration
from transformers import AutoTokenizer
from trees import TINY_MODEL

from qtune.data.registrations import complete_entry


def encoded(template: str | None, arguments: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    data_args = DataArguments(template=template, cutoff_len=4096, **arguments)
    data_args.packing = False
    tokenizer = AutoTokenizer.from_pretrained(TINY_MODEL)
    if template is None:
        tokenizer.chat_template = None
    found = get_template_and_fix_tokenizer(tokenizer, data_args)
    fixed = dataclasses.replace(found, mm_plugin=get_mm_plugin("base"))
    [names] = get_dataset_list(["openai"], {"openai": complete_entry(registration("openai"), Path("/"))})
    converted = get_dataset_converter("openai", names, data_args)(row)
    processor = _get_dataset_processor(data_args, "sft", fixed, tokenizer, None)
    made = processor.preprocess_dataset({key: [value] for key, value in converted.items()})
    [ids], [labels] = made["input_ids"], made["labels"]
    trained = [token for token in labels if token != IGNORE_INDEX]
    prompt = [token for token, label in zip(ids, labels, strict=True) if label == IGNORE_INDEX]
    return {
        "prompt": tokenizer.decode(prompt),
        "trained": tokenizer.decode(trained),
        "tokens": tokenizer.convert_ids_to_tokens(trained),
    }


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    cases = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps([encoded(**case) for case in cases]), encoding="utf-8")
