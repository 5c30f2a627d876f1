"""What shows of accelerators of other makers than NVIDIA, which LLaMA-Factory uses and qtune does not ask."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from qtune.errors import QtuneError
from qtune.machine.hardware import Hardware, detect_hardware
from qtune.units import GIB

# Of those that the variables leave in sight, each the first ones of which it names.
_HIDING = {
    "Ascend NPU": ("ASCEND_RT_VISIBLE_DEVICES",),
    "AMD GPU": ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
    "Intel GPU": ("ZE_AFFINITY_MASK",),
}
_INTEL = "0x8086"
_OWN_MEMORY = {"1", "2"}  # a GPU's, by its kind of heap (Linux, drivers/gpu/drm/amd/amdkfd/kfd_crat.h)
_LEAST_GB = 6  # of memory: the graphics of a processor borrow less


@dataclass(frozen=True)
class Accelerators:
    """Those in sight of one maker. name: of one; count: None where only the driver shows; shown_by: a file;
    memory_gb: of the smallest, as cards are sold, None where no file tells."""

    name: str
    count: int | None
    shown_by: str
    memory_gb: int | None = None

    @property
    def option(self) -> str:
        """How `--hardware` names them, with a usual number where one is not known."""
        return f"--hardware {self.count or 8}x{self.memory_gb or 64}GB"

    def __str__(self) -> str:
        several = "" if self.count == 1 else "s"
        return f"{self.count or ''} {self.name}{several} ({self.shown_by})".lstrip()


def other_accelerators(root: Path = Path("/")) -> Accelerators | None:
    """Those of the first maker that has some in sight, in the order in which LLaMA-Factory looks (misc.py).

    root: where /dev and /sys lie.
    """
    for found in (_intel(root), _ascend(root), _amd(root)):
        if found is not None:
            named = [_named(variable) for variable in _HIDING[found.name]]
            count = min((number for number in (found.count, *named) if number is not None), default=None)
            if count != 0:
                return Accelerators(found.name, count, found.shown_by, found.memory_gb)
    return None


def this_machine(root: Path = Path("/")) -> Hardware:
    """This machine as `auto` is decided for it; raises QtuneError where it has accelerators that qtune does
    not ask, and for which it would decide as for a CPU."""
    hardware = detect_hardware()
    others = other_accelerators(root) if hardware.is_cpu else None
    if others is None:
        return hardware
    raise QtuneError(
        f"has {others}, and qtune decides `auto` by itself for NVIDIA GPUs and CPUs only",
        where="this machine",
        fix=f"name them, COUNTxMEMORY: {others.option}; or --hardware cpu, which trains without them",
    )


def _ascend(root: Path) -> Accelerators | None:
    """By the driver's device files, of which a container has those that it may use (Ascend CANN)."""
    found = sorted(path.name for path in root.glob("dev/davinci*") if re.fullmatch(r"davinci\d+", path.name))
    return Accelerators("Ascend NPU", len(found), f"/dev/{found[0]}") if found else None


def _amd(root: Path) -> Accelerators | None:
    """By the compute driver's file, and the nodes that it describes.

    Source: Linux, drivers/gpu/drm/amd/amdkfd/kfd_topology.c. A node without a file of its own is one that a
    container may not use.
    """
    if not (root / "dev/kfd").exists():
        return None
    from qtune.machine.host import fields  # which few machines need

    nodes = sorted(root.glob("sys/class/kfd/kfd/topology/nodes/*"))
    if not nodes:
        return Accelerators("AMD GPU", None, "/dev/kfd")
    sizes = [
        size
        for node in nodes
        if (root / f"dev/dri/renderD{fields(node / 'properties').get('drm_render_minor')}").exists()
        and (size := _memory_gb(node)) >= _LEAST_GB
    ]
    return Accelerators("AMD GPU", len(sizes), "/dev/kfd", min(sizes)) if sizes else None


def _memory_gb(node: Path) -> int:
    from qtune.machine.host import fields

    banks = (fields(path) for path in node.glob("mem_banks/*/properties"))
    own = (int(bank.get("size_in_bytes", 0)) for bank in banks if bank.get("heap_type") in _OWN_MEMORY)
    return round(sum(own) / GIB)


def _intel(root: Path) -> Accelerators | None:
    """By the graphics driver's files, where torch is built for them: most processors have such graphics."""
    nodes = sorted(root.glob("dev/dri/renderD*"))
    if not nodes:
        return None
    from qtune.machine.builds import read_build
    from qtune.machine.host import text_of

    found = [
        path.name
        for path in nodes
        if text_of(root / f"sys/class/drm/{path.name}/device/vendor").strip() == _INTEL
    ]
    build = read_build("torch") if found else None
    if build is None or build.xpu is None:
        return None
    return Accelerators("Intel GPU", len(found), f"/dev/dri/{found[0]}")


def _named(variable: str) -> int | None:
    """How many devices the variable names, up to one that is none; None where it is not set."""
    value = os.environ.get(variable)
    if value is None:
        return None
    words = [word.strip() for word in value.split(",")]
    return next((number for number, word in enumerate(words) if not word or word.startswith("-")), len(words))
