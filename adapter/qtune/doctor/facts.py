"""The facts of the machine that the doctor judges, but for those that only a child process can tell."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from qtune.doctor.build_tools import Tools
from qtune.doctor.host import Demand
from qtune.doctor.needs import Needs
from qtune.launch.extensions import left_over
from qtune.machine.gpus import Gpus, read_gpus
from qtune.machine.host import Host, Volume, read_host, read_volume
from qtune.machine.hub import Cached, Hub, look_up, read_hub
from qtune.machine.makers import Accelerators, other_accelerators
from qtune.machine.network import Meeting, look_at
from qtune.machine.stack import compiler, has_header, library
from qtune.values import Finding


@dataclass(frozen=True)
class Facts:
    """Facts of this machine, for one config.

    rules: findings about the config, by the rule that has them; runs: where trainings write; cached: the
    model in the hub's cache, None where it is a directory; hidden: CUDA_VISIBLE_DEVICES, where it is set;
    gates_off: whether LLaMA-Factory's version checks are; meeting: where the nodes meet, None where they need
    no such place; library: LLaMA-Factory's package, None where it is not installed; others: accelerators of
    another maker than NVIDIA, where it has none of theirs; rendered: whether the config was rendered, for a
    machine that was named or needed no name.
    """

    needs: Needs
    gpus: Gpus
    host: Host
    volume: Volume
    runs: str
    hub: Hub
    cached: Cached | None
    tools: Tools
    demand: Demand = field(default_factory=Demand)
    rules: Mapping[str, Finding] = field(default_factory=dict)
    hidden: str | None = None
    gates_off: bool = False
    meeting: Meeting | None = None
    library: Path | None = None
    others: Accelerators | None = None
    rendered: bool = False


def gather(
    needs: Needs,
    findings: Sequence[Finding],
    root: Path,
    runs: str,
    python: Path,
    demand: Demand,
    *,
    rendered: bool,
) -> Facts:
    """Look at this machine. root: the project's; runs: relative to it; python: the training's, beside which
    its tools lie; rendered: as Facts has it."""
    hub = read_hub(needs.cache_dir)
    gpus = read_gpus()
    others = None if gpus.devices else other_accelerators()
    return Facts(
        # CUDA's toolkit is for NVIDIA's GPUs
        needs if others is None else replace(needs, cuda_home=False),
        gpus,
        read_host(),
        read_volume(root / Path(runs).expanduser()),
        runs,
        hub,
        look_up(hub, needs.model, needs.revision) if needs.model is not None else None,
        Tools(
            compiler(),
            shutil.which("ninja", path=str(python.parent)) or shutil.which("ninja"),
            _cuda_home(),
            has_header("libaio.h"),
            left_over(),
        ),
        demand,
        {finding.rule: finding for finding in findings if finding.rule is not None},
        os.environ.get("CUDA_VISIBLE_DEVICES"),
        os.environ.get("DISABLE_VERSION_CHECK", "0").lower() in ("true", "y", "1"),
        look_at(*needs.meets_at, owner=needs.node_rank == 0) if needs.meets_at else None,
        library(),
        others,
        rendered,
    )


def _cuda_home() -> str | None:
    """As torch looks for it (torch/utils/cpp_extension.py, _find_cuda_home)."""
    named = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    if named is not None:
        return named
    if nvcc := shutil.which("nvcc"):
        return str(Path(nvcc).parent.parent)
    return "/usr/local/cuda" if Path("/usr/local/cuda").exists() else None
