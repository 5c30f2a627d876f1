"""What DeepSpeed will have to compile before the first step."""

from __future__ import annotations

import os
from pathlib import Path

from qtune.machine.hardware import Hardware
from qtune.values import Config

_NAMES = {"deepspeed_shm_comm": "its CPU communication", "cpu_adam": "its CPU Adam"}


def missing_operations(config: Config, hardware: Hardware) -> list[str]:
    """The operations that this config needs and DeepSpeed's cache lacks, in words.

    The cache is TORCH_EXTENSIONS_DIR, by default below the home directory
    (torch/utils/cpp_extension.py, get_default_build_root).
    """
    if not config.uses_zero:
        return []
    if hardware.is_cpu:
        needed = ["deepspeed_shm_comm"]
    elif config.get("zero", "offload_optimizer", "device") in ("cpu", "nvme"):
        needed = ["cpu_adam"]
    else:
        return []
    cache = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path.home() / ".cache" / "torch_extensions")
    built = {path.stem for path in cache.glob("**/*.so")} if cache.is_dir() else set()
    return [_NAMES[name] for name in needed if name not in built]
