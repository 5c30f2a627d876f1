"""What this Python's transformers makes of exported models. JSON on stdout's last line, by directory's name.

Run as `python read_exports.py DIRECTORY...`. Of each: `next`, the token chosen at each of 600 places, and
`last`, the logits at the last one; `special`, `ids` and `chat` of its tokenizer; `dtype`, whether its
embeddings are `tied`, and `pixels`, the sum over a picture that its processor made, null where it has none.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    __version__,
)

PLACES = 600
SAID = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "你好, what is  this?"}]


def main(directories: list[Path]) -> None:
    found = {directory.name: _read(directory) for directory in directories}
    print(json.dumps({"version": __version__, "found": found}))


def _read(directory: Path) -> dict[str, Any]:
    tokenizer = AutoTokenizer.from_pretrained(directory)
    processor = directory / "processor_config.json"
    loader = AutoModelForImageTextToText if processor.is_file() else AutoModelForCausalLM
    model = loader.from_pretrained(directory, dtype="auto").eval()
    torch.manual_seed(0)
    with torch.inference_mode():
        logits = model(input_ids=torch.randint(0, 1277, (1, PLACES))).logits[0].float()
    chat = tokenizer.apply_chat_template(SAID, tokenize=False, add_generation_prompt=True)
    return {
        "next": logits.argmax(-1).tolist(),
        "last": logits[-1].tolist(),
        "special": sorted(map(str, tokenizer.all_special_tokens)),
        "ids": tokenizer(f"{chat}<a>")["input_ids"],
        "chat": chat,
        "dtype": str(model.dtype),
        "tied": model.get_input_embeddings().weight is model.get_output_embeddings().weight,
        "pixels": _pixels(directory) if processor.is_file() else None,
    }


def _pixels(directory: Path) -> float:
    processor = AutoProcessor.from_pretrained(directory)
    picture = Image.new("RGB", (56, 84), (200, 10, 10))
    return float(processor.image_processor(images=[picture], return_tensors="pt")["pixel_values"].sum())


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
