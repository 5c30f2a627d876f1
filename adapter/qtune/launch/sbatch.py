"""What a Slurm job asks for: sbatch's options, by their long names."""

from __future__ import annotations

from qtune.machine.hardware import Hardware
from qtune.values import Config

_GPUS = ("gres", "gpus", "gpus-per-node", "gpus-per-task", "tres-per-task")
# Time for a checkpoint: the signal comes up to a minute early (sbatch(1), --signal), never late.
_WARNING = "B:TERM@120"


def sbatch_options(config: Config, hardware: Hardware) -> dict[str, str | None]:
    """sbatch's options for a job of this config, by their long names; None for one that takes no value."""
    wanted: dict[str, object] = {
        "job-name": config.name,
        "nodes": config.nnodes,
        "ntasks-per-node": 1,
        "signal": _WARNING,
        "no-requeue": True,  # a second start of the script would find its run begun
    }
    given = config.block("launch").get("slurm") or {}
    if not hardware.is_cpu and not any(key in given for key in _GPUS):
        wanted["gpus-per-node"] = config.nproc_per_node
    values = {**wanted, **given}
    return {
        key: None if value is True else str(value)
        for key, value in values.items()
        if value is not None and value is not False
    }
