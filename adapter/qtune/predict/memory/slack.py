"""What torch's allocator holds on a GPU beside what is allocated: free blocks into which nothing else fits.

Weights and optimizer states stay where they are. The gaps lie among what comes and goes, so the slack is a
share of that (pytorch, c10/cuda/CUDACachingAllocator.cpp).
"""

from __future__ import annotations

from typing import NamedTuple

from qtune.predict.memory import states
from qtune.predict.memory.activations import is_eager
from qtune.predict.memory.setting import Setting


class Slack(NamedTuple):
    """Bytes: as expected, and the most that is to be reckoned with."""

    expected: int
    most: int


class _Share(NamedTuple):
    """Shares of what comes and goes: expected, and about the largest that was measured."""

    expected: float
    most: float


# Reserved less allocated bytes of one and the same run, over its allocated bytes less those of weights and
# states. 61 runs on a T4 (FitCheck 0.3.1, data/measurements; max_memory_reserved) and 38 on A100s (IBM,
# fms-acceleration, scripts/benchmarks/refs; nvidia-smi less context): 14 of 16-bit adapters 0.05 to 0.39,
# 33 of 4-bit ones 0.06 to 0.46, 30 with eager attention 0.11 to 0.63, 4 of full tuning 0.12, 0.28, 0.29 and
# 1.02, 18 over two GPUs by FSDP 0.25 to 1.3, most of them below 0.8. Expected is the share of each kind that
# brings most peaks of docs/published within a tenth of what is predicted.
_SIXTEEN_BITS, _FOUR_BITS, _EAGER = _Share(0.27, 0.40), _Share(0.26, 0.50), _Share(0.29, 0.65)
_FULL, _SHARDED = _Share(0.20, 0.60), _Share(0.50, 0.90)
# With segments that grow: what a training needs, not what it holds while there is room. Short of memory they
# give back all their free pages, others only where nothing of a segment is used. The allocator's rules,
# replayed over traced trainings (bench/segments.py), leave 0.02 to 0.05 of it with adapters and 0.13 in full
# tuning. Each stream has a pool of its own, so that what is gathered under FSDP and ZeRO-3 leaves gaps apart:
# assumed, since growing took those of a 7B model from 66 to 36 GB, not to nothing (NVIDIA, cosmos-rl#388).
_GROWING, _GROWING_FULL, _GATHERED = _Share(0.05, 0.15), _Share(0.13, 0.25), _Share(0.10, 0.25)


def slack(setting: Setting, allocated: int) -> Slack:
    """Slack beside so many allocated bytes of one GPU."""
    standing = [part for part in states.standing(setting) if part.where == "gpu"]
    gathered = sum(part.bytes for part in standing if part.name == states.GATHERED)
    coming = max(allocated - sum(part.bytes for part in standing) + gathered, 0)
    share, apart = _share(setting), _GATHERED if setting.grows else _Share(0, 0)
    return Slack(
        int(share.expected * coming + apart.expected * gathered),
        int(share.most * coming + apart.most * gathered),
    )


def _share(setting: Setting) -> _Share:
    full = setting.method == "full"
    if setting.grows:
        return _GROWING_FULL if full else _GROWING
    if setting.shares_weights:
        return _SHARDED
    if is_eager(setting):
        return _EAGER
    if full:
        return _FULL
    return _FOUR_BITS if setting.quantized else _SIXTEEN_BITS
