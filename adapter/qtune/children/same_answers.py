"""Whether an exported model chooses the next tokens that base and adapter choose.

Request: `trained`, LLaMA-Factory's arguments for what was trained, with its adapters; `exported`, those for
the exported model; `rows`, arguments whose `dataset` holds a few rows of the training, or null; `prompts`,
texts that a user might say. Answer: an object with the fields of
qtune.use.exporting.comparison.Comparison.

Base and adapter are kept apart here, which is not how LLaMA-Factory itself loads them: it merges them in
memory, and would compare a merge with itself.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

_TOKENS = 256  # of one sample at most,
_COMPARED = 64  # and the last ones of them, whose logits are kept


def compare(request: dict[str, Any], tell: object) -> dict[str, Any]:
    import torch

    arguments = dict(request["trained"])
    adapters = arguments.pop("adapter_name_or_path", None)
    samples = _samples(request)
    exported, dtype = _exported_logits(request["exported"], samples)
    trained, base = _trained_logits(arguments, str(adapters).split(",") if adapters else [], samples, dtype)
    chosen, wanted = exported.argmax(-1), trained.argmax(-1)
    rows = torch.arange(len(wanted))
    # how much more likely the training holds its own choice than the export's
    gaps = trained[rows, wanted] - trained[rows, chosen]
    difference = exported - trained
    return {
        "positions": len(wanted),
        "same": int((chosen == wanted).sum()),
        "largest_gap": float(gaps.max()),
        "largest_difference": float(difference.abs().max()),
        "typical_difference": float(difference.square().mean().sqrt()),
        "typical_effect": None if base is None else float((trained - base).square().mean().sqrt()),
        "largest_logit": float(trained.abs().max()),
        "epsilon": torch.finfo(dtype).eps,
    }


def _samples(request: dict[str, Any]) -> list[list[int]]:
    """Token ids: the prompts, and rows of the training with their answers."""
    tokenizer, template, _, _ = _read(request["exported"])
    samples, silence = [], {"role": "assistant", "content": ""}
    for prompt in request["prompts"]:
        turn = [{"role": "user", "content": prompt}, silence]
        samples.append(template.encode_oneturn(tokenizer, turn)[0])
    for row in _rows(request["rows"]) if request["rows"] else []:
        answer = row["_response"][:1] or [silence]
        system, tools = row["_system"] or None, row["_tools"] or None
        prompt, response = template.encode_oneturn(tokenizer, [*row["_prompt"], *answer], system, tools)
        samples.append([*prompt, *response])
    return [sample[:_TOKENS] for sample in samples if sample]


def _rows(arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """As the library reads them; media are left out, since their text alone says something to any model."""
    from llamafactory.data.loader import _get_merged_dataset
    from llamafactory.hparams import get_train_args

    model, data, training, finetuning, _ = get_train_args(arguments)
    stage = "rm" if finetuning.stage == "dpo" else finetuning.stage  # llamafactory/train/dpo/workflow.py
    rows = _get_merged_dataset(data.dataset, model, data, training, stage)
    media = ("_images", "_videos", "_audios")
    return [row for row in rows or [] if not any(row.get(name) for name in media)]


def _exported_logits(arguments: dict[str, Any], samples: Sequence[list[int]]) -> tuple[Any, Any]:
    model = _load(arguments)
    dtype = next(parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    return _logits(model, samples), dtype


def _trained_logits(
    arguments: dict[str, Any], adapters: Sequence[str], samples: Sequence[list[int]], dtype: Any
) -> tuple[Any, Any]:
    """With and without the adapters; in the export's dtype, so that rounding is no difference."""
    model = _load(arguments).to(dtype)
    if not adapters:
        return _logits(model, samples), None
    from peft import PeftModel

    base = _logits(model, samples)
    for adapter in adapters:
        if isinstance(model, PeftModel):
            model = model.merge_and_unload()
        model = PeftModel.from_pretrained(model, adapter).eval()
    return _logits(model, samples), base


def _load(arguments: dict[str, Any]) -> Any:
    from llamafactory.extras.misc import torch_gc
    from llamafactory.model import load_model

    gc.collect()  # the model before this one
    torch_gc()
    tokenizer, _, model, finetuning = _read(arguments)  # before the vocabulary is resized to the tokenizer
    return load_model(tokenizer, model, finetuning)


def _read(arguments: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """The tokenizer, fixed for its template, the template, and the library's model and method arguments."""
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.hparams import get_infer_args
    from llamafactory.model import load_tokenizer

    model, data, finetuning, _ = get_infer_args(arguments)
    tokenizer = load_tokenizer(model)["tokenizer"]
    return tokenizer, get_template_and_fix_tokenizer(tokenizer, data), model, finetuning


def _logits(model: Any, samples: Sequence[list[int]]) -> Any:
    import torch

    found = []
    with torch.inference_mode():
        for sample in samples:
            ids = torch.tensor([sample], device=model.device)
            made = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -_COMPARED:]
            found.append(made.float().cpu())
    return torch.cat(found)


if __name__ == "__main__":
    from protocol import serve

    serve(compare)
