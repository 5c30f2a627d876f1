"""`render`: from preset to rendered directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import note, report
from qtune.config.defaults import withdrawal

if TYPE_CHECKING:
    from qtune.prepare.pipeline import Prepared


@command("render", "qtune render stage3", "qtune render lora -d answers -s num_train_epochs=1")
def render_command(
    preset: options.Preset,
    name: Annotated[
        str | None, typer.Option("-n", "--name", help="Render to rendered/NAME instead of rendered/PRESET.")
    ] = None,
    model: options.Model = None,
    dataset: options.Dataset = None,
    assignments: options.Assignments = None,
    launcher: options.Launcher = None,
    hardware: options.Hardware = None,
) -> None:
    """Write the rendered directory of a preset and make it the current one, which `qtune train` takes.

    It holds train.yaml, zero.json where ZeRO is on, dataset_info.json, and launch.sh to start it by hand.
    """
    from qtune.prepare import pipeline

    project = here()
    layers = options.override_layers(model, dataset, assignments, launcher)
    machine, stack = options.hardware_from(hardware), options.stack_from(hardware)
    prepared = pipeline.prepare(preset, project, machine, layers, name=name, stack=stack)
    stop_on_errors(prepared)
    directory = pipeline.write(prepared).relative_to(project.root)
    for file in prepared.files:
        typer.echo(f"{directory / file.name}")
    note(f"rendered for {prepared.hardware}; next: `qtune train`, or by hand: bash {directory}/launch.sh")


def stop_on_errors(prepared: Prepared) -> None:
    """Report every finding, and what of the defaults does not hold; leave with exit code 2 for an error."""
    report(prepared.findings)
    if withdrawn := withdrawal(prepared.config):
        note(f"note: {withdrawn}")
    if prepared.errors:
        raise typer.Exit(2)
