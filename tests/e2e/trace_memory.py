"""Trace every allocation of a training at real shapes, on tensors that hold no data.

Run as `python trace_memory.py CASES`, a JSON list of mappings: the shapes of a Qwen2Config under `shapes`,
and how it is trained: `quantized` in NF4 by bitsandbytes, over so many `processes` by FSDP 2. Prints a JSON
list of the most bytes that one process held in the second of two steps.

torch's fake tensors compute shapes alone, so 7B parameters take neither memory nor time; what is allocated
and freed, and when, is what it would be for real ones. Autocast is the CPU's, whose rules for these
operations are those of CUDA.
"""

from __future__ import annotations

import json
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed
from accelerate.utils.operations import ConvertOutputsToFp32
from bitsandbytes.functional import quantize_4bit
from bitsandbytes.nn import Linear4bit
from bitsandbytes.nn import modules as bnb_modules
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.fsdp._fully_shard import _fsdp_param
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, Qwen2Config
from transformers.models.qwen2 import modeling_qwen2

ALIGNMENT = 512  # bytes, to which CUDA's allocator rounds (pytorch, c10/cuda/CUDACachingAllocator.h)
MASK = modeling_qwen2.create_causal_mask
# a GPU's dropout, whose mask is bool
torch.nn.functional.dropout = lambda rows, p, training, inplace=False: torch.native_dropout(
    rows, p, training
)[0]


class Allocations(TorchDispatchMode):
    """Counts the bytes of all storages that operations made and that are still referred to."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, weakref.ref[Any]] = {}
        self.sizes: dict[int, int] = {}
        self.now = self.most = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor)
        self.most = max(self.most, self.now)
        return result

    def _count(self, tensor: torch.Tensor) -> None:
        storage = (tensor._local_tensor if isinstance(tensor, DTensor) else tensor).untyped_storage()
        key = id(storage)
        if key not in self.known:

            def gone(reference: object) -> None:
                del self.known[key]
                self.now -= self.sizes.pop(key)

            self.known[key] = weakref.ref(storage, gone)
        self.now -= self.sizes.get(key, 0)
        self.sizes[key] = -(-storage.nbytes() // ALIGNMENT) * ALIGNMENT
        self.now += self.sizes[key]

    def resizing(self, resize: Callable[[torch.Tensor], None]) -> Callable[[torch.Tensor], None]:
        """As `resize`, which gives memory to a storage or takes it away without an operation; and counted."""

        def counted(tensor: torch.Tensor) -> None:
            resize(tensor)
            self._count(tensor)
            self.most = max(self.most, self.now)

        counted.__wrapped__ = resize  # type: ignore[attr-defined]
        return counted


def peak(case: dict[str, Any]) -> int:
    """The most bytes in the second step: autocast over float32 trained weights, as LLaMA-Factory has it."""
    batch, length, accumulation = case["batch"], case["length"], case.get("accumulation", 1)
    # rows of one length need no mask; under fake tensors transformers cannot see that they are
    modeling_qwen2.create_causal_mask = MASK if batch > 1 else lambda *_, **__: None
    allocations = Allocations()
    mesh = processes(case["processes"]) if "processes" in case else None
    with FakeTensorMode(), allocations:
        model = AutoModelForCausalLM.from_config(
            Qwen2Config(**case["shapes"], use_cache=False), dtype=torch.bfloat16
        )
        if case.get("quantized"):
            quantize(model)
        if case.get("checkpointing", True):
            # FSDP 2 gets the other kind (llamafactory/model/model_utils/checkpointing.py)
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": mesh is None})
            model.enable_input_require_grads()
        model.train()
        if "rank" in case:
            model = with_adapters(model, case)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        widen(trained if mesh is None else model.parameters())
        if mesh is not None:
            shard(model, mesh, allocations)
            trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, fused=True)
        rows, forward = torch.randint(0, 100, (batch, length)), model.forward

        def autocast(**inputs: Any) -> Any:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return forward(**inputs)

        model.forward = ConvertOutputsToFp32(autocast)
        for _ in range(2):
            allocations.most = 0
            for _ in range(accumulation):
                loss = model(input_ids=rows, labels=rows).loss
                loss.backward()
                del loss
            optimizer.step()
            optimizer.zero_grad()
    if mesh is not None:
        torch.distributed.destroy_process_group()
    return allocations.most


def widen(parameters: Iterable[Any]) -> None:
    for parameter in parameters:
        parameter.data = parameter.data.float()


def processes(count: int) -> DeviceMesh:
    """One process of so many, whose collectives do nothing."""
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=count)
    return init_device_mesh("cpu", (count,))


def shard(model: Any, mesh: DeviceMesh, allocations: Allocations) -> None:
    """Shard layers and the rest as accelerate/utils/fsdp_utils.py, fsdp2_prepare_model, does."""
    for name in ("alloc_storage", "free_storage"):
        resize = getattr(_fsdp_param, name)
        setattr(_fsdp_param, name, allocations.resizing(getattr(resize, "__wrapped__", resize)))
    half = torch.bfloat16
    policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=half, output_dtype=half)
    for module in model.modules():
        if isinstance(module, modeling_qwen2.Qwen2DecoderLayer):
            fully_shard(module, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)


def quantize(model: Any) -> None:
    """Put NF4 in place of all linear layers but the output layer, as transformers' integration does."""
    # a plain parameter: bitsandbytes' subclass of it does not hold fake tensors
    bnb_modules.Params4bit = lambda data, requires_grad, **_: torch.nn.Parameter(data, requires_grad)
    # peft/tuners/lora/bnb.py asks whether CUDA's autocast is on
    torch.is_autocast_enabled = lambda *_: torch.is_autocast_cpu_enabled()
    half = torch.bfloat16
    for name, module in list(model.model.named_modules()):
        if isinstance(module, torch.nn.Linear):
            inputs, outputs, bias = module.in_features, module.out_features, module.bias
            there = Linear4bit(inputs, outputs, bias is not None, half, quant_storage=half, device="meta")
            packed, state = quantize_4bit(module.weight.data, quant_type="nf4", quant_storage=half)
            there.weight, there.bias = torch.nn.Parameter(packed, requires_grad=False), bias
            there.weight.quant_state, there.weight.quant_type = state, "nf4"
            there.weight.compress_statistics = False
            model.model.set_submodule(name, there)
    model.requires_grad_(False)
    model.is_loaded_in_4bit = True


def with_adapters(model: Any, case: dict[str, Any]) -> Any:
    from peft import LoraConfig, get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    # moving a module would swap its parameters, which fake ones refuse; they are all on one device
    BaseTunerLayer._move_adapter_to_device_of_base_layer = lambda *_, **__: None
    move, torch.nn.Module.to = torch.nn.Module.to, lambda module, *_, **__: module
    try:
        wanted = {"r": case["rank"], "target_modules": case["targets"], "use_dora": case.get("dora", False)}
        wanted["lora_dropout"] = case.get("dropout", 0.0)
        return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **wanted))
    finally:
        torch.nn.Module.to = move


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps([peak(case) for case in json.loads(sys.argv[1])]))
