"""Rules about what starts the processes, on one machine and on several."""

from __future__ import annotations

import re
from typing import Any

from qtune.checks.rules.view import Rule, View
from qtune.units import counted
from qtune.values import ACCELERATE

_LAUNCHER = "llamafactory/launcher.py, launch"
_ELASTIC = ("max_restarts", "min_nnodes", "max_nnodes")
_PAIRS = re.compile(r"[^\s=,]+=[^\s=,]+(,[^\s=,]+=[^\s=,]+)*")


def _get(view: View, key: str) -> Any:
    return view.config.get("launch", key)


def _without_address(view: View) -> str:
    missing = [key for key in ("master_addr", "master_port") if _get(view, key) is None]
    return f"no {' and no '.join(missing)}" if view.config.nodes_by_hand and missing else ""


def _rank_outside(view: View) -> bool:
    return not 0 <= (_get(view, "node_rank") or 0) < view.config.nnodes


def _port_outside(view: View) -> bool:
    return not 1 <= (_get(view, "master_port") or 1) < 1 << 16


def _more_than_one(view: View) -> str:
    if view.config.launcher != "local":
        return ""
    if view.config.processes > 1:
        return counted(view.config.processes, "process")
    return "several GPUs in sight, where LLaMA-Factory starts torchrun" if view.hardware.gpus > 1 else ""


def _with_spaces(view: View) -> str:
    keys = ("master_addr", "rdzv_id")
    return ", ".join(key for key in keys if re.search(r"\s", str(_get(view, key) or "")))


def _given(view: View, *keys: str) -> str:
    return ", ".join(key for key in keys if _get(view, key))


def _range(view: View) -> bool:
    least, most = _get(view, "min_nnodes"), _get(view, "max_nnodes")
    if least is None or most is None:
        return least is not most
    return not 1 <= least <= view.config.nnodes <= most


def _lost_fsdp(view: View) -> bool:
    """Whether a lower layer chose FSDP and a higher one another launcher."""
    launcher = ("launch", "launcher")
    chosen = (layer.values[launcher].value for layer in view.config.layers if launcher in layer.values)
    return not view.accelerate and ACCELERATE.removesuffix(".yaml") in chosen


RULES = (
    Rule(
        "tokens-of-several-nodes",
        ("tokenized_path", "launch.nnodes"),
        lambda view: view.config.nnodes > 1 and view["tokenized_path"] is not None,
        "a node that finds tokens there waits for ever for one that does not",
        "let all nodes share that directory, and make the tokens on one node first; or take it out",
        "llamafactory/data/loader.py, get_dataset",
        "warning",
    ),
    Rule(
        "nodes-need-an-address",
        ("launch.master_addr", "launch.master_port", "launch.nnodes"),
        _without_address,
        "several nodes, and {found}: each would wait at a port of its own",
        "set launch.master_addr to node 0's address and launch.master_port to a free port there, "
        "the same on all nodes",
        _LAUNCHER,
    ),
    Rule(
        "node-rank-below-nodes",
        ("launch.node_rank", "launch.nnodes"),
        _rank_outside,
        "nodes are counted from 0, so the last one's rank is launch.nnodes - 1",
        "set launch.node_rank to 0 on the first node, 1 on the second, and so on",
        "torch/distributed/elastic/rendezvous/static_tcp_rendezvous.py, StaticTCPRendezvous",
    ),
    Rule(
        "master-port-range",
        ("launch.master_port",),
        _port_outside,
        "is no port: they go from 1 to 65535",
        "choose one above 1023 that nothing listens at, such as 29500",
        "torch/distributed/elastic/rendezvous/utils.py, parse_rendezvous_endpoint",
    ),
    Rule(
        "launcher-words-without-spaces",
        ("launch.master_addr", "launch.rdzv_id"),
        _with_spaces,
        "a space in {found}, at which LLaMA-Factory's launcher splits its command",
        "write it without spaces",
        _LAUNCHER,
    ),
    Rule(
        "rdzv-conf-is-pairs",
        ("launch.rdzv_conf",),
        lambda view: bool(_get(view, "rdzv_conf")) and not _PAIRS.fullmatch(_get(view, "rdzv_conf")),
        "is not of the form KEY=VALUE,KEY=VALUE",
        "write e.g. launch.rdzv_conf: timeout=900",
        "torch/distributed/elastic/rendezvous/utils.py, _parse_rendezvous_config",
    ),
    Rule(
        "local-is-one-process",
        ("launch.launcher", "launch.nproc_per_node", "launch.nnodes"),
        _more_than_one,
        "local starts one process by itself, and here are {found}",
        "set launch.launcher: auto; or launch.nproc_per_node: 1, with one GPU in CUDA_VISIBLE_DEVICES",
        _LAUNCHER,
    ),
    Rule(
        "local-without-deepspeed",
        ("launch.launcher", "zero.stage"),
        lambda view: view.config.launcher == "local" and bool(view.zero),
        "DeepSpeed takes its process group from torchrun, also for one process",
        "set launch.launcher: auto, or take `zero:` out (zero.stage: null)",
        "llamafactory/hparams/parser.py, get_train_args",
    ),
    Rule(
        "fsdp-needs-accelerate",
        ("launch.launcher",),
        _lost_fsdp,
        "the preset shards its model by FSDP, which only accelerate starts: every process would hold it all",
        "set launch.launcher: accelerate, or take a preset without FSDP, such as qlora",
        "accelerate/utils/launch.py, prepare_multi_gpu_env (ACCELERATE_USE_FSDP)",
    ),
    Rule(
        "elastic-needs-rdzv-id",
        ("launch.max_restarts", "launch.min_nnodes", "launch.max_nnodes", "launch.rdzv_id"),
        lambda view: not _get(view, "rdzv_id") and not view.accelerate and _given(view, *_ELASTIC),
        "{found} without effect: without rdzv_id LLaMA-Factory does not hand it to torchrun",
        "set launch.rdzv_id to a name of the job, the same on all nodes; or take it out",
        _LAUNCHER,
    ),
    Rule(
        "elastic-nodes-range",
        ("launch.min_nnodes", "launch.max_nnodes", "launch.nnodes"),
        _range,
        "an elastic job has both bounds, and nnodes nodes at its start between them",
        "set launch.min_nnodes <= launch.nnodes <= launch.max_nnodes, or take both bounds out",
        "torch/distributed/run.py, config_from_args",
    ),
    Rule(
        "accelerate-is-not-elastic",
        tuple(f"launch.{key}" for key in ("rdzv_id", *_ELASTIC, "launcher")),
        lambda view: view.accelerate and _given(view, *_ELASTIC, "rdzv_id"),
        "{found}: of torchrun's, and accelerate's configuration file has none of them",
        "take it out, or set launch.launcher: torchrun",
        "accelerate/commands/config/config_args.py, ClusterConfig",
    ),
)
