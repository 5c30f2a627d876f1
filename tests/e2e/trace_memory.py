"""Trace every allocation of a training at real shapes, on tensors that hold no data.

Run as `python trace_memory.py CASES`, a JSON list of mappings: the shapes of a Qwen2Config under `shapes`,
and how it is trained. Prints a JSON list of the most bytes that were there in the second of two steps.

torch's fake tensors compute shapes alone, so 7B parameters take neither memory nor time; what is allocated
and freed, and when, is what it would be for real ones. Autocast is the CPU's, whose rules for these
operations are those of CUDA.
"""

from __future__ import annotations

import json
import sys
import warnings
import weakref
from typing import Any

import torch
from accelerate.utils.operations import ConvertOutputsToFp32
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, Qwen2Config
from transformers.models.qwen2 import modeling_qwen2

ALIGNMENT = 512  # bytes, to which CUDA's allocator rounds (pytorch, c10/cuda/CUDACachingAllocator.h)
MASK = modeling_qwen2.create_causal_mask


class Allocations(TorchDispatchMode):
    """Counts the bytes of all storages that operations made and that are still referred to."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, weakref.ref[Any]] = {}
        self.now = self.most = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        self.most = max(self.most, self.now)
        return result

    def _count(self, storage: Any) -> None:
        key, size = id(storage), -(-storage.nbytes() // ALIGNMENT) * ALIGNMENT
        if key in self.known:
            return

        def gone(reference: object) -> None:
            del self.known[key]
            self.now -= size

        self.known[key] = weakref.ref(storage, gone)
        self.now += size


def peak(case: dict[str, Any]) -> int:
    """The most bytes in the second step: autocast over float32 trained weights, as LLaMA-Factory has it."""
    batch, length, accumulation = case["batch"], case["length"], case.get("accumulation", 1)
    # rows of one length need no mask; under fake tensors transformers cannot see that they are
    modeling_qwen2.create_causal_mask = MASK if batch > 1 else lambda *_, **__: None
    allocations = Allocations()
    with FakeTensorMode(), allocations:
        model = AutoModelForCausalLM.from_config(
            Qwen2Config(**case["shapes"], use_cache=False), dtype=torch.bfloat16
        )
        if case.get("checkpointing", True):
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
            model.enable_input_require_grads()
        model.train()
        if "rank" in case:
            model = with_adapters(model, case)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in trained:
            parameter.data = parameter.data.float()
        optimizer = torch.optim.AdamW(trained, fused=True)
        rows, forward = torch.randint(0, 100, (batch, length)), model.forward

        def autocast(**inputs: Any) -> Any:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return forward(**inputs)

        for _ in range(2):
            allocations.most = 0
            for _ in range(accumulation):
                loss = ConvertOutputsToFp32(autocast)(input_ids=rows, labels=rows).loss
                loss.backward()
                del loss
            optimizer.step()
            optimizer.zero_grad()
    return allocations.most


def with_adapters(model: Any, case: dict[str, Any]) -> Any:
    from peft import LoraConfig, get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    # moving a module would swap its parameters, which fake ones refuse; they are all on one device
    BaseTunerLayer._move_adapter_to_device_of_base_layer = lambda *_, **__: None
    move, torch.nn.Module.to = torch.nn.Module.to, lambda module, *_, **__: module
    try:
        wanted = {"r": case["rank"], "target_modules": case["targets"], "use_dora": case.get("dora", False)}
        return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **wanted))
    finally:
        torch.nn.Module.to = move


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps([peak(case) for case in json.loads(sys.argv[1])]))
