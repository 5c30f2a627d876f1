"""How long LLaMA-Factory makes rows with pictures and videos, for models of the Qwen-VL families.

Run as `python media_lengths.py TINY_QWEN2 DIRECTORY`: writes models' processors and files of media below the
directory, and answers.json: `lengths` by model, for each of SETTINGS, of each row, and `cuts` by model and
stage, for each of CUTOFFS, whether each row loses tokens of its media; null for a crash.
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
from media_cases import CUTOFFS, SETTINGS, STAGES, TEMPLATES, for_stage, rows
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


def processor_of(
    model: Path, template: str, stage: str = "sft", cutoff_len: int = 100_000, **setting: Any
) -> Any:
    loaded = load_tokenizer(ModelArguments(model_name_or_path=str(model), **setting))
    # an ear, of which no more than its presence is asked where there are no audios
    loaded["processor"].feature_extractor = object()
    data_args = DataArguments(template=template, cutoff_len=cutoff_len)
    made = get_template_and_fix_tokenizer(loaded["tokenizer"], data_args)
    of_stage = "rm" if stage == "dpo" else stage
    return _get_dataset_processor(data_args, of_stage, made, loaded["tokenizer"], loaded["processor"])


def sequences(processor: Any, row: dict[str, Any]) -> list[list[int]] | None:
    """The tokens of each sequence that the row makes, None where it crashes."""
    columns = {f"_{name}": [row.get(name)] for name in (*row, "audios")} | {"_system": [""], "_tools": [""]}
    try:
        made = processor.preprocess_dataset(columns)
    except (ValueError, IndexError):
        return None
    return [made[name][0] for name in made if name.endswith("input_ids")]


def lengths(processor: Any, given: list[dict[str, Any]]) -> list[int | None]:
    made = (sequences(processor, row) for row in given)
    return [None if found is None else len(found[0]) for found in made]


def media_tokens(processor: Any, given: list[dict[str, Any]]) -> list[list[int] | None]:
    """How many tokens of pictures and videos each sequence of each row has."""
    names = [getattr(processor.template.mm_plugin, f"{kind}_token") for kind in ("image", "video")]
    ids = processor.tokenizer.convert_tokens_to_ids(names)
    made = (sequences(processor, row) for row in given)
    return [None if found is None else [sum(map(each.count, ids)) for each in found] for found in made]


def cuts(model: Path, template: str, stage: str, given: list[dict[str, Any]]) -> list[list[bool | None]]:
    """For each of CUTOFFS, whether each row loses tokens of its media."""
    whole = media_tokens(processor_of(model, template, stage), given)
    cut = [media_tokens(processor_of(model, template, stage, most), given) for most in CUTOFFS]
    return [
        [None if before is None else before != after for before, after in zip(whole, some, strict=True)]
        for some in cut
    ]


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    text_model, directory = map(Path, sys.argv[1:])
    given = rows(directory / "media")
    answers: dict[str, Any] = {"lengths": {}, "cuts": {}}
    for model, template in TEMPLATES.items():
        made = directory / model
        make_processor(model, text_model, made)
        answers["lengths"][model] = [
            lengths(processor_of(made, template, **setting), given) for setting in SETTINGS
        ]
        answers["cuts"][model] = {
            stage: cuts(made, template, stage, for_stage(given, stage)) for stage in STAGES
        }
    (directory / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
