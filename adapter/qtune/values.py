"""The frozen values that rooms hand to each other: config, finding, rendered file, launch plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from qtune.errors import printable
from qtune.schema import arguments

KeyPath = tuple[str, ...]
"""Where a value stands in a config: ("train", "learning_rate"), ("zero", "offload_param", "device")."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written: its layer's name, and its file and line where it has them."""

    layer: str
    file: str | None = None
    line: int | None = None

    @property
    def place(self) -> str:
        """`file:line`, or the layer's name where the value stands in no file."""
        if self.file is None:
            return self.layer
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def __str__(self) -> str:
        return self.layer if self.file is None else f"{self.layer} ({self.place})"


@dataclass(frozen=True, slots=True)
class Value:
    """One plain YAML value with the origin that set it."""

    value: Any
    origin: Origin


@dataclass(frozen=True)
class Layer:
    """One source of values.

    values: leaves by path; None removes what lower layers set.
    sha256: of the file's bytes, None for a layer that is no file.
    """

    name: str
    values: Mapping[KeyPath, Value]
    file: str | None = None
    sha256: str | None = None


def nested(values: Mapping[KeyPath, Value], block: str) -> dict[str, Any]:
    """The leaves of one top-level block as a nested plain mapping."""
    tree: dict[str, Any] = {}
    for path, value in values.items():
        if path[0] != block:
            continue
        node = tree
        for key in path[1:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = value.value
    return tree


@dataclass(frozen=True)
class Config:
    """The merged result: each leaf's value and origin, in the order in which the layers first set them."""

    name: str
    values: Mapping[KeyPath, Value]
    layers: tuple[Layer, ...] = ()

    def find(self, *path: str) -> Value | None:
        """The leaf at `path`, None where no layer set one."""
        return self.values.get(path)

    def get(self, *path: str, default: Any = None) -> Any:
        """The plain value of the leaf at `path`."""
        found = self.values.get(path)
        return default if found is None else found.value

    def argument(self, name: str) -> Any:
        """What an argument of the library is set to, or the library's own default."""
        return self.get("train", name, default=arguments()[name].default)

    def block(self, name: str) -> dict[str, Any]:
        """One top-level block as a nested plain mapping: `train`, `zero`, `deepspeed` or `launch`."""
        return nested(self.values, name)

    def origin(self, *path: str) -> Origin | None:
        """Where the leaf at `path`, or the first leaf below it, was set."""
        for candidate, value in self.values.items():
            if candidate[: len(path)] == path:
                return value.origin
        return None

    @property
    def uses_zero(self) -> bool:
        """Whether DeepSpeed is on: at `zero.stage` 1, 2 or 3, and at 0 where the `deepspeed` block has keys.

        Stage 0 alone, which shards nothing, is plain data parallel with or without DeepSpeed.
        """
        stage = self.get("zero", "stage")
        return bool(stage) or (stage is not None and any(path[0] == "deepspeed" for path in self.values))

    @property
    def launcher(self) -> str:
        return str(self.get("launch", "launcher", default="auto"))

    @property
    def nnodes(self) -> int:
        return self._count("nnodes")

    @property
    def nodes_by_hand(self) -> bool:
        """Whether somebody starts qtune on each of several nodes, rather than a cluster's scheduler."""
        return self.nnodes > 1 and self.launcher not in CLUSTERS

    @property
    def nproc_per_node(self) -> int:
        return self._count("nproc_per_node")

    @property
    def processes(self) -> int:
        """The training processes of all nodes: torchrun's world size."""
        return self.nnodes * self.nproc_per_node

    def _count(self, key: str) -> int:
        """1 where nothing is set, or no number of which there could be so many."""
        value = self.get("launch", key, default=1)
        return value if isinstance(value, int) and value > 0 else 1


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a check says.

    rule: the id of its row in the table of rules, and source: who fails on it; None for the other checks.
    """

    severity: Literal["error", "warning"]
    key: str
    message: str
    fix: str
    origin: Origin | None = None
    rule: str | None = None
    source: str | None = None

    def __str__(self) -> str:
        where = " ".join(part for part in (self.origin.place if self.origin else "", self.key) if part)
        return printable(f"{where}: {self.message}\n  fix: {self.fix}")


TRAIN, ZERO, DATASETS, LAUNCH = "train.yaml", "zero.json", "dataset_info.json", "launch.sh"
ACCELERATE, JOB = "accelerate.yaml", "job.sbatch"
"""The files of a rendered directory; ZeRO's, accelerate's and Slurm's only where they are in use."""


CLUSTERS = ("ray", "slurm")
"""The launchers that place the nodes themselves."""


@dataclass(frozen=True)
class RenderedFile:
    """One file of a rendered directory: its name there and its whole text."""

    name: str
    text: str


@dataclass(frozen=True)
class LaunchPlan:
    """What starts a training: the argument list and the variables added to the environment.

    files: those of the rendered directory that the launcher alone needs.
    sbatch: the options of the Slurm job that argv has to run in, by their long names.
    grows: whether torch's allocator of GPU memory is to grow its segments, unless the user has it otherwise.
    has_supervisors: whether what argv starts runs a node supervisor (qtune.processes.node) on each node, and
    passes on to them what it reads from its own input.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    files: tuple[str, ...] = ()
    sbatch: Mapping[str, str | None] = field(default_factory=dict)
    grows: bool = False
    has_supervisors: bool = False
