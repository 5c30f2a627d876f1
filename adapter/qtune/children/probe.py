"""A report of what the training's own Python can import and use.

It tells {"begins": NAME} before each part, so that whoever reads knows which one ended or held up the
process, and then {NAME: its answer}. An answer with `error` says in a line why a part is of no use; `version`
what it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import distributions
from importlib.util import find_spec
from typing import Any

Answer = dict[str, Any]


def probe(request: None, tell: Callable[[Answer], None]) -> None:
    for name, part in PARTS.items():
        tell({"begins": name})
        try:
            answer = part()
        except BaseException as error:  # a library that exits is of no use either
            answer = {"error": _in_a_line(error)}
        tell({name: answer})


def _in_a_line(error: BaseException) -> str:
    said = str(error).strip()
    return f"{type(error).__name__}: {said.splitlines()[0]}" if said else type(error).__name__


def _python() -> Answer:
    return {"version": ".".join(map(str, sys.version_info[:3])), "executable": sys.executable}


def _versions() -> Answer:
    found: Answer = {}
    for distribution in distributions():  # in the order of sys.path: the first is the one that counts
        name = str(distribution.metadata["Name"]).lower().replace("_", "-")
        found.setdefault(name, distribution.version)
    return found


def _torch() -> Answer:
    import torch

    return {"version": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip}


def _module(name: str) -> Callable[[], Answer]:
    def part() -> Answer:
        return {"version": getattr(__import__(name), "__version__", None)}

    return part


def _devices() -> Answer:
    """The accelerators that torch takes, each asked to compute."""
    import torch

    if find_spec("torch_npu") is not None:
        import torch_npu  # noqa: F401  (gives torch its npu)
    for kind in ("cuda", "npu"):
        backend = getattr(torch, kind, None)
        if backend is not None and backend.is_available():
            devices = [_device(backend, kind, index) for index in range(backend.device_count())]
            return {"kind": kind, "devices": devices}
    return {"kind": None, "devices": []}


def _device(backend: Any, kind: str, index: int) -> Answer:
    import torch

    answer: Answer = {"name": None, "memory": None, "bf16": None, "error": None}
    try:
        properties = backend.get_device_properties(index)
        answer |= {"name": properties.name, "memory": properties.total_memory}
        with backend.device(index):
            answer["bf16"] = bool(backend.is_bf16_supported())
        ones = torch.ones(64, 64, device=f"{kind}:{index}")
        (ones @ ones).sum().item()
    except Exception as error:
        answer["error"] = _in_a_line(error)
    return answer


def _bitsandbytes() -> Answer:
    """A matrix to 4 bits and back, where the training would do it."""
    import bitsandbytes
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    matrix = torch.ones(64, 64, device="cuda" if torch.cuda.is_available() else "cpu")
    packed, state = quantize_4bit(matrix, quant_type="nf4")
    if not torch.allclose(dequantize_4bit(packed, state), matrix, atol=0.1):
        return {"error": "what it quantises does not come back"}
    return {"version": bitsandbytes.__version__}


def _deepspeed() -> Answer:
    """Whether DeepSpeed loads, and which of the operations that presets use it says it can compile."""
    import deepspeed
    import torch
    from deepspeed.ops.op_builder import AsyncIOBuilder, CPUAdamBuilder
    from torch.utils.cpp_extension import CUDA_HOME

    answer: Answer = {"version": deepspeed.__version__, "cuda_home": CUDA_HOME, "nvcc": None, "problems": {}}
    if CUDA_HOME is not None and torch.version.cuda is not None:
        from deepspeed.ops.op_builder.builder import installed_cuda_version

        try:
            answer["nvcc"] = ".".join(map(str, installed_cuda_version()))
        except Exception as error:
            answer["problems"]["nvcc"] = _in_a_line(error)
    for name, builder in (("cpu_adam", CPUAdamBuilder), ("async_io", AsyncIOBuilder)):
        try:
            if not builder().is_compatible(verbose=False):
                answer["problems"][name] = "DeepSpeed says that it cannot be compiled here"
        except Exception as error:
            answer["problems"][name] = _in_a_line(error)
    return answer


PARTS: dict[str, Callable[[], Answer]] = {
    "python": _python,
    "versions": _versions,
    "torch": _torch,
    "torchvision": _module("torchvision"),
    "torchaudio": _module("torchaudio"),
    "transformers": _module("transformers"),
    "devices": _devices,
    "bitsandbytes": _bitsandbytes,
    "deepspeed": _deepspeed,
    "flash_attn": _module("flash_attn"),
}

if __name__ == "__main__":
    from protocol import serve

    serve(probe)
