"""The values that an estimate of memory consists of: parts in bytes, ranges, verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from qtune.predict.parameters.trainable import Trainable

Place = Literal["gpu", "host"]
Verdict = Literal["fits", "tight", "does not fit"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""From the best to the worst."""


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """Something that takes memory.

    bytes: of one GPU where `where` is `gpu`; of all processes of the machine where it is `host`.
    note: how the number comes about, in words.
    """

    name: str
    bytes: int
    where: Place
    note: str = ""


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes: at least, expected, and the most that is to be reckoned with."""

    low: int = 0
    expected: int = 0
    high: int = 0

    def verdict(self, available: float) -> Verdict:
        """Whether so many bytes suffice; `tight` where what is expected does and the most does not."""
        if self.high <= available:
            return "fits"
        return "tight" if self.expected <= available else "does not fit"


@dataclass(frozen=True)
class Estimate:
    """What a training needs.

    parts: those at the moment of its peak, which `moment` names. gpu: of each GPU; host: of the machine.
    allocated: bytes that the framework allocates on one GPU at the peak, without context and slack: what
    torch.cuda.max_memory_allocated would say; 0 where there is no GPU. reserved: likewise, what
    torch.cuda.max_memory_reserved would.
    checkpoint: bytes of one checkpoint; disk: of all that the run keeps at once.
    assumptions: what the numbers stand on beside the config, in words.
    """

    parts: tuple[MemoryPart, ...]
    moment: str
    gpu: Range
    host: Range
    verdict: Verdict
    trainable: Trainable
    allocated: int
    checkpoint: int
    disk: int
    assumptions: tuple[str, ...] = ()
    reserved: Range = Range()

    def of(self, where: Place) -> Mapping[str, int]:
        """Bytes by the parts' names, on the GPU or in host memory."""
        return {part.name: part.bytes for part in self.parts if part.where == where}
