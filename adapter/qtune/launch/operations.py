"""What DeepSpeed will have to compile before the first step."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from qtune.launch.extensions import extensions_directory
from qtune.machine.hardware import Hardware
from qtune.values import Config

_WORDS = {
    "deepspeed_shm_comm": "its CPU communication",
    "cpu_adam": "its CPU Adam",
    "cpu_adagrad": "its CPU Adagrad",
    "cpu_lion": "its CPU Lion",
    "fused_adam": "its fused Adam",
    "fused_lamb": "its fused Lamb",
    "fused_lion": "its fused Lion",
    "async_io": "its NVMe access",
}
# By the optimizer of the `deepspeed` block, on the GPU and offloaded (deepspeed/runtime/engine.py,
# _configure_basic_optimizer).
_COMPILED = (
    {"adam": "fused_adam", "adamw": "fused_adam", "lamb": "fused_lamb", "lion": "fused_lion"},
    {
        "adam": "cpu_adam",
        "adamw": "cpu_adam",
        "adagrad": "cpu_adagrad",
        "lion": "cpu_lion",
        "lamb": "fused_lamb",
    },
)


def missing_operations(config: Config, hardware: Hardware) -> list[str]:
    """The operations that this config needs and torch's extensions lack.

    Nothing is compiled that DeepSpeed was installed with (deepspeed/ops/op_builder/builder.py,
    OpBuilder.load).
    """
    needed, cache = needed_operations(config, hardware), extensions_directory()
    built = {path.stem for path in cache.glob("**/*.so")} if needed else set()
    return [name for name in needed if name not in built]


def in_words(operations: Iterable[str]) -> list[str]:
    return [_WORDS[name] for name in operations]


def needed_operations(config: Config, hardware: Hardware) -> list[str]:
    """DeepSpeed's operations that this config needs, but for those that DeepSpeed was installed with."""
    if not config.uses_zero:
        return []
    devices = [config.get("zero", block, "device") for block in ("offload_optimizer", "offload_param")]
    needed = ["async_io"] if "nvme" in devices else []
    offloaded = devices[0] in ("cpu", "nvme")
    if hardware.is_cpu:
        needed.append("deepspeed_shm_comm")
    optimizer = str(config.get("deepspeed", "optimizer", "type", default="")).lower()
    if optimizer and not config.get("deepspeed", "optimizer", "params", "torch_adam"):
        needed += [name for name in (_COMPILED[offloaded].get(optimizer),) if name]
    elif not optimizer and offloaded and not hardware.is_cpu:
        needed.append("cpu_adam")
    return [name for name in needed if name not in _installed()]


def _installed() -> set[str]:
    spec = find_spec("deepspeed")
    directories = spec.submodule_search_locations or () if spec else ()
    found = (path for directory in directories for path in Path(directory).glob("ops/*/*_op.*.so"))
    return {path.name.split("_op.")[0] for path in found}
