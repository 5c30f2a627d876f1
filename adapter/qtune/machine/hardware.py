"""The GPUs and CPU cores of a machine, on which `auto` values depend."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from qtune.errors import QtuneError
from qtune.units import CARD_GB, size_text

_SPEC = re.compile(r"(?P<count>\d+)x(?P<memory>\d+(?:\.\d+)?)GB", re.IGNORECASE)
# What shows of the NVIDIA driver, in containers too, the last on WSL: to look is quicker than to ask it.
_DRIVERS = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")
AMPERE = 8  # the first CUDA compute capability (major) with bf16


@dataclass(frozen=True)
class Hardware:
    """A machine's accelerators and cores.

    gpus: how many; gpu_memory_gb: of the smallest one, as cards are sold (CARD_GB); bf16: whether all of them
    compute in it; cores: CPU cores that a training may use.
    """

    gpus: int = 0
    gpu_memory_gb: float = 0.0
    bf16: bool = False
    cores: int = 1

    @property
    def is_cpu(self) -> bool:
        return self.gpus == 0

    @property
    def gpu_memory(self) -> int:
        """Bytes of the smallest GPU."""
        return int(self.gpu_memory_gb * CARD_GB)

    @property
    def described(self) -> str:
        """With the bytes of each GPU: `1x24GB (25.8 GB each)`."""
        return str(self) if self.is_cpu else f"{self} ({size_text(self.gpu_memory)} each)"

    def __str__(self) -> str:
        return "cpu" if self.is_cpu else f"{self.gpus}x{self.gpu_memory_gb:g}GB"


def parse_hardware(text: str) -> Hardware:
    """`cpu`, or COUNTxMEMORY of GPUs such as `1x24GB`: a machine that is not this one.

    Its GPUs are taken to compute in bf16 (NVIDIA since Ampere) and to have 8 CPU cores each.
    Raises QtuneError for anything else.
    """
    if text.lower() == "cpu":
        return Hardware()
    match = _SPEC.fullmatch(text)
    if match is None or int(match["count"]) == 0 or float(match["memory"]) == 0:
        raise QtuneError(f"`{text}` is no hardware", where="--hardware", fix="write cpu, 1x24GB or 8x80GB")
    gpus = int(match["count"])
    return Hardware(gpus, float(match["memory"]), bf16=True, cores=8 * gpus)


def detect_hardware() -> Hardware:
    """The NVIDIA GPUs that CUDA_VISIBLE_DEVICES leaves visible on this machine, by NVML; else the CPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not any(map(os.path.exists, _DRIVERS)):
        return Hardware(cores=cores)
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver here
        return Hardware(cores=cores)
    try:
        devices = visible_devices(pynvml)
        if not devices:
            return Hardware(cores=cores)
        memory = min(pynvml.nvmlDeviceGetMemoryInfo(device).total for device in devices)
        capability = min(pynvml.nvmlDeviceGetCudaComputeCapability(device)[0] for device in devices)
        return Hardware(len(devices), round(memory / CARD_GB), capability >= AMPERE, cores)
    finally:
        pynvml.nvmlShutdown()


def visible_devices(pynvml: Any) -> list[Any]:
    """As CUDA reads the variable: indices or UUIDs, of which the first invalid one ends the list."""
    count = pynvml.nvmlDeviceGetCount()
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    devices: list[Any] = []
    for word in filter(None, (part.strip() for part in wanted.split(","))):
        try:
            if word.lstrip("-").isdigit():
                devices.append(pynvml.nvmlDeviceGetHandleByIndex(int(word)))
            else:
                devices.append(pynvml.nvmlDeviceGetHandleByUUID(word))
        except (pynvml.NVMLError, ValueError, OverflowError):
            break
    return devices
