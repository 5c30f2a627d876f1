"""What LLaMA-Factory's own converters and processors do with single rows.

Each row passes through Arrow before and after its conversion, as `datasets` does with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
from datasets.arrow_writer import OptimizedTypedSequence
from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.data.converter import get_dataset_converter
from llamafactory.data.loader import _get_dataset_processor
from llamafactory.data.mm_plugin import get_mm_plugin
from llamafactory.data.parser import DatasetAttr, get_dataset_list
from llamafactory.hparams import DataArguments, ModelArguments
from llamafactory.model import load_tokenizer
from transformers import Qwen2VLImageProcessor, Qwen2VLVideoProcessor

from qtune.data.registrations import Registration, complete_entry

STAGES = ("pt", "sft", "rm", "kto", "ppo")
_NEIGHBOUR = {
    "_prompt": [{"role": "user", "content": "q"}],
    "_response": [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": ""}],
    "_system": "",
    "_tools": "",
    "_images": None,
    "_videos": None,
    "_audios": None,
}


class Library:
    """LLaMA-Factory with a tokenizer and the template `qwen`, which sees where there are media columns."""

    def __init__(self, model: str, media_directory: Path) -> None:
        self._arguments = DataArguments(template="qwen", media_dir=str(media_directory))
        tokenizer = load_tokenizer(ModelArguments(model_name_or_path=model))["tokenizer"]
        template = get_template_and_fix_tokenizer(tokenizer, self._arguments)
        sees = get_mm_plugin("qwen2_vl", image_token="<|image_pad|>", video_token="<|video_pad|>")
        eyes = SimpleNamespace(
            image_processor=Qwen2VLImageProcessor(),
            video_processor=Qwen2VLVideoProcessor(),
            model_input_names=[],
        )
        self._processors = {
            (stage, media): _get_dataset_processor(
                self._arguments,
                stage,
                replace(template, mm_plugin=sees) if media else template,
                tokenizer,
                eyes if media else None,
            )
            for stage in STAGES
            for media in (False, True)
        }

    def verdict(self, registration: Registration, stage: str, row: Any) -> tuple[str, Any, Any]:
        """(accepted, refused, crash or dropped; the row as Arrow keeps it; the row converted)."""
        entry = complete_entry(registration, Path("/"))
        [names] = get_dataset_list([registration.name], {registration.name: entry})
        try:
            read = through_arrow(completed(row, names))
        except Exception as error:
            return f"refused {error!r}", None, None
        try:
            convert = get_dataset_converter(names.formatting, names, self._arguments)
            converted = through_arrow(convert(deepcopy(read)))  # it writes paths into the row
            outcome = self._process(names, stage, deepcopy(converted))  # it doubles a single frame
        except Exception as error:
            return f"crash {error!r}", read, None
        return outcome, read, converted

    def _process(self, names: DatasetAttr, stage: str, converted: Mapping[str, Any]) -> str:
        """Between two good rows at stage kto, where each row lends its answer to the next one."""
        rows = [_NEIGHBOUR, converted, _NEIGHBOUR] if stage == "kto" else [converted]
        media = bool(names.images or names.videos or names.audios)
        processor = self._processors["rm" if stage == "dpo" else stage, media]
        made = processor.preprocess_dataset({key: [row[key] for row in rows] for key in _NEIGHBOUR})
        key = "chosen_input_ids" if stage in ("rm", "dpo") else "input_ids"
        return "accepted" if len(made[key]) == len(rows) else "dropped"


def through_arrow(row: Any) -> dict[str, Any]:
    """What `datasets` reads back of a row (arrow_writer.py, write_batch), without its cache."""
    columns = {name: pa.array(OptimizedTypedSequence([value], col=name)) for name, value in row.items()}
    [read] = pa.table(columns).to_pylist()
    return read


def completed(row: Any, names: DatasetAttr) -> Any:
    """With null for the keys that a row lacks, as if other rows of its file had them."""
    if not isinstance(row, dict):
        return row
    fields = ("system", "tools", "images", "videos", "audios", "chosen", "rejected", "kto_tag")
    own = ("messages",) if names.formatting != "alpaca" else ("prompt", "query", "response", "history")
    columns = [column for field in (*own, *fields) if (column := getattr(names, field))]
    row = {**dict.fromkeys(columns), **row}
    if names.formatting == "alpaca":
        return row
    for column in (names.messages, names.chosen, names.rejected):
        if column and row[column] != {}:
            row[column] = _completed_message(row[column], names)
    return row


def _completed_message(value: Any, names: DatasetAttr) -> Any:
    if isinstance(value, list):
        return [_completed_message(message, names) for message in value]
    if not isinstance(value, dict):
        return value
    message = {**value, **_absent(value, names.role_tag, names.content_tag)}
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        message["tool_calls"] = [_completed_call(call) if isinstance(call, dict) else call for call in calls]
    return message


def _completed_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if isinstance(function, dict):
        return {**call, "function": {**function, **_absent(function, "name", "arguments")}}
    return {**call, **_absent(call, "function")}


def _absent(value: dict[str, Any], *keys: str) -> dict[str, None]:
    return {key: None for key in keys if key not in value}
