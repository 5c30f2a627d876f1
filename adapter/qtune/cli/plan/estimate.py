"""`estimate`: whether a training fits, part by part, before it starts."""

from __future__ import annotations

from typing import Annotated

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import note, print_json, report
from qtune.cli.terminal import say
from qtune.config.presets import DEFAULT
from qtune.errors import QtuneError


@command("estimate", "qtune estimate lora", "qtune estimate --all -m Qwen/Qwen2.5-7B --hardware 1x24GB")
def estimate_command(
    preset: Annotated[
        str | None,
        options.preset_argument(
            f"A preset's name, `{DEFAULT}` when none is given; `qtune presets` lists them."
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every preset that suits the model, a line each.")
    ] = False,
    model: options.Model = None,
    dataset: options.Dataset = None,
    assignments: options.Assignments = None,
    launcher: options.Launcher = None,
    hardware: options.Hardware = None,
    wide: options.Wide = False,
    as_json: options.Json = False,
) -> None:
    """Say what memory a training needs, part by part, whether it fits, and what it writes to disk.

    Nothing is downloaded, loaded or trained: the model's shapes come from its config.json, from a cache of
    Hugging Face or ModelScope, or from a built-in table of common models. The installed transformers is
    asked once how a less common kind is built, which takes seconds.

    GB are 10⁹ bytes. In --hardware 24GB is the smallest card sold as that, the A10G, of which torch finds
    21.98 GiB: 23.6 GB.

    Exit code 0 also where it does not fit: the answer says so.
    """
    from qtune.advice.forecast import forecast, forecast_all, unregistered
    from qtune.cli.plan.estimate_view import describe, explain_terms, show, show_all
    from qtune.machine.host import read_host

    if every and preset is not None:
        raise QtuneError(f"--all takes no preset, and here is `{preset}`", fix="leave one of them out")
    project, machine = here(), options.hardware_from(hardware)
    layers = options.override_layers(model, dataset, assignments, launcher)
    if findings := unregistered(project, layers):
        report(findings)
        raise typer.Exit(2)
    # of a machine that --hardware names nobody knows what is free
    free = read_host().memory_available if hardware is None else None
    if not every:
        row = forecast(preset or DEFAULT, project, machine, layers, free)
        if as_json:
            print_json(describe(row))
        else:
            show(row, _options(model, hardware))
        return
    rows, unsuitable = forecast_all(project, machine, layers, free)
    if as_json:
        print_json({"presets": [describe(row) for row in rows], "unsuitable": unsuitable})
        return
    if rows:
        show_all(rows, wide=wide)
    for name, why in unsuitable.items():
        say(f"not for this: {name} ({why})")
    explain_terms(rows)
    note(
        f"next: `qtune estimate PRESET{_options(model, hardware)}` for its parts, or "
        f"`qtune recommend{_options(model, hardware)}` for the fastest that fits"
    )


def _options(model: str | None, hardware: str | None) -> str:
    import shlex

    given = {"-m": model, "--hardware": hardware}
    return "".join(f" {option} {shlex.quote(value)}" for option, value in given.items() if value)
