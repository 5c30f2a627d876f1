"""`data list`: what is registered."""

from __future__ import annotations

from qtune.checks.datasets import check_registration
from qtune.cli.app import JsonOption, here
from qtune.cli.commands import command
from qtune.cli.output import note, print_json, print_table, report
from qtune.data.peek import count_rows
from qtune.data.registrations import Registration, read_registrations

_SOURCES = ("file_name", "hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")


@command("data list", "qtune data list", "qtune data list --json")
def list_command(as_json: JsonOption = False) -> None:
    """List the datasets of data/datasets.yaml: format, source, rows, and whether something is wrong."""
    project = here()
    registrations = read_registrations(project)
    findings = {name: check_registration(registration) for name, registration in registrations.items()}
    if as_json:
        print_json(
            [
                {
                    "name": name,
                    "formatting": registration.formatting,
                    "source": _source(registration),
                    "rows": _rows(registration),
                    "findings": [finding.message for finding in findings[name]],
                }
                for name, registration in registrations.items()
            ]
        )
        return
    if not registrations:
        note("no dataset is registered: `qtune data add FILE` adds one")
        return
    print_table(
        ("dataset", "formatting", "source", "rows", "state"),
        [
            [
                name,
                registration.formatting,
                _source(registration),
                "" if (rows := _rows(registration)) is None else str(rows),
                "ok" if not findings[name] else "see below",
            ]
            for name, registration in registrations.items()
        ],
    )
    for found in findings.values():
        report(found)


def _source(registration: Registration) -> str:
    return next((str(registration.entry[key]) for key in _SOURCES if registration.entry.get(key)), "")


def _rows(registration: Registration) -> int | None:
    return count_rows(registration.json_path) if registration.json_path else None
