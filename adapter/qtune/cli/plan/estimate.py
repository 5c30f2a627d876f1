"""`estimate`: whether a training fits, part by part, before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from qtune.cli.app import (
    DatasetOption,
    HardwareOption,
    JsonOption,
    LauncherOption,
    ModelOption,
    SetOption,
    hardware_from,
    here,
    override_layers,
)
from qtune.cli.commands import command
from qtune.cli.complete import preset_names
from qtune.cli.output import note, print_json
from qtune.config.presets import DEFAULT
from qtune.config.project import Project
from qtune.data.registrations import count_training_rows, read_registrations
from qtune.errors import QtuneError
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.values import Config, Layer

if TYPE_CHECKING:  # read by this command alone, and by no other's start
    from qtune.cli.plan.estimate_view import Row
    from qtune.predict.models.shapes import Model


@command("estimate", "qtune estimate lora", "qtune estimate --all -m Qwen/Qwen2.5-7B --hardware 1x24GB")
def estimate_command(
    preset: Annotated[
        str | None,
        typer.Argument(
            metavar="[PRESET]",
            help=f"A preset's name, `{DEFAULT}` when none is given; `qtune presets` lists them.",
            autocompletion=preset_names,
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every preset that suits the model, a line each.")
    ] = False,
    model: ModelOption = None,
    dataset: DatasetOption = None,
    assignments: SetOption = None,
    launcher: LauncherOption = None,
    hardware: HardwareOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what memory a training needs, part by part, whether it fits, and what it writes to disk.

    Nothing is downloaded, loaded or started: the model's shapes come from its config.json, from a cache of
    Hugging Face or ModelScope, or from a built-in table of common models.

    GB are 10⁹ bytes. The size of a GPU in --hardware is what its maker means: 24GB are 24 × 2³⁰ bytes.

    Exit code 0 also where it does not fit: the answer says so.
    """
    from qtune.cli.plan.estimate_view import describe, show, show_all, tell

    if every and preset is not None:
        raise QtuneError(f"--all takes no preset, and here is `{preset}`", fix="leave one of them out")
    project, machine = here(), hardware_from(hardware)
    layers = override_layers(model, dataset, assignments, launcher)
    free = _free_host(hardware)
    if not every:
        row = _row(preset or DEFAULT, project, machine, layers, free)
        if as_json:
            print_json(describe(row))
        else:
            show(row, _options(model, hardware))
        return
    rows, unsuitable = [], {}
    known: dict[str, Model] = {}
    for found in project.store.catalogue():
        try:
            row = _row(found.name, project, machine, layers, free, known)
        except _Unsuitable as reason:
            unsuitable[found.name] = str(reason)
        else:
            rows.append(row)
    if as_json:
        print_json({"presets": [describe(row) for row in rows], "unsuitable": unsuitable})
        return
    if rows:
        show_all(rows)
    for name, why in unsuitable.items():
        typer.echo(f"not for this: {name} ({why})")
    for line in tell(rows):
        note(line)
    note(
        f"next: `qtune estimate PRESET{_options(model, hardware)}` for its parts, or "
        f"`qtune recommend{_options(model, hardware)}` for the fastest that fits"
    )


class _Unsuitable(Exception):
    """Why a preset is not for this model or machine."""


def _row(
    name: str,
    project: Project,
    machine: Hardware,
    layers: Sequence[Layer],
    free: int | None,
    known: dict[str, Model] | None = None,
) -> Row:
    """One preset's estimate; known: models that were read already, None for a preset asked for by name."""
    from qtune.advice.candidates import why_not_quantized
    from qtune.cli.plan.estimate_view import Row
    from qtune.predict.memory.total import estimate

    config = pipeline.resolve(name, project, machine, layers)
    model = _model(config, project, {} if known is None else known)
    if known is not None:
        if reason := why_not_quantized(config, model):
            raise _Unsuitable(reason)
        here = config.nproc_per_node
        if not machine.is_cpu and here > machine.gpus:
            raise _Unsuitable(f"it runs {here} processes, one for each GPU, and there is {machine.gpus}")
    try:
        found = estimate(config, model, machine, free)
    except (TypeError, ValueError, OverflowError) as error:
        fix = f"`qtune check {name}` says what is wrong with its values"
        raise QtuneError(f"cannot be estimated: {error}", where=name, fix=fix) from error
    rows = _rows(config, project) if known is None else None
    return Row(name, config, model, machine, found, rows, free)


def _model(config: Config, project: Project, known: dict[str, Model]) -> Model:
    from qtune.predict.models.find import load_named

    train = config.block("train")
    name = str(train.get("model_name_or_path"))
    if name not in known:
        known[name] = load_named(train, project.root)
    return known[name]


def _rows(config: Config, project: Project) -> int | None:
    """Rows of the training data, None where they cannot be counted: memory does not depend on them."""
    train = config.block("train")
    if not train.get("dataset"):
        return None
    train.pop("tokenized_path", None)  # made from this data, so of as many rows
    try:
        return count_training_rows(train, read_registrations(project))
    except (QtuneError, ValueError, OSError):
        return None


def _free_host(hardware: str | None) -> int | None:
    """Bytes of host memory free here; of a machine that --hardware names nobody knows."""
    if hardware is not None:
        return None
    from qtune.machine.host import read_host

    return read_host().memory_available


def _options(model: str | None, hardware: str | None) -> str:
    import shlex

    given = [
        word
        for option, value in (("-m", model), ("--hardware", hardware))
        if value
        for word in (option, value)
    ]
    return "".join(f" {shlex.quote(word)}" for word in given)
