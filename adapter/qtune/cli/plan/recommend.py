"""`recommend`: the fastest preset that fits this model, this data and this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    stack_from,
)
from qtune.cli.commands import command
from qtune.cli.complete import preset_names
from qtune.cli.output import note, print_json, report
from qtune.cli.presets.schema import schema_comment, write_schemas
from qtune.config.own import own_preset_path, write_own_preset
from qtune.config.presets import BLOCKS
from qtune.config.project import Project
from qtune.config.resolve import merge, overrides
from qtune.errors import QtuneError
from qtune.files import block_lines, dump_yaml
from qtune.machine.hardware import Hardware
from qtune.values import Config, KeyPath, Layer, Origin, Value, nested

if TYPE_CHECKING:  # read by this command alone, and by no other's start
    from qtune.advice.recommend import Choice, Room
    from qtune.predict.memory.estimate import Estimate
    from qtune.predict.models.shapes import Model


@command("recommend", "qtune recommend", "qtune recommend --hardware 2x24GB --write ours")
def recommend_command(
    presets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PRESET]…",
            help="Weigh these against each other; else your own and the everyday ones.",
            autocompletion=preset_names,
        ),
    ] = None,
    model: ModelOption = None,
    dataset: DatasetOption = None,
    assignments: SetOption = None,
    launcher: LauncherOption = None,
    hardware: HardwareOption = None,
    write: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Save the first one, at its batch, as a preset of your own."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Rank the presets for this model, data and machine: the fastest that fits first, and why.

    Each is tried at other batches that leave the effective batch (batch × processes × accumulation) as it is,
    unless qtune.yaml or -s says what the batch is. Host memory and disk count where the machine is this one.
    Speeds are estimates, to be compared with each other.

    Exit code 0 also where nothing fits: the answer then says by how much, and what would help.
    """
    from qtune.advice.candidates import gather
    from qtune.advice.recommend import rank
    from qtune.advice.remedies import remedies
    from qtune.cli.plan.recommend_view import Recommendation, command_for, plain, show
    from qtune.predict.memory.total import estimate

    project = here()
    if write is not None:
        own_preset_path(project, write)  # refuses before anything is predicted
    machine, layers = hardware_from(hardware), override_layers(model, dataset, assignments, launcher)
    known = _model(project, layers)
    field = gather(project, known, machine, layers, stack_from(hardware), presets or ())
    if not field.candidates and field.shared:
        report(field.shared)
        raise typer.Exit(2)
    room = _room(project, hardware)

    def estimated(config: Config, on: Hardware) -> Estimate:
        return estimate(config, known, on)

    choices = rank(field.candidates, known, machine, room, estimated)
    first = choices[0] if choices and choices[0].verdict == "fits" else None
    helping = [] if first or not choices else remedies(choices[0], known, machine, room, estimated)
    settings, renamed = list(assignments or ()), None
    if write is not None:
        if first is None:
            fix = "without --write it says what would help"
            raise QtuneError("nothing fits for certain, so nothing is saved", where="--write", fix=fix)
        saved = _saved(project, settings)
        _write(project, write, first, f"{known.name} on {machine}", saved)
        settings = [item for item in settings if not saved.keys() & overrides([item]).values.keys()]
        renamed = write
    looks = Recommendation(known, machine, room, field, tuple(choices), tuple(helping))
    command = "" if not choices else command_for(choices[0], renamed, (model, dataset, hardware), settings)
    if as_json:
        print_json(plain(looks, command))
    else:
        show(looks, command)


def _model(project: Project, layers: Sequence[Layer]) -> Model:
    """The model that qtune.yaml or the command line names: all candidates train that one."""
    from qtune.predict.models.find import load_named

    given = merge("", [*filter(None, [project.layer]), *layers])
    return load_named(given.block("train"), project.root)


def _room(project: Project, hardware: str | None) -> Room:
    """What is free here; of a machine that --hardware names nobody knows."""
    from qtune.advice.recommend import Room
    from qtune.machine.host import read_host, read_volume

    if hardware is not None:
        return Room()
    disk = read_volume(project.runs_directory).free
    return Room(read_host().memory_available, disk)


def _saved(project: Project, assignments: Sequence[str]) -> dict[KeyPath, Value]:
    """What --set says and a preset can say too: qtune.yaml wins over presets."""
    if not assignments:
        return {}
    fixed = project.layer.values if project.layer is not None else {}
    return {path: value for path, value in overrides(assignments).values.items() if path not in fixed}


def _write(
    project: Project, name: str, choice: Choice, made_for: str, values: Mapping[KeyPath, Value]
) -> None:
    """Save a choice: its preset at this batch, and what --set said, which the batch was found with."""
    from qtune.advice.recommend import ACCUMULATION, BATCH

    path = own_preset_path(project, name)
    own: dict[KeyPath, Value] = {}
    if choice.is_adjusted:
        origin = Origin("recommend")
        own = {BATCH: Value(choice.batch, origin), ACCUMULATION: Value(choice.accumulation, origin)}
    tree = {block: nested({**values, **own}, block) for block in BLOCKS}
    lines = [
        schema_comment("preset", len(path.relative_to(project.root).parents) - 1),
        f"# Made by `qtune recommend` for {made_for}:",
        f"# {choice.effective_batch} rows a step, as in {choice.name}, in batches that memory allows.",
        f"about: {dump_yaml(f'{choice.name} for {made_for}')}",
        f"extends: {choice.name}",
        *block_lines({block: keys for block, keys in tree.items() if keys}),
    ]
    write_own_preset(project, name, "\n".join(lines) + "\n")
    write_schemas(project.root)
    note(f"wrote {path.relative_to(project.root).as_posix()}")
