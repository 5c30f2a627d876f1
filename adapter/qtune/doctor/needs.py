"""What a config needs of the machine, read even where the config has errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune.config.model import local_model
from qtune.data.registrations import Registration, names_in
from qtune.launch.operations import in_words, missing_operations, needed_operations
from qtune.machine.hardware import Hardware
from qtune.schema import argument
from qtune.values import CLUSTERS, Config

_HUB_DATA = ("hf_hub_url", "ms_hub_url", "om_hub_url")


@dataclass(frozen=True)
class Needs:
    """What one config needs.

    config: its name; gpu: whether it trains on GPUs; operations: whether it uses operations of DeepSpeed that
    are compiled at their first use; compiles: those that are not compiled yet, in words; cuda_home: whether
    compiling them takes CUDA's toolkit; quantizes: whether it uses bitsandbytes, for weights or optimizer;
    workers: loader processes, of all training processes; torchrun: whether LLaMA-Factory's launcher starts
    it; meets_at: address and port of node 0, None where the processes meet at a free port of their own;
    node_rank: which node this is; elsewhere: whether it trains on a cluster's nodes; model: a hub's id, None
    where it is a directory; hub_data: whether data is loaded from a hub.
    """

    config: str
    gpu: bool = False
    zero: bool = False
    operations: bool = False
    compiles: tuple[str, ...] = ()
    cuda_home: bool = False
    nvme: bool = False
    quantizes: bool = False
    flash_attention: bool = False
    workers: int = 0
    processes: int = 1
    torchrun: bool = False
    meets_at: tuple[str, int] | None = None
    node_rank: int = 0
    elsewhere: bool = False
    model: str | None = None
    revision: str = "main"
    cache_dir: str | None = None
    hub_data: bool = False


def needs_of(
    config: Config, hardware: Hardware, registrations: Mapping[str, Registration], root: Path
) -> Needs:
    """What the config needs; root: the project's. Values of a wrong type, as the schema check reports them,
    need nothing."""
    train = config.block("train")
    gpu = not hardware.is_cpu and train.get("use_cpu") is not True
    offloaded = [config.get("zero", block, "device") for block in ("offload_optimizer", "offload_param")]
    operations = needed_operations(config, hardware)
    processes = config.nproc_per_node
    name = _text(train.get("model_name_or_path"))
    model = name if name and local_model(name, root) is None else None
    optimizer = str(argument(train, "optim"))
    by_bitsandbytes = argument(train, "quantization_method") == "bnb"
    names = [name for key in ("dataset", "eval_dataset") for name in names_in(train.get(key))]
    entries = [registrations[name].entry for name in names if name in registrations]
    return Needs(
        config.name,
        gpu,
        config.uses_zero,
        bool(operations),
        tuple(in_words(missing_operations(config, hardware))),
        # without a GPU DeepSpeed compiles for the CPU (deepspeed/ops/op_builder/builder.py, jit_load)
        gpu and bool(operations),
        config.uses_zero and "nvme" in offloaded,
        (by_bitsandbytes and train.get("quantization_bit") is not None)
        or any(part in optimizer for part in ("bnb", "paged", "8bit")),
        train.get("flash_attn") == "fa2",
        _count(train.get("dataloader_num_workers")) * processes,
        processes,
        config.launcher not in ("local", "accelerate")
        and (config.launcher != "auto" or config.uses_zero or config.processes > 1 or hardware.gpus > 1),
        _meeting(config),
        _count(config.get("launch", "node_rank")),
        config.launcher in CLUSTERS,
        model,
        _text(train.get("model_revision")) or "main",
        _text(train.get("cache_dir")),
        any(entry.get(key) for entry in entries for key in _HUB_DATA),
    )


def _meeting(config: Config) -> tuple[str, int] | None:
    address, port = config.get("launch", "master_addr"), config.get("launch", "master_port")
    if config.launcher in ("local", *CLUSTERS) or not isinstance(port, int) or not 0 < port < 1 << 16:
        return None
    if config.nnodes == 1:
        return "127.0.0.1", port
    return (address, port) if isinstance(address, str) else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
