"""The library's own models without weights: every tensor of them, and what LLaMA-Factory makes trainable.

Reads a JSON list of [config.json's content, [LLaMA-Factory arguments, ...]] and writes, for each, the shapes
by name and the trainable shapes by name for each set of arguments, or the error's text in their place.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from llamafactory.hparams import FinetuningArguments, ModelArguments
from llamafactory.model.adapter import init_adapter
from llamafactory.model.model_utils.visual import COMPOSITE_MODELS
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

Shapes = dict[str, list[int]]


def shapes(model: Any, *, trainable: bool = False) -> Shapes:
    """By name, without what PEFT writes into names."""
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad or not trainable:
            for word in ("base_model.model.", ".base_layer", ".modules_to_save", ".default"):
                name = name.replace(word, "")
            found[name] = list(parameter.shape)
    return found


def build(config: Any) -> Any:
    """As llamafactory/model/loader.py chooses the class, on a device that holds no data."""
    is_composite = type(config) in AutoModelForImageTextToText._model_mapping
    load_class = AutoModelForImageTextToText if is_composite else AutoModelForCausalLM
    with torch.device("meta"):
        model = load_class.from_config(config)
    model.tie_weights()
    return model


def tune(config: Any, arguments: dict[str, Any], directory: str) -> Shapes | str:
    finetuning, model_arguments = dict(arguments), {"model_name_or_path": directory}
    if "resize_vocab" in finetuning:
        model_arguments["resize_vocab"] = finetuning.pop("resize_vocab")
    try:
        model = build(config)
        with torch.device("meta"):
            model = init_adapter(
                config, model, ModelArguments(**model_arguments), FinetuningArguments(**finetuning), True
            )
        return shapes(model, trainable=True)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main() -> None:
    results = []
    for content, arguments in json.load(sys.stdin):
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "config.json").write_text(json.dumps(content), encoding="utf-8")
            config = AutoConfig.from_pretrained(directory)
            results.append([shapes(build(config)), [tune(config, each, directory) for each in arguments]])
    composites = {
        name: [
            found.projector_keys,
            found.vision_model_keys,
            found.language_model_keys,
            found.lora_conflict_keys,
        ]
        for name, found in COMPOSITE_MODELS.items()
    }
    Path(sys.argv[1]).write_text(json.dumps([results, composites]), encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
