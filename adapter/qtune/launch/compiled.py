"""What DeepSpeed will have to compile before the first step."""

from __future__ import annotations

import os
from pathlib import Path

from qtune.machine.hardware import Hardware
from qtune.values import Config

_NAMES = {
    "deepspeed_shm_comm": "its CPU communication",
    "cpu_adam": "its CPU Adam",
    "async_io": "its NVMe access",
}


def missing_operations(config: Config, hardware: Hardware) -> list[str]:
    """The operations that this config needs and DeepSpeed's cache lacks, in words.

    The cache is TORCH_EXTENSIONS_DIR, by default below the home directory
    (torch/utils/cpp_extension.py, get_default_build_root).
    """
    if not config.uses_zero:
        return []
    devices = [config.get("zero", block, "device") for block in ("offload_optimizer", "offload_param")]
    needed = ["async_io"] if "nvme" in devices else []
    if hardware.is_cpu:
        needed.append("deepspeed_shm_comm")
    elif devices[0] in ("cpu", "nvme"):
        needed.append("cpu_adam")
    cache = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path.home() / ".cache" / "torch_extensions")
    built = {path.stem for path in cache.glob("**/*.so")} if cache.is_dir() else set()
    return [_NAMES[name] for name in needed if name not in built]
