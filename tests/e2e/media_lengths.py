"""How long LLaMA-Factory makes rows with pictures and videos, for models of the Qwen-VL families.

Run as `python media_lengths.py TINY_QWEN2 DIRECTORY`: writes models' processors and files of media below the
directory, and answers.json: by model, for each of SETTINGS, for each row, its tokens, null for a crash.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from llamafactory.data.loader import _get_dataset_processor
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments, ModelArguments
from llamafactory.model.loader import load_tokenizer
from media_cases import SETTINGS, TEMPLATES, rows
from transformers import (
    AutoTokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TOKENS += ("<|vision_bos|>", "<|vision_eos|>", "<|IMAGE|>", "<|VIDEO|>")


def make_processor(model: str, text_model: Path, output: Path) -> None:
    """A processor as transformers saves it, or as Qwen2-VL's own files are."""
    tokenizer = AutoTokenizer.from_pretrained(text_model)
    tokenizer.add_special_tokens({"additional_special_tokens": list(TOKENS)})
    of_qwen3 = model == "qwen3_vl"
    images, videos = Qwen2VLImageProcessor(), Qwen2VLVideoProcessor()
    if of_qwen3:
        images = Qwen2VLImageProcessor(size={"shortest_edge": 65536, "longest_edge": 16777216}, patch_size=16)
        videos = Qwen3VLVideoProcessor(size={"shortest_edge": 4096, "longest_edge": 25165824})
    kind = Qwen3VLProcessor if of_qwen3 else Qwen2VLProcessor
    kind(images, tokenizer, videos, chat_template=tokenizer.chat_template).save_pretrained(output)
    (output / "config.json").write_text(json.dumps({"model_type": model.split(",")[0]}), encoding="utf-8")
    if "Omni" in model:  # an older layout, whose settings of pictures hold for videos too
        (output / "processor_config.json").write_text('{"processor_class": "Qwen2VLProcessor"}', "utf-8")
        settings = {
            "image_processor_type": "Qwen2VLImageProcessor",
            "min_pixels": 3136,
            "max_pixels": 12845056,
        }
        (output / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")


def lengths(
    model: Path, template: str, setting: dict[str, Any], given: list[dict[str, Any]]
) -> list[int | None]:
    loaded = load_tokenizer(ModelArguments(model_name_or_path=str(model), **setting))
    loaded[
        "processor"
    ].feature_extractor = object()  # that it hears is all that is asked of a row without audios
    data_args = DataArguments(template=template, cutoff_len=100_000)
    made = get_template_and_fix_tokenizer(loaded["tokenizer"], data_args)
    processor = _get_dataset_processor(data_args, "sft", made, loaded["tokenizer"], loaded["processor"])
    return [length(processor, row) for row in given]


def length(processor: Any, row: dict[str, Any]) -> int | None:
    columns = {f"_{name}": [row.get(name)] for name in (*row, "audios")} | {"_system": [""], "_tools": [""]}
    try:
        return len(processor.preprocess_dataset(columns)["input_ids"][0])
    except (ValueError, IndexError):
        return None


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    text_model, directory = map(Path, sys.argv[1:])
    given = rows(directory / "media")
    answers = {}
    for model, template in TEMPLATES.items():
        make_processor(model, text_model, directory / model)
        answers[model] = [lengths(directory / model, template, setting, given) for setting in SETTINGS]
    (directory / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
