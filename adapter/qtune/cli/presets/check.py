"""`check`: everything that is wrong, at once."""

from __future__ import annotations

from typing import Annotated

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import left_out, note, plain_finding, print_json, report
from qtune.cli.terminal import say


@command("check", "qtune check", "qtune check stage3 --hardware 8x80GB")
def check_command(
    presets: Annotated[
        list[str] | None, options.preset_argument("Presets; all of them when none is named.", "[PRESET]…")
    ] = None,
    model: options.Model = None,
    dataset: options.Dataset = None,
    assignments: options.Assignments = None,
    launcher: options.Launcher = None,
    hardware: options.Hardware = None,
    as_json: options.Json = False,
) -> None:
    """Say everything that is wrong with presets, project and datasets at once, and how to mend it.

    Exit code 2 where anything is wrong. Nothing is written. Where no preset is named, those that come with
    qtune and do not suit this project's data or machine are listed as such, and are nothing wrong.
    """
    from qtune.advice.suitability import examine_presets

    project, machine = here(), options.hardware_from(hardware)
    layers, stack = (
        options.override_layers(model, dataset, assignments, launcher),
        options.stack_from(hardware),
    )
    found = examine_presets(project, machine, layers, stack, presets or ())
    if not presets:
        left_out(*project.store.odd_files())
    if as_json:
        print_json(
            {
                name: [
                    {
                        **plain_finding(finding),
                        "severity": "unsuitable" if name in found.unsuitable else finding.severity,
                        "rule": finding.rule,
                        "source": finding.source,
                    }
                    for finding in findings
                ]
                for name, findings in found.findings.items()
            }
        )
    else:
        report(found.distinct)
        for withdrawn in found.notes:
            note(f"note: {withdrawn}")
        good = [name for name, findings in found.findings.items() if not findings]
        if good:
            say(f"ok: {', '.join(good)}")
        for name, reason in found.unsuitable.items():
            say(f"not for this project: {name} ({reason.key}: {reason.message})")
    if any(finding.severity == "error" for finding in found.distinct):
        raise typer.Exit(2)
