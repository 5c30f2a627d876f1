"""Trace every allocation of a few layers of a model with experts, at real widths, on tensors without data.

Run as `python trace_experts.py CASES`, a JSON list of mappings: a config.json's content under `config`, the
length of the one row, and how it is trained. Prints a JSON list of the most bytes that were there in the
second of two steps, and those that are there after it. See trace_memory.py.

What fake tensors on a CPU cannot do as a GPU does stands in by what it saves and returns: products of float32
experts (aten/src/ATen/native/cuda/GroupedBlas.cpp takes them, the fake kernel bfloat16 alone), and attention
whose keys and values differ in width or that has sinks (fused on a GPU, written out on a CPU).
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import torch
import torch.nn.functional as F
import transformers.integrations.moe as moe
from accelerate.utils.operations import ConvertOutputsToFp32
from torch._subclasses.fake_tensor import FakeTensorMode
from trace_memory import Allocations, with_adapters
from transformers import AutoConfig, AutoModelForCausalLM

SDPA, GROUPED = F.scaled_dot_product_attention, moe._grouped_mm


class GroupedProduct(torch.autograd.Function):
    """Rows sorted by expert, each group by its expert's weights."""

    @staticmethod
    def forward(context: Any, rows: Any, weights: Any, offsets: Any) -> Any:
        context.needs = context.needs_input_grad
        context.save_for_backward(rows if context.needs[1] else None, weights)
        return rows.new_empty(rows.shape[0], weights.shape[2])

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        _, weights = context.saved_tensors
        of_rows = gradient.new_empty(gradient.shape[0], weights.shape[1])
        return of_rows, torch.empty_like(weights) if context.needs[1] else None, None


class FusedAttention(torch.autograd.Function):
    """Queries, keys, values, output and the softmax's logarithm are kept, as fused kernels do."""

    @staticmethod
    def forward(context: Any, query: Any, key: Any, value: Any) -> Any:
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        statistics = query.new_empty(query.shape[:-1], dtype=torch.float32)
        context.save_for_backward(query, key, value, output, statistics)
        return output

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        query, key, value, *_ = context.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def attend(query: Any, key: Any, value: Any, **options: Any) -> Any:
    if query.shape[-1] == value.shape[-1]:
        return SDPA(query, key, value, **options)
    with torch.autocast("cpu", enabled=False):
        return FusedAttention.apply(query.bfloat16(), key.bfloat16(), value.bfloat16())


def grouped(rows: Any, weights: Any, offs: Any) -> Any:
    if weights.dtype != torch.float32:
        return GROUPED(rows, weights, offs)
    return GroupedProduct.apply(rows.float(), weights, offs)


def peak(case: dict[str, Any]) -> tuple[int, int]:
    """The most bytes in the second step, and those after it."""
    allocations = Allocations()
    with FakeTensorMode(), allocations:
        config = AutoConfig.for_model(**case["config"], use_cache=False)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        if config.model_type == "gpt_oss":  # LLaMA-Factory takes a fused kernel (model_utils/attention.py)
            config._attn_implementation_internal = "sdpa"
        modeling = sys.modules[type(model).__module__]
        for mask in ("create_causal_mask", "create_sliding_window_causal_mask"):
            setattr(modeling, mask, lambda *_, **__: None)  # one row needs none
        if case.get("checkpointing", True):
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
            model.enable_input_require_grads()
        model.train()
        if "rank" in case:
            model = with_adapters(model, {**case, "targets": linear_names(model)})
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        is_half = case.get("half", False)  # all in 16 bits and no autocast, as DeepSpeed has it
        for parameter in trained:
            parameter.data = parameter.data.to(torch.bfloat16 if is_half else torch.float32)
        optimizer = torch.optim.AdamW(trained, fused=True)
        rows, forward = torch.randint(0, 100, (1, case["length"])), model.forward

        def autocast(**inputs: Any) -> Any:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not is_half):
                return forward(**inputs)

        for _ in range(2):
            allocations.most = 0
            ConvertOutputsToFp32(autocast)(input_ids=rows, labels=rows).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return allocations.most, allocations.now


def linear_names(model: Any) -> list[str]:
    """As llamafactory/model/model_utils/misc.py, find_all_linear_modules."""
    found = {name for name, module in model.named_modules() if "Linear" in type(module).__name__}
    return sorted({name.rpartition(".")[2] for name in found} - {"lm_head"})


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    F.scaled_dot_product_attention, moe._grouped_mm = attend, grouped
    print(json.dumps([peak(case) for case in json.loads(sys.argv[1])]))
