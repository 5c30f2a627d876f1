"""The library's own language models without weights, and what qtune's script says of the same config.json.

Reads a JSON list of model types and writes, for each: config, as the library saves it; answer, of
children/model_modules.py; parameters; trainable, in full tuning; lora, the shapes by name that
`lora_target: all` trains, or the error's text; packed, the elements that bitsandbytes packs; stored, the
names and shapes of the checkpoint.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import bitsandbytes
import torch
from architecture_snapshot import config_of
from llamafactory.hparams import FinetuningArguments, ModelArguments
from llamafactory.model.adapter import init_adapter
from model_counts import shapes
from transformers import BitsAndBytesConfig
from transformers.core_model_loading import revert_weight_conversion
from transformers.integrations.bitsandbytes import replace_with_bnb_linear
from transformers.quantizers.base import HfQuantizer

from qtune.children.model_modules import answer, build


def main() -> None:
    model_types = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    found = {model_type: measure(config_of(model_type)) for model_type in model_types}
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")


def measure(config: Any) -> dict[str, Any]:
    content = json.loads(config.to_json_string())
    model = build(config)
    tensors = model.state_dict()
    for name in model.all_tied_weights_keys:
        tensors.pop(name, None)
    return {
        "config": content,
        "answer": answer(content, lambda part: None),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "stored": {
            name: list(tensor.shape) for name, tensor in revert_weight_conversion(model, tensors).items()
        },
        "trainable": tuned(config, FinetuningArguments(finetuning_type="full")),
        "lora": tuned(config, FinetuningArguments()),
        "packed": packed(build(config)),
    }


def tuned(config: Any, arguments: FinetuningArguments) -> dict[str, list[int]] | str:
    try:
        with torch.device("meta"):
            model_arguments = ModelArguments(model_name_or_path="m")
            model = init_adapter(config, build(config), model_arguments, arguments, True)
    except (ValueError, AttributeError) as error:
        return str(error)
    return shapes(model, trainable=True)


def packed(model: Any) -> int:
    """As transformers/quantizers/quantizer_bnb_4bit.py does it."""
    left = HfQuantizer.get_modules_to_not_convert(model, None, model._keep_in_fp32_modules)
    replace_with_bnb_linear(model, left, BitsAndBytesConfig(load_in_4bit=True))
    layers = (each for each in model.modules() if isinstance(each, bitsandbytes.nn.Linear4bit))
    return sum(each.in_features * each.out_features for each in layers)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
