"""The NVIDIA GPUs in sight, as their driver describes them: memory, capability, who occupies them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from qtune.machine.cards import AMPERE
from qtune.machine.hardware import usable_memory, visible_devices


@dataclass(frozen=True)
class Occupant:
    """A process on a GPU; memory in bytes, None where the driver does not tell (in containers, on MIG)."""

    pid: int
    memory: int | None = None
    name: str | None = None


@dataclass(frozen=True)
class Gpu:
    """One GPU; what the driver does not tell of it is None.

    memory_total: bytes, without what the driver keeps for itself; capability: (major, minor).
    """

    name: str | None = None
    memory_total: int | None = None
    memory_free: int | None = None
    capability: tuple[int, int] | None = None
    occupants: tuple[Occupant, ...] = ()

    @property
    def bf16(self) -> bool | None:
        return None if self.capability is None else self.capability[0] >= AMPERE


@dataclass(frozen=True)
class Gpus:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves in sight, in its order, and their driver.

    driver: its version, None where there is none; cuda: the newest CUDA that it runs; installed: how many
    GPUs there are, hidden ones too.
    """

    driver: str | None = None
    cuda: tuple[int, int] | None = None
    devices: tuple[Gpu, ...] = ()
    installed: int = 0


def read_gpus() -> Gpus:
    """What NVML says; nothing where it finds no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return Gpus()

    def told(function: Callable[..., Any], *arguments: Any) -> Any:
        """What the driver answers, None where it does not support the question."""
        try:
            return function(*arguments)
        except (pynvml.NVMLError, UnicodeDecodeError):
            return None

    try:
        cuda = told(pynvml.nvmlSystemGetCudaDriverVersion_v2)
        return Gpus(
            told(pynvml.nvmlSystemGetDriverVersion),
            None if cuda is None else (cuda // 1000, cuda % 1000 // 10),
            tuple(_gpu(pynvml, device, told) for device in told(visible_devices, pynvml) or ()),
            told(pynvml.nvmlDeviceGetCount) or 0,
        )
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _gpu(pynvml: Any, device: Any, told: Callable[..., Any]) -> Gpu:
    memory = told(pynvml.nvmlDeviceGetMemoryInfo, device)
    capability = told(pynvml.nvmlDeviceGetCudaComputeCapability, device)
    processes = [
        *(told(pynvml.nvmlDeviceGetComputeRunningProcesses, device) or ()),
        *(told(pynvml.nvmlDeviceGetGraphicsRunningProcesses, device) or ()),
    ]
    memories = {process.pid: process.usedGpuMemory for process in reversed(processes)}
    return Gpu(
        told(pynvml.nvmlDeviceGetName, device),
        told(usable_memory, pynvml, device),
        None if memory is None else memory.free,
        None if capability is None else (capability[0], capability[1]),
        tuple(
            Occupant(pid, used, told(pynvml.nvmlSystemGetProcessName, pid))
            for pid, used in sorted(memories.items())
        ),
    )
