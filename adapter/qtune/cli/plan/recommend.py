"""`recommend`: the fastest preset that fits this model, this data and this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import note, print_json, report
from qtune.config.own import own_preset_path, write_own_preset
from qtune.config.resolve import overrides
from qtune.errors import QtuneError
from qtune.machine.hardware import Hardware
from qtune.values import Config

if TYPE_CHECKING:  # read by this command alone, and by no other's start
    from qtune.predict.memory.estimate import Estimate


@command("recommend", "qtune recommend", "qtune recommend --hardware 2x24GB --write ours")
def recommend_command(
    presets: Annotated[
        list[str] | None,
        options.preset_argument(
            "Weigh these against each other; else your own and the everyday ones.", "[PRESET]…"
        ),
    ] = None,
    model: options.Model = None,
    dataset: options.Dataset = None,
    assignments: options.Assignments = None,
    launcher: options.Launcher = None,
    hardware: options.Hardware = None,
    write: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Save the first one, at its batch, as a preset of your own."),
    ] = None,
    wide: options.Wide = False,
    as_json: options.Json = False,
) -> None:
    """Rank the presets for this model, data and machine: the fastest that fits first, and why.

    Each is tried at other batches that leave the effective batch (batch × processes × accumulation) as it
    is, and at the cutoff_len that the data's rows need or, where that does not fit, a shorter one, unless
    qtune.yaml or -s says what these are. A 4-bit base, shorter rows and offloading count as slower than they
    are. Host memory and disk count where the machine is this one. Speeds are estimates, in words: slower is
    up to twice as slow, much slower up to three times, many times slower more.

    Exit code 0 also where nothing fits: the answer then says by how much, and what would help.
    """
    from qtune.advice.candidates import gather, model_of
    from qtune.advice.certain import by_allocator
    from qtune.advice.recommend import Room, rank, room_of
    from qtune.advice.remedies import remedies
    from qtune.advice.saving import preset_text, settings_for_preset
    from qtune.cli.plan.recommend_view import Recommendation, command_for, plain, show
    from qtune.machine.allocator import grows
    from qtune.predict.memory.total import estimate

    project = here()
    if write is not None:
        own_preset_path(project, write)  # refuses before anything is predicted
    machine, layers = (
        options.hardware_from(hardware),
        options.override_layers(model, dataset, assignments, launcher),
    )
    known = model_of(project, layers)
    field = gather(project, known, machine, layers, options.stack_from(hardware), presets or ())
    if not field.candidates and field.shared:
        report(field.shared)
        raise typer.Exit(2)
    growing = grows(os.environ)
    room = Room() if hardware else room_of(project)  # nobody knows what is free elsewhere

    def estimated(config: Config, on: Hardware) -> Estimate:
        return estimate(config, known, on, grows=growing)

    choices = rank(field.candidates, known, machine, room, estimated, field.rows)
    first = choices[0] if choices and choices[0].verdict == "fits" else None
    helping = []
    if choices and not first:
        growth = by_allocator(choices[0], known, machine, room, growing)
        others = remedies(choices[0], known, machine, room, estimated)
        helping = [*filter(None, [growth]), *others]
    settings, renamed = list(assignments or ()), None
    if write is not None:
        if first is None:
            fix = "without --write it says what would help"
            raise QtuneError("nothing fits for certain, so nothing is saved", where="--write", fix=fix)
        saved = settings_for_preset(project, settings)
        text = preset_text(first, f"{known.name} on {machine}", saved)
        path = write_own_preset(project, write, text)
        note(f"wrote {path.relative_to(project.root).as_posix()}")
        settings = [item for item in settings if not saved.keys() & overrides([item]).values.keys()]
        renamed = write
    looks = Recommendation(known, machine, room, field, tuple(choices), tuple(helping))
    command = "" if not choices else command_for(choices[0], renamed, (model, dataset, hardware), settings)
    if as_json:
        print_json(plain(looks, command))
    else:
        show(looks, command, wide=wide)
