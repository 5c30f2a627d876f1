"""`presets`, `check`, `render`: from preset to rendered directory."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from qtune import pipeline
from qtune.cli.app import (
    DatasetOption,
    HardwareOption,
    JsonOption,
    ModelOption,
    PresetArgument,
    SetOption,
    app,
    hardware_from,
    here,
    override_layers,
)
from qtune.cli.complete import preset_names
from qtune.cli.output import markdown_table, note, print_json, print_table, report
from qtune.config.presets import Preset
from qtune.config.project import Project
from qtune.config.resolve import merge
from qtune.errors import QtuneError
from qtune.machine.hardware import Hardware
from qtune.pipeline import Prepared
from qtune.values import Config, Finding, Layer, Origin

_CATALOGUE = ("preset", "method", "batch per device", "cutoff_len", "fits (0.5B model)", "speed", "when")


@app.command("presets")
def presets_command(
    as_json: JsonOption = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a Markdown table, as README has it.")
    ] = False,
) -> None:
    """List the presets, those that need the most memory first.

    A project's own presets are listed too, before the built-in ones of the same name.
    """
    project = here()
    store = project.store
    rows = [
        (preset, merge(preset.name, [item.layer for item in store.chain(preset.name)]))
        for preset in store.catalogue()
    ]
    if as_json:
        print_json([_describe(preset, config) for preset, config in rows])
    elif as_markdown:
        cells = [[f"`{row[0]}`", *row[1:]] for row in (_cells(preset, config) for preset, config in rows)]
        typer.echo(markdown_table(_CATALOGUE, cells))
    else:
        print_table(_CATALOGUE, [_cells(preset, config) for preset, config in rows])
        note("next: `qtune show PRESET`, or `qtune render PRESET` to write its files")


@app.command("check")
def check_command(
    presets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PRESET]…",
            help="Presets; all of them when none is named.",
            autocompletion=preset_names,
        ),
    ] = None,
    model: ModelOption = None,
    dataset: DatasetOption = None,
    assignments: SetOption = None,
    hardware: HardwareOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say everything that is wrong with presets, project and datasets at once, and how to mend it.

    Exit code 2 where anything is wrong. Nothing is written.
    """
    project, machine = here(), hardware_from(hardware)
    layers = override_layers(model, dataset, assignments)
    names = presets or project.store.names()
    findings = {name: _findings(name, project, machine, layers) for name in names}
    distinct = list(dict.fromkeys(finding for found in findings.values() for finding in found))
    if as_json:
        print_json(
            {
                name: [
                    {
                        "severity": finding.severity,
                        "key": finding.key,
                        "where": finding.origin.place if finding.origin else None,
                        "message": finding.message,
                        "fix": finding.fix,
                    }
                    for finding in found
                ]
                for name, found in findings.items()
            }
        )
    else:
        report(distinct)
        good = [name for name, found in findings.items() if not found]
        if good:
            typer.echo(f"ok: {', '.join(good)}")
    if any(finding.severity == "error" for finding in distinct):
        raise typer.Exit(2)


@app.command("render")
def render_command(
    preset: PresetArgument,
    name: Annotated[
        str | None, typer.Option("-n", "--name", help="Render to rendered/NAME instead of rendered/PRESET.")
    ] = None,
    model: ModelOption = None,
    dataset: DatasetOption = None,
    assignments: SetOption = None,
    hardware: HardwareOption = None,
) -> None:
    """Write the rendered directory of a preset and make it the current one, which `qtune train` takes.

    It holds train.yaml, zero.json where ZeRO is on, dataset_info.json, and launch.sh to start it by hand.
    """
    project = here()
    prepared = pipeline.prepare(
        preset, project, hardware_from(hardware), override_layers(model, dataset, assignments), name=name
    )
    stop_on_errors(prepared)
    directory = pipeline.write(prepared).relative_to(project.root)
    for file in prepared.files:
        typer.echo(f"{directory / file.name}")
    note(f"rendered for {prepared.hardware}; next: `qtune train`, or by hand: bash {directory}/launch.sh")


def _findings(name: str, project: Project, hardware: Hardware, layers: list[Layer]) -> tuple[Finding, ...]:
    """What is wrong with one preset, so that one that cannot be read hides nothing of the others."""
    try:
        return pipeline.examine(name, project, hardware, layers).findings
    except QtuneError as error:
        origin = Origin("", error.where) if error.where else None
        return (Finding("error", "", error.what, error.fix or "mend it", origin),)


def stop_on_errors(prepared: Prepared) -> None:
    """Report every finding; leave with exit code 2 where one is an error."""
    report(prepared.findings)
    if prepared.errors:
        raise typer.Exit(2)


def _describe(preset: Preset, config: Config) -> dict[str, Any]:
    return {
        "name": preset.name,
        "about": preset.about,
        "when": preset.when,
        "speed": preset.speed,
        "fits": preset.fits,
        "extends": list(preset.extends),
        "step_down": preset.step_down,
        "per_device_train_batch_size": config.get("train", "per_device_train_batch_size"),
        "cutoff_len": config.get("train", "cutoff_len"),
        "file": preset.layer.file,
    }


def _cells(preset: Preset, config: Config) -> list[str]:
    batch, cutoff_len = (config.get("train", key) for key in ("per_device_train_batch_size", "cutoff_len"))
    return [preset.name, preset.about, str(batch), str(cutoff_len), preset.fits, preset.speed, preset.when]
