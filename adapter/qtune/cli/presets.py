"""`presets`, `check`, `render`: from preset to rendered directory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from qtune.cli.app import (
    DatasetOption,
    HardwareOption,
    JsonOption,
    LauncherOption,
    ModelOption,
    PresetArgument,
    SetOption,
    app,
    hardware_from,
    here,
    override_layers,
    stack_from,
)
from qtune.cli.complete import preset_names
from qtune.cli.output import markdown_table, note, print_json, print_table, report
from qtune.config.presets import BASE, Preset
from qtune.config.project import Project
from qtune.config.resolve import merge
from qtune.config.sources import built_in
from qtune.errors import QtuneError
from qtune.machine.hardware import Hardware
from qtune.machine.stack import Stack
from qtune.prepare import pipeline
from qtune.prepare.pipeline import Prepared
from qtune.values import Config, Finding, Layer, Origin

_CATALOGUE = (
    "preset",
    "group",
    "method",
    "batch per device",
    "cutoff_len",
    "fits (0.5B, or the model named)",
    "speed",
    "when",
)


presets_app = typer.Typer()
app.add_typer(presets_app, name="presets")


@presets_app.callback(invoke_without_command=True)
def presets_command(
    context: typer.Context,
    as_json: JsonOption = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a Markdown table, as README has it.")
    ] = False,
    fits: Annotated[
        str | None,
        typer.Option("--fits", metavar="MEMORY", help="Only those that fit in so much GPU memory: 24GB."),
    ] = None,
) -> None:
    """List the presets by group, in each those that need the most memory first.

    A project's own presets are listed too, before the built-in ones of the same name, and with them the
    source and commit that each preset comes from.
    """
    if context.invoked_subcommand is not None:
        return
    project = here()
    store = project.store
    rows = [
        (preset, merge(preset.name, [item.layer for item in store.chain(preset.name)]))
        for preset in _fitting(store.catalogue(), fits)
    ]
    if as_json:
        print_json([_describe(preset, config) for preset, config in rows])
    elif as_markdown:
        cells = [[f"`{row[0]}`", *row[1:]] for row in (_cells(preset, config) for preset, config in rows)]
        typer.echo(markdown_table(_CATALOGUE, cells))
    else:
        columns, cells = list(_CATALOGUE), [_cells(preset, config) for preset, config in rows]
        if project.entries:
            columns.insert(1, "from")
            for row, (preset, _) in zip(cells, rows, strict=True):
                row.insert(1, preset.source.label)
        print_table(columns, cells)
        if shadowed := store.shadowed():
            note(f"behind others of their name, and reached as: {', '.join(shadowed)}")
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
    launcher: LauncherOption = None,
    hardware: HardwareOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say everything that is wrong with presets, project and datasets at once, and how to mend it.

    Exit code 2 where anything is wrong. Nothing is written. Where no preset is named, those that come with
    qtune and do not suit this project's data or machine are listed as such, and are nothing wrong.
    """
    project, machine = here(), hardware_from(hardware)
    layers, stack = override_layers(model, dataset, assignments, launcher), stack_from(hardware)
    names = presets or project.store.names()
    findings = {name: _findings(name, project, machine, layers, stack) for name in names}
    unsuitable = {}
    if not presets:
        unsuitable = _unsuitable(project, findings, _findings(BASE, project, machine, layers, stack))
    distinct = list(
        dict.fromkeys(finding for name in names if name not in unsuitable for finding in findings[name])
    )
    if as_json:
        print_json(
            {
                name: [
                    {
                        "severity": "unsuitable" if name in unsuitable else finding.severity,
                        "key": finding.key,
                        "where": finding.origin.place if finding.origin else None,
                        "message": finding.message,
                        "fix": finding.fix,
                        "rule": finding.rule,
                        "source": finding.source,
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
        for name, reason in unsuitable.items():
            typer.echo(f"not for this project: {name} ({reason.key}: {reason.message})")
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
    launcher: LauncherOption = None,
    hardware: HardwareOption = None,
) -> None:
    """Write the rendered directory of a preset and make it the current one, which `qtune train` takes.

    It holds train.yaml, zero.json where ZeRO is on, dataset_info.json, and launch.sh to start it by hand.
    """
    project = here()
    prepared = pipeline.prepare(
        preset,
        project,
        hardware_from(hardware),
        override_layers(model, dataset, assignments, launcher),
        name=name,
        stack=stack_from(hardware),
    )
    stop_on_errors(prepared)
    directory = pipeline.write(prepared).relative_to(project.root)
    for file in prepared.files:
        typer.echo(f"{directory / file.name}")
    note(f"rendered for {prepared.hardware}; next: `qtune train`, or by hand: bash {directory}/launch.sh")


def _findings(
    name: str, project: Project, hardware: Hardware, layers: list[Layer], stack: Stack | None
) -> tuple[Finding, ...]:
    """What is wrong with one preset, so that one that cannot be read hides nothing of the others."""
    try:
        return pipeline.examine(name, project, hardware, layers, stack=stack).findings
    except QtuneError as error:
        origin = Origin("", error.where) if error.where else None
        return (Finding("error", "", error.what, error.fix or "mend it", origin),)


def _unsuitable(
    project: Project, findings: Mapping[str, tuple[Finding, ...]], of_base: tuple[Finding, ...]
) -> dict[str, Finding]:
    """The presets that come with qtune and do not suit this project, each with its first reason.

    findings: by preset; of_base: what is wrong under `base` alone. That, and what is wrong with the project's
    own presets, is no matter of suiting.
    """
    theirs = [name for name in findings if _comes_with_qtune(project, name)]
    faults = {*of_base, *(finding for name in findings if name not in theirs for finding in findings[name])}
    reasons = {
        name: [item for item in findings[name] if item.severity == "error" and item not in faults]
        for name in theirs
    }
    return {name: found[0] for name, found in reasons.items() if found}


def _comes_with_qtune(project: Project, name: str) -> bool:
    try:
        return project.store.load(name).source == built_in()
    except QtuneError:  # a broken one of the project's own, which its findings tell
        return False


def stop_on_errors(prepared: Prepared) -> None:
    """Report every finding; leave with exit code 2 where one is an error."""
    report(prepared.findings)
    if prepared.errors:
        raise typer.Exit(2)


def _fitting(presets: list[Preset], memory: str | None) -> list[Preset]:
    """Those within the memory of `--fits`; raises QtuneError where that is no size."""
    if memory is None:
        return presets
    size = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:GB)?", memory, re.IGNORECASE)
    if size is None:
        raise QtuneError(f"`{memory}` is no size of memory", where="--fits", fix="write e.g. --fits 24GB")
    silent = sum(not preset.fits for preset in presets)
    if silent:
        note(f"{silent} presets do not say how much memory they need, and are left out")
    return [preset for preset in presets if preset.fits_in(float(size[1]))]


def _describe(preset: Preset, config: Config) -> dict[str, Any]:
    return {
        "name": preset.name,
        "group": preset.group,
        "about": preset.about,
        "when": preset.when,
        "speed": preset.speed,
        "fits": preset.fits,
        "extends": list(preset.extends),
        "step_down": preset.step_down,
        "per_device_train_batch_size": config.get("train", "per_device_train_batch_size"),
        "cutoff_len": config.get("train", "cutoff_len"),
        "source": preset.source.name,
        "commit": preset.source.pin.commit if preset.source.pin else None,
        "file": preset.layer.file,
    }


def _cells(preset: Preset, config: Config) -> list[str]:
    batch, cutoff_len = (config.get("train", key) for key in ("per_device_train_batch_size", "cutoff_len"))
    return [
        preset.name,
        preset.group,
        preset.about,
        str(batch),
        str(cutoff_len),
        preset.fits,
        preset.speed,
        preset.when,
    ]
