"""What DeepSpeed will have to compile before the first step."""

from __future__ import annotations

import os
from importlib.util import find_spec
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

    The cache is TORCH_EXTENSIONS_DIR, by default below XDG_CACHE_HOME or the home directory
    (torch/utils/cpp_extension.py, get_default_build_root; torch/_appdirs.py). Nothing is compiled that
    DeepSpeed was installed with (deepspeed/ops/op_builder/builder.py, OpBuilder.load).
    """
    needed = needed_operations(config, hardware)
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    cache = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or caches / "torch_extensions")
    built = {path.stem for path in cache.glob("**/*.so")} if needed and cache.is_dir() else set()
    return [_NAMES[name] for name in needed if name not in built]


def needed_operations(config: Config, hardware: Hardware) -> list[str]:
    """DeepSpeed's operations that this config needs, but for those that DeepSpeed was installed with."""
    if not config.uses_zero:
        return []
    devices = [config.get("zero", block, "device") for block in ("offload_optimizer", "offload_param")]
    needed = ["async_io"] if "nvme" in devices else []
    if hardware.is_cpu:
        needed.append("deepspeed_shm_comm")
    elif devices[0] in ("cpu", "nvme"):
        needed.append("cpu_adam")
    return [name for name in needed if name not in _installed()]


def _installed() -> set[str]:
    spec = find_spec("deepspeed")
    directories = spec.submodule_search_locations or () if spec else ()
    found = (path for directory in directories for path in Path(directory).glob("ops/*/*_op.*.so"))
    return {path.name.split("_op.")[0] for path in found}
