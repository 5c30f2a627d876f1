"""How torch's allocator of GPU memory is told to grow its segments, between which fewer gaps stay then.

The first of NAMES that is set holds (torch 2.11, c10/cuda/CUDAAllocatorConfig.h, instance; before 2.9 torch
reads the first alone).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

NAMES = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
GROWING = "expandable_segments:True"
# WSL's driver: there the calls that map memory piece by piece are said to fail (NVIDIA/cuda-python#1175).
_WSL = Path("/dev/dxg")


def to_be_set(environment: Mapping[str, str]) -> dict[str, str]:
    """The variable that a training's environment lacks; none where the user's own is there, and under WSL."""
    if any(name in environment for name in NAMES) or _WSL.exists():
        return {}
    return {NAMES[0]: GROWING}


def grows(environment: Mapping[str, str]) -> bool:
    """Whether the segments of a training that qtune starts from this environment grow."""
    variables = {**environment, **to_be_set(environment)}
    return GROWING in next((variables[name] for name in NAMES if name in variables), "")
