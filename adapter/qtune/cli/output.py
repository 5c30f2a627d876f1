"""Prints: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import typer

from qtune.cli.terminal import echo, folded, say
from qtune.errors import QtuneError
from qtune.values import Finding

_LATER = len("error: ")
"""Blanks before what goes on with a line: below the text of `error: ` and of `  fix: `."""


def complain(message: str) -> None:
    """Print an error to stderr."""
    _labelled("error", "red", message)


def _labelled(label: str, colour: str, message: str) -> None:
    text = folded(f"{label}: {message}", err=True, later=_LATER)
    echo(f"{label}:", fg=colour, bold=True, err=True, nl=False)
    typer.echo(text.removeprefix(f"{label}:"), err=True)


def note(message: str) -> None:
    """Print what is no result to stderr; lost where the terminal is closed."""
    with suppress(OSError):
        say(message, err=True)


def left_out(*errors: QtuneError) -> None:
    """Say on stderr what is not looked at, or what a list is without: a line for each reason."""
    for line in dict.fromkeys(str(error).splitlines()[0] for error in errors):
        note(f"left out: {line}")


def pass_on(output: bytes) -> None:
    """Print a child's output to stderr, where its log and progress belong: stdout carries results."""
    with suppress(OSError):
        sys.stderr.buffer.write(output)
        sys.stderr.buffer.flush()


def report(findings: Iterable[Finding]) -> None:
    """Print findings to stderr."""
    for finding in findings:
        colour = "red" if finding.severity == "error" else "yellow"
        _labelled(finding.severity, colour, str(finding))


def plain_finding(finding: Finding) -> dict[str, str | None]:
    """A finding as JSON for programs."""
    return {
        "severity": finding.severity,
        "key": finding.key,
        "where": finding.origin.place if finding.origin else None,
        "message": finding.message,
        "fix": finding.fix,
    }


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
