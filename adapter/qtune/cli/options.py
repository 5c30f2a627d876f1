"""The arguments and options that commands share, and the config layers that they make.

A command's signature names them: `model: options.Model = None`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from qtune.cli.complete import Completer, assignments, dataset_names, launchers, preset_names, run_names
from qtune.errors import QtuneError
from qtune.values import KeyPath, Layer, Origin, Value

if TYPE_CHECKING:
    from qtune.machine.hardware import Hardware as Machine
    from qtune.machine.stack import Stack


def preset_argument(about: str, metavar: str = "[PRESET]") -> Any:
    """A preset's name, or several, completed by the shell."""
    return typer.Argument(metavar=metavar, help=about, autocompletion=preset_names)


def run_argument(about: str, metavar: str = "[RUN]") -> Any:
    """A run's name, completed by the shell."""
    return typer.Argument(metavar=metavar, help=about, autocompletion=run_names)


def set_option(about: str, complete: Completer | None = None) -> Any:
    """-s KEY=VALUE."""
    return typer.Option("-s", "--set", metavar="KEY=VALUE", help=about, autocompletion=complete)


def _forgetting(context: typer.Context, wanted: bool) -> bool:
    """A dry run leaves nothing in the user's cache either."""
    if wanted:
        from qtune.data import digests

        context.with_resource(digests.forgotten())
    return wanted


# Of presets, and of the config that they become.
Preset = Annotated[str, preset_argument("A preset's name; `qtune presets` lists them.", "PRESET")]
Model = Annotated[
    str | None,
    typer.Option("-m", "--model", help="The model: a hub's id or a directory (model_name_or_path)."),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        "-d",
        "--dataset",
        help="Registered dataset, or several with commas between.",
        autocompletion=dataset_names,
    ),
]
Assignments = Annotated[
    list[str] | None,
    set_option(
        "Set one argument; repeatable. VALUE is YAML, null removes; zero.KEY, deepspeed.KEY, launch.KEY too.",
        assignments,
    ),
]
Launcher = Annotated[
    str | None,
    typer.Option(
        help=f"What starts the processes: {', '.join(launchers(''))} (launch.launcher).",
        autocompletion=launchers,
    ),
]
Hardware = Annotated[
    str | None,
    typer.Option(help="Decide `auto` for cpu, 1xA10G, 8xH200, 2x24GB, … instead of for this machine."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Wide = Annotated[bool, typer.Option("--wide", help="All columns, however narrow the terminal is.")]

# Of datasets.
DatasetName = Annotated[
    str, typer.Argument(metavar="NAME", help="A registered dataset's name.", autocompletion=dataset_names)
]
ForPreset = Annotated[
    str | None,
    typer.Option(
        "-p",
        "--preset",
        help="Whose stage, template, model and cutoff_len count; else those of what was rendered last.",
        autocompletion=preset_names,
    ),
]

# Of trainings.
NewestRun = Annotated[
    str | None, run_argument("A run's name, or its directory; else the run that began last.")
]
RunName = Annotated[
    str | None, typer.Option("-n", "--name", help="Name of the run; in use, it gets the next free suffix.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Train although this machine or the data would fail it.")
]
Detach = Annotated[bool, typer.Option("--detach", help="Train in the background; `qtune watch` follows it.")]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        callback=_forgetting,
        help="Print what would be written and started, by node; do nothing else.",
    ),
]
NodeRank = Annotated[
    int | None,
    typer.Option(metavar="RANK", help="Which of several nodes this one is, from 0 (launch.node_rank)."),
]
OomChoice = Literal["step-down", "stop"]
OnOom = Annotated[
    OomChoice | None,
    typer.Option(
        help="Out of memory: go on with half the batch and twice the accumulation, then with the preset's "
        "step_down, or stop. Default: ask at a terminal, else stop."
    ),
]

# Of what was trained.
TrainedRun = Annotated[
    str | None, run_argument("A run's name, or its directory; else the run that finished last.")
]
Base = Annotated[bool, typer.Option("--base", help="The untouched model that the run started from, instead.")]
Checkpoint = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="What it was at step N, from that checkpoint.")
]
Settings = Annotated[
    list[str] | None,
    set_option("How it generates or loads: temperature, top_p, max_new_tokens, infer_dtype, …; repeatable."),
]
Backend = Annotated[
    str | None,
    typer.Option(
        "--infer-backend",
        help="huggingface, or vllm or sglang where installed (the same as -s infer_backend).",
    ),
]


@dataclass(frozen=True)
class How:
    """The options that `train`, `resume` and `replay` all take. Raises QtuneError for --json alone."""

    force: bool = False
    detach: bool = False
    on_oom: OomChoice | None = None
    dry_run: bool = False
    as_json: bool = False

    def in_job(self, run: str, words: Sequence[str] = ()) -> tuple[str, ...]:
        """What a Slurm job calls qtune with: to carry out the run, or with `words`."""
        return (*(words or ("carry-out", run)), *(("--on-oom", self.on_oom) if self.on_oom else ()))

    def __post_init__(self) -> None:
        if self.as_json and not self.dry_run:
            raise QtuneError("goes with --dry-run", where="--json", fix="add --dry-run")


def hardware_from(option: str | None) -> Machine:
    """The hardware that --hardware names, else this machine's; raises QtuneError where it names none, or
    has to name this machine's."""
    from qtune.machine.hardware import parse_hardware
    from qtune.machine.makers import this_machine

    return this_machine() if option is None else parse_hardware(option)


def stack_from(option: str | None) -> Stack | None:
    """What is installed where it will train, None where --hardware names another machine."""
    from qtune.machine.stack import installed_stack

    return installed_stack() if option is None else None


def override_layers(
    model: str | None, dataset: str | None, assignments: list[str] | None, launcher: str | None = None
) -> list[Layer]:
    """The command line's values: --model, --dataset and --launcher, then --set, which wins over them."""
    given = (
        ("train", "model_name_or_path", model, "--model"),
        ("train", "dataset", dataset, "--dataset"),
        ("launch", "launcher", launcher, "--launcher"),
    )
    values: dict[KeyPath, Value] = {
        (block, key): Value(value, Origin(option)) for block, key, value, option in given if value is not None
    }
    layers = [Layer("options", values)] if values else []
    if not assignments:
        return layers
    from qtune.config.resolve import overrides

    return [*layers, overrides(assignments)]


def node_layers(node_rank: int | None) -> list[Layer]:
    """--node-rank as a layer: it says where the training starts, and changes nothing that is rendered."""
    if node_rank is None:
        return []
    origin = Origin("--node-rank")
    return [Layer(origin.layer, {("launch", "node_rank"): Value(node_rank, origin)})]
