"""`data list`: what is registered."""

from __future__ import annotations

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import note, print_json, report
from qtune.cli.table import print_table

_SOURCES = ("file_name", "hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")


@command("data list", "qtune data list", "qtune data list --json")
def list_command(wide: options.Wide = False, as_json: options.Json = False) -> None:
    """List the datasets of data/datasets.yaml: format, source, rows, and whether something is wrong."""
    from qtune.checks.datasets import check_registration
    from qtune.data.reading.row_counts import count_rows
    from qtune.data.registrations import read_registrations

    registrations = read_registrations(here())
    findings = {name: check_registration(registration) for name, registration in registrations.items()}
    rows = [
        {
            "name": name,
            "formatting": item.formatting,
            "source": next((str(item.entry[key]) for key in _SOURCES if item.entry.get(key)), ""),
            "rows": count_rows(item.files),
            "findings": [finding.message for finding in findings[name]],
        }
        for name, item in registrations.items()
    ]
    if as_json:
        print_json(rows)
        return
    if not rows:
        note("no dataset is registered: `qtune data add FILE` adds one")
        return
    lines = [
        [*("" if cell is None else str(cell) for cell in cells), "see below" if wrong else "ok"]
        for *cells, wrong in (row.values() for row in rows)
    ]
    columns = ("dataset", "formatting", "source", "rows", "state")
    print_table(columns, lines, leaving=("formatting", "source", "rows"), wide=wide)
    for found in findings.values():
        report(found)
