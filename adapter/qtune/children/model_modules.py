"""The modules of a model as the installed transformers builds it from a config.json, without weights.

Request: config.json's content. Answer: modules, each [name, kind, [[part of a weight's name, shape], …],
tied, packed, frozen] as qtune.predict.models.shapes.Module has them (packed is null where an older
transformers does not tell); and numbers, the config of the language model with the library's defaults. Or
error, in a line, where the library cannot build it. No code that comes with a checkpoint is run.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# What bears on how a model is loaded and computed, not on its shapes; and code of the checkpoint's own.
_LEFT_OUT = (
    "quantization_config",
    "auto_map",
    "attn_implementation",
    "_attn_implementation",
    "architectures",
)

# Some of these are worked out from others, and stand in no file.
_USUAL = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
)

Row = tuple[str, str, list[tuple[str, list[int]]], bool, bool | None, bool]


def answer(request: dict[str, Any], tell: Callable[[Any], None]) -> dict[str, Any]:
    try:
        config = read(request)
        modules = list(describe(build(config)))
    except Exception as error:  # whatever a class makes of a config that is not for it
        said = str(error).strip().splitlines() or [""]
        return {"error": f"{type(error).__name__}: {said[0]}"}
    return {"modules": modules, "numbers": numbers(config)}


def read(content: dict[str, Any]) -> Any:
    """The library's config of config.json's content."""
    from transformers import AutoConfig

    with tempfile.TemporaryDirectory() as directory:
        plain = {name: value for name, value in content.items() if name not in _LEFT_OUT}
        Path(directory, "config.json").write_text(json.dumps(plain), encoding="utf-8")
        return AutoConfig.from_pretrained(directory, trust_remote_code=False)


def build(config: Any) -> Any:
    """The model on a device that holds no data, of the class that llamafactory/model/loader.py chooses."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForSeq2SeqLM
    from transformers import AutoModelForTextToWaveform as Omni

    classes = (AutoModelForImageTextToText, AutoModelForSeq2SeqLM, Omni)
    fitting = (each for each in classes if type(config) in each._model_mapping)
    chosen: Any = next(fitting, AutoModelForCausalLM)
    with torch.device("meta"):
        model = chosen.from_config(config)
    if config.model_type in ("qwen2_5_omni", "qwen3_omni_moe"):
        model = model.thinker
    model.tie_weights()
    return model


def describe(model: Any) -> Iterator[Row]:
    """Each module that holds parameters, as the answer has it; one whose weights differ in being another
    module's, or frozen, comes once for each sort, and a bias alone as `other`.
    """
    seen: set[int] = set()
    packed = packed_modules(model)
    for name, module in model.named_modules():
        found = [(part, weight) for part, weight in module.named_parameters(recurse=False)]
        kind = kind_of(module, [list(weight.shape) for _, weight in found])
        sorts: dict[tuple[bool, bool], list[tuple[str, list[int]]]] = {}
        for part, weight in found:
            sort = id(weight) in seen, not weight.requires_grad
            sorts.setdefault(sort, []).append((part, list(weight.shape)))
        for (tied, frozen), weights in sorts.items():
            alone = weights[0][0] == "bias"
            packs = None if packed is None else name in packed and not alone
            yield name, "other" if alone else kind, weights, tied, packs, frozen
        seen.update(id(weight) for _, weight in found)


def packed_modules(model: Any) -> set[str] | None:
    """The modules that bitsandbytes replaces; None where the library is older than the functions used.

    Source: transformers/integrations/bitsandbytes.py, replace_with_bnb_linear.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    try:
        from transformers.quantizers.base import get_keys_to_not_convert
        from transformers.quantizers.quantizers_utils import should_convert_module
    except ImportError:
        return None
    left = [*get_keys_to_not_convert(model), *(model._keep_in_fp32_modules or ())]
    return {
        name
        for name, module in model.named_modules()
        if (type(module) is nn.Linear or isinstance(module, Conv1D)) and should_convert_module(name, left)
    }


def kind_of(module: Any, shapes: list[list[int]]) -> str:
    """What a module is, in the words of qtune.predict.models.shapes.ModuleKind.

    A linear layer is what LLaMA-Factory finds as one (model/model_utils/misc.py, find_all_linear_modules)
    and PEFT and bitsandbytes take; stacked experts are none, nor are routers of classes of their own.
    """
    from torch import nn

    name = type(module).__name__
    if isinstance(module, nn.Embedding):
        return "embedding"
    if isinstance(module, nn.Linear) and "Linear" in name:
        return "linear"
    if "Router" in name:
        return "router"
    if any(len(shape) == 3 for shape in shapes) and ("Expert" in name or "Moe" in name):
        return "experts"
    if "Norm" in name:
        return "norm"
    return "conv" if "Conv" in name else "other"


def numbers(config: Any) -> dict[str, int | list[int]]:
    """The whole numbers of the language model's config, under the usual names as well as its own."""
    text = config.get_text_config()
    usual = {name: getattr(text, name, None) for name in (*_USUAL, *text.attribute_map)}
    return {name: value for name, value in {**text.to_dict(), **usual}.items() if _whole(value)}


def _whole(value: Any) -> bool:
    return all(type(each) is int for each in (value if isinstance(value, list) else [value]))


if __name__ == "__main__":
    from protocol import serve

    serve(answer)
