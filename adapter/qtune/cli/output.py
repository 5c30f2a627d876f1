"""How things look on a terminal: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import typer

from qtune.values import Finding


def complain(message: str) -> None:
    """An error, to stderr."""
    typer.secho("error: ", fg="red", bold=True, err=True, nl=False)
    typer.echo(message, err=True)


def note(message: str) -> None:
    """Something that is no result, to stderr; lost where the terminal is closed."""
    with suppress(OSError):
        typer.echo(message, err=True)


def pass_on(output: bytes) -> None:
    """A child's output, to stderr, where its log and progress belong: stdout carries results."""
    with suppress(OSError):
        sys.stderr.buffer.write(output)
        sys.stderr.buffer.flush()


def report(findings: Iterable[Finding]) -> None:
    """Findings, to stderr."""
    for finding in findings:
        colour = "red" if finding.severity == "error" else "yellow"
        typer.secho(f"{finding.severity}: ", fg=colour, bold=True, err=True, nl=False)
        typer.echo(str(finding), err=True)


def plain_finding(finding: Finding) -> dict[str, str | None]:
    """For programs."""
    return {
        "severity": finding.severity,
        "key": finding.key,
        "where": finding.origin.place if finding.origin else None,
        "message": finding.message,
        "fix": finding.fix,
    }


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as wide as the terminal, as wide as it needs elsewhere."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 200, markup=False, highlight=False).print(table)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
