"""`runs`: what was trained here, and what became of it."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import note, print_json
from qtune.cli.table import print_table
from qtune.errors import QtuneError

_COLUMNS = ("run", "status", "steps", "loss", "preset", "began")


@command("runs", "qtune runs", "qtune runs --json")
def runs_command(wide: options.Wide = False, as_json: options.Json = False) -> None:
    """List the runs, the one that began last below: how far each came, and what became of it.

    A run whose qtune was killed is `killed`: its record still says that it is running.
    """
    from qtune.runs.find import directories

    rows = sorted((_row(directory) for directory in directories(here())), key=lambda row: row["began"])
    if as_json:
        print_json(rows)
    elif rows:
        lines = [[_shown(name, row[name]) for name in _COLUMNS] for row in rows]
        print_table(_COLUMNS, lines, leaving=("preset", "began", "loss"), wide=wide)
    else:
        note("no run yet; `qtune train` makes one")
        raise typer.Exit


def _row(directory: Path) -> dict[str, Any]:
    """One run: `steps` as [made, of how many], `loss` the last that was logged, `began` in UTC."""
    from qtune.runs.find import begun, under_way
    from qtune.runs.progress import last_loss, reached
    from qtune.runs.record import load

    try:
        record = load(directory)
    except QtuneError as error:
        note(f"note: {error.where}: {error.what}")
        record = {"status": "unreadable"}
    status = record["status"]
    if status == "running" and under_way(directory, record) is None:
        status = "killed"
    return {
        "run": directory.name,
        "status": status,
        "steps": reached(directory, ended=record.get("exit_code") == 0),
        "loss": last_loss(directory),
        "preset": record.get("preset"),
        "began": begun(record),
    }


def _shown(name: str, value: Any) -> str:
    match name, value:
        case _, None:
            return ""
        case "steps", (step, steps):
            return f"{step} of {steps}"
        case "loss", float():
            return f"{value:.4f}"
        case "began", str() if value:
            with suppress(ValueError, OverflowError):
                return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M")
    return str(value)
