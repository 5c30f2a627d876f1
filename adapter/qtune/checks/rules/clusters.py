"""Rules about Ray and Slurm, which place the nodes themselves."""

from __future__ import annotations

import re
from typing import Any

from qtune.checks.rules.view import Rule, View
from qtune.values import CLUSTERS

# torchrun's, which the cluster's driver decides, or does without.
_PLACED = ("master_addr", "node_rank", "rdzv_id", "max_restarts", "min_nnodes", "max_nnodes")
OWNED = {
    "nodes": "set launch.nnodes",
    "ntasks": "one task for each node starts its processes: set launch.nproc_per_node",
    "ntasks-per-node": "one task for each node starts its processes: set launch.nproc_per_node",
    "array": "one job carries out one run: submit one for each",
    "wrap": "the job runs qtune",
    "parsable": "qtune reads what sbatch prints",
    "test-only": "`qtune check` looks at the config",
    "wait": "`qtune watch` follows a run to its end",
    "hold": "`qtune train` holds the job itself until it is recorded",
    "requeue": "a second start would find its run begun: `qtune resume` goes on",
}
"""sbatch's options that follow from other keys, or from how qtune submits, and why."""
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_TIMES = ("time", "time-min", "begin", "deadline")


def _options(view: View) -> dict[str, Any]:
    return view.config.block("launch").get("slurm") or {}


def _without_effect(view: View) -> str:
    if view.config.launcher not in CLUSTERS:
        return ""
    return ", ".join(key for key in _PLACED if view.config.get("launch", key))


def _owned(view: View) -> str:
    return "; ".join(f"{key}: {OWNED[key]}" for key in _options(view) if key in OWNED)


def _no_option(view: View) -> str:
    for key, value in _options(view).items():
        if not _NAME.fullmatch(key):
            return f"{key} is no long name of an option"
        if not isinstance(value, str | int | bool | None):
            return f"{key} is neither text nor a whole number, true or false"
        if isinstance(value, str) and (not value.isprintable() or "\\" in value):
            return f"{key} has a line break, a backslash or another character that no option takes"
    return ""


def _numbers(view: View) -> str:
    """YAML reads 2:00:00 as 7200, and Slurm would read that as minutes."""
    numbers = (key for key in _TIMES if isinstance(_options(view).get(key), int))
    return ", ".join(numbers)


RULES = (
    Rule(
        "ray-is-installed",
        ("launch.launcher",),
        lambda view: view.config.launcher == "ray" and view.lacks("ray"),
        "needs ray, which is not installed here",
        "install it on every node: pip install 'qtune[ray]'",
        "qtune/children/ray_nodes.py",
    ),
    Rule(
        "cluster-places-the-nodes",
        tuple(f"launch.{key}" for key in _PLACED),
        _without_effect,
        "{found} without effect: the cluster gives the nodes, their ranks and their address",
        "take it out, or set launch.launcher: torchrun",
        "llamafactory/launcher.py, launch",
        "warning",
    ),
    Rule(
        "slurm-options-are-sbatchs",
        ("launch.slurm",),
        _no_option,
        "holds what sbatch cannot take: {found}",
        "use sbatch's long names and plain values, e.g. partition: gpu",
        "sbatch(1)",
    ),
    Rule(
        "slurm-options-of-qtune",
        ("launch.slurm",),
        _owned,
        "sets what qtune decides ({found})",
        "take it out",
        "sbatch(1)",
    ),
    Rule(
        "slurm-times-in-quotes",
        ("launch.slurm",),
        _numbers,
        "{found} is a number: YAML reads 2:00:00 as 7200 seconds, and sbatch that as minutes",
        'write it in quotes, e.g. time: "2:00:00"',
        "sbatch(1), --time; yaml/resolver.py",
    ),
)
