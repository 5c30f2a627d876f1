"""`check`: everything that is wrong, at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

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
from qtune.cli.output import print_json, report
from qtune.config.presets import BASE
from qtune.config.project import Project
from qtune.config.sources import built_in
from qtune.errors import QtuneError
from qtune.machine.hardware import Hardware
from qtune.machine.stack import Stack
from qtune.prepare import pipeline
from qtune.values import Finding, Layer, Origin


@command("check", "qtune check", "qtune check stage3 --hardware 8x80GB")
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
