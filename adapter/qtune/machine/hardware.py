"""The GPUs and CPU cores of a machine, on which `auto` values depend."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import Any

from qtune.errors import QtuneError
from qtune.machine.cards import AMPERE, Card, find_card, near_cards, slowest, smallest
from qtune.units import GIB, size_text

_SPEC = re.compile(r"(?P<count>\d{1,5}) ?x ?(?P<gpu>.+)", re.IGNORECASE)
_SIZE = re.compile(r"(\d{1,5}(?:\.\d+)?) ?GB", re.IGNORECASE)
# What shows of the NVIDIA driver, in containers too, the last on WSL: to look is quicker than to ask it.
_DRIVERS = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")
_RESERVED = 2**29  # bytes of a GPU that drivers before 510 keep without saying it; assumed


@dataclass(frozen=True)
class Hardware:
    """A machine's accelerators and cores.

    gpus: how many; gpu_memory_gb: of the smallest one, in GiB, as torch reports it; bf16: whether all of them
    compute in it; cores: CPU cores that a training may use; card: what the smallest one is, by its name in
    cards.yaml or by the size that cards are sold as (`24GB`), empty where only its memory is known.
    """

    gpus: int = 0
    gpu_memory_gb: float = 0.0
    bf16: bool = False
    cores: int = 1
    card: str = ""

    @property
    def is_cpu(self) -> bool:
        return self.gpus == 0

    @property
    def gpu_memory(self) -> int:
        """Bytes of the smallest GPU."""
        return int(self.gpu_memory_gb * GIB)

    @property
    def gpu(self) -> str:
        """One GPU, as `--hardware` names it: `A10G`, `24GB`."""
        return self.card or f"{self.gpu_memory_gb:.4g}GB"

    @property
    def rates(self) -> Card:
        """How fast a GPU is: as its card, or where that is not known as the slowest that is sold so large."""
        return find_card(self.card) or slowest(self.gpu_memory_gb)

    @property
    def described(self) -> str:
        """With the memory of each GPU: `1xA10G (21.98 GiB, 23.6 GB each)`."""
        if self.is_cpu:
            return str(self)
        return f"{self} ({self.gpu_memory_gb:.4g} GiB, {size_text(self.gpu_memory)} each)"

    def __str__(self) -> str:
        return "cpu" if self.is_cpu else f"{self.gpus}x{self.gpu}"


def parse_hardware(text: str) -> Hardware:
    """`cpu`, or COUNTxGPU such as `1xA10G` or `8x80GB`: a machine that is not this one, with 8 cores a GPU.

    Raises QtuneError for anything else.
    """
    if text.lower() == "cpu":
        return Hardware()
    match = _SPEC.fullmatch(text)
    count, wanted = (int(match["count"]), match["gpu"]) if match else (0, text)
    gpu = parse_gpu(wanted)
    if count and gpu:
        return replace(gpu, gpus=count, cores=8 * count)
    fix = "write cpu, 1xA10G, 1x24GB or 8x80GB"
    if names := None if _SIZE.fullmatch(wanted) else near_cards(wanted):
        known = " or ".join(f"{count or 1}x{name}" for name in names)
        fix = f"did you mean {known}? a size does as well: {count or 1}x24GB"
    raise QtuneError(f"`{text}` is no hardware", where="--hardware", fix=fix)


def parse_gpu(text: str) -> Hardware | None:
    """One GPU by its card or by its size; None where `text` is neither.

    A size is that of the smallest card that is sold as so large, and taken to compute in bf16 (NVIDIA since
    Ampere); one that no card is sold as is so many GiB.
    """
    size = _SIZE.fullmatch(text)
    if size is None:
        card = find_card(text)
        return None if card is None else Hardware(1, card.memory, card.bf16, 8, card.name)
    gigabytes = float(size[1])
    if (card := smallest(gigabytes)) is None:
        return Hardware(1, gigabytes, bf16=True, cores=8) if gigabytes else None
    return Hardware(1, card.memory, bf16=True, cores=8, card=f"{gigabytes:g}GB")


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
        memory, device = min((usable_memory(pynvml, device), number) for number, device in enumerate(devices))
        capability = min(pynvml.nvmlDeviceGetCudaComputeCapability(device)[0] for device in devices)
        name = pynvml.nvmlDeviceGetName(devices[device])
        return seen(len(devices), memory, name, bf16=capability >= AMPERE, cores=cores)
    finally:
        pynvml.nvmlShutdown()


def seen(gpus: int, memory: int, name: str | None, *, bf16: bool = True, cores: int = 1) -> Hardware:
    """GPUs by what their driver says of the smallest: the bytes that trainings can have, and its name."""
    card = find_card(name, memory / GIB) if name else None
    return Hardware(gpus, memory / GIB, bf16, cores, card.name if card else "")


def usable_memory(pynvml: Any, device: Any) -> int:
    """Bytes of a GPU that trainings can have, which is what torch reports as its total.

    NVML's total has in it what driver and firmware reserve (nvml.h, nvmlMemory_v2_t). Without that it is
    torch's in public logs: of an L4 NVML says 23034 MiB and 471 reserved, torch 22563; of an H100 PCIe 81559,
    551 and 81008.
    """
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(device, pynvml.nvmlMemory_v2)
    except pynvml.NVMLError:
        return int(pynvml.nvmlDeviceGetMemoryInfo(device).total) - _RESERVED
    return int(memory.total - memory.reserved)


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
