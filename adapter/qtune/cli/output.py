"""Prints: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import Any
from unicodedata import combining, east_asian_width

import typer

from qtune.errors import QtuneError
from qtune.values import Finding

_GAP = "  "
_NARROWEST = 8


def complain(message: str) -> None:
    """Print an error to stderr."""
    typer.secho("error: ", fg="red", bold=True, err=True, nl=False)
    typer.echo(message, err=True)


def note(message: str) -> None:
    """Print what is no result to stderr; lost where the terminal is closed."""
    with suppress(OSError):
        typer.echo(message, err=True)


def left_out(error: QtuneError) -> None:
    """Say on one line that something is not looked at, as it cannot be read."""
    note(f"note: {error.where}: {error.what}; left out")


def pass_on(output: bytes) -> None:
    """Print a child's output to stderr, where its log and progress belong: stdout carries results."""
    with suppress(OSError):
        sys.stderr.buffer.write(output)
        sys.stderr.buffer.flush()


def report(findings: Iterable[Finding]) -> None:
    """Print findings to stderr."""
    for finding in findings:
        colour = "red" if finding.severity == "error" else "yellow"
        typer.secho(f"{finding.severity}: ", fg=colour, bold=True, err=True, nl=False)
        typer.echo(str(finding), err=True)


def leave_out(errors: Iterable[QtuneError]) -> None:
    """Print to stderr what a list is without, a line for each reason."""
    for line in dict.fromkeys(str(error).splitlines()[0] for error in errors):
        note(f"left out: {line}")


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


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: on a terminal wrapped to its width, elsewhere a row a line, as programs read it.

    rich draws nicer ones, and takes longer to load than most commands to run.
    """
    cells = list(zip(columns, *rows, strict=True))
    widths = [max(map(width_of, column)) for column in cells]
    if sys.stdout.isatty():
        import shutil

        room = shutil.get_terminal_size().columns
        words = [max(width_of(word) for cell in column for word in cell.split() or [""]) for column in cells]
        widths = _narrowed(widths, words, room)
        # then words are broken, but for those of the first column, which are names
        widths = _narrowed(widths, [words[0], *(min(word, _NARROWEST) for word in words[1:])], room)
    for line in _lines(columns, widths):
        typer.secho(line, bold=True)
    typer.echo(_GAP.join("─" * width for width in widths))
    if rows:  # at once: each echo flushes
        typer.echo("\n".join(line for row in rows for line in _lines(row, widths)))


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table as Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def width_of(text: str) -> int:
    """How many columns of a terminal a text takes: Chinese signs take two."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(sign) else 2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def _narrowed(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """The widths with the widest taken down, one by one, until the row fits or each is at its least."""
    found = list(widths)
    while sum(found) + len(_GAP) * (len(found) - 1) > room:
        width, index = max((width * (width > least[index]), index) for index, width in enumerate(found))
        if width == 0:
            break
        found[index] -= 1
    return found


def _lines(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """A row's lines."""
    wrapped = [list(_wrapped(cell, width)) for cell, width in zip(cells, widths, strict=True)]
    for parts in zip_longest(*wrapped, fillvalue=""):
        padded = (part + " " * (width - width_of(part)) for part, width in zip(parts, widths, strict=True))
        yield _GAP.join(padded).rstrip()


def _wrapped(cell: str, width: int) -> Iterator[str]:
    for line in cell.splitlines() or [""]:
        if line.isascii() and line.isprintable() and len(line) <= width:
            yield line
            continue
        # signs of two columns: as many of them as are sure to fit
        wide = width if line.isascii() else max(1, width * len(line) // max(1, width_of(line)))
        yield from textwrap.wrap(line, wide) or [""]
