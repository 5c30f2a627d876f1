"""Shows what is wrong with datasets' rows, and a progress bar while they are read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qtune.cli.output import note
from qtune.cli.terminal import echo, folded, say
from qtune.units import counted

if TYPE_CHECKING:
    from qtune.data.scanning.scan import Group, Report
    from qtune.data.sources import DataSource
    from qtune.values import Config

_MOST_BEFORE_START = 4
_MOST_QUIET = 6
_MOST_ORIGINALS = 2
_BAR_FROM_BYTES = 20_000_000
_TEXT_AT = 11  # the column behind `  warning  `


@contextmanager
def reading(sources: Sequence[DataSource]) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal while large files are read.

    Yields the function to call with the bytes of each part that was read.
    """
    from qtune.data.file_types import data_files

    total = sum(file.stat().st_size for source in sources for file in data_files(source.path))
    if total < _BAR_FROM_BYTES or not sys.stderr.isatty():
        yield lambda size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("checking the data"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda size: bar.advance(task, size)


def check_rows(sources: Sequence[DataSource], root: Path, config: Config | None = None) -> list[Report]:
    """Read the rows that no earlier check passed, and show on stderr what is wrong with them.

    root: the project's; config: whose cutoff_len counts, None where no row is cut. Raises QtuneError where a
    file's library is not installed.
    """
    from qtune.data.scanning import check_cache
    from qtune.prepare.cutoff_check import CutoffCheck

    cutoff = None if config is None else CutoffCheck(config, root, note)
    with reading(sources) as progress:
        if cutoff is None:
            reports = check_cache.check(sources, root, progress)
        else:
            reports = check_cache.check(sources, root, progress, extra=cutoff.of, basis=cutoff.basis)
    show_reports([item for item in reports if item.groups], _MOST_BEFORE_START, err=True)
    return reports


def show_reports(reports: Sequence[Report], most_groups: int | None, *, err: bool = False) -> None:
    """Print reports. most_groups: how many groups of findings in all, the worst first; None for all."""
    quiet = [item.name for item in reports if not item.groups]
    if len(quiet) > _MOST_QUIET:
        say(f"nothing wrong: {', '.join(quiet)}", err=err)
        reports = [item for item in reports if item.groups]
    ranked = sorted((group for item in reports for group in item.groups), key=lambda group: group.severity)
    shown = {id(group) for group in ranked[:most_groups]}
    for item in reports:
        say(_heading(item), err=err)
        for group in item.groups:
            if id(group) in shown:
                _show_group(group, err)
    if len(ranked) > len(shown):
        more = len(ranked) - len(shown)
        say(f"and {counted(more, 'more kind')} of findings: `qtune data check --all` lists all", err=err)


def _heading(item: Report) -> str:
    use = ", evaluation" if item.evaluation else ""
    counts = f"{counted(item.errors, 'error')}, {counted(item.warnings, 'warning')}"
    text = f"{item.name}: {counted(item.rows, 'row')}, {counts} (stage {item.stage}{use})"
    if item.compared:
        return text
    from qtune.data.scanning.duplicates import MOST_ROWS

    return f"{text}; only the first {MOST_ROWS:,} rows were compared with one another"


def _show_group(group: Group, err: bool) -> None:
    colour = "red" if group.severity == "error" else "yellow"
    repeats = ", ".join(_repeats(group))
    message = f"{group.flaw.message} ({repeats})" if repeats else group.flaw.message
    places = _places(group)
    echo(f"  {group.severity:<9}", fg=colour, bold=True, nl=False, err=err)
    text = f"{places}: {message}" if places else message
    typer.echo(folded(text, err=err, indent=_TEXT_AT, later=_TEXT_AT)[_TEXT_AT:], err=err)
    say(f"fix: {group.flaw.fix}", err=err, indent=_TEXT_AT, later=_TEXT_AT + len("fix: "))


def _places(group: Group) -> str:
    """`a.jsonl:17, 19; b.jsonl:3 and 40 more`, a file alone where no line of it is meant."""
    parts = [
        f"{file}:{', '.join(map(str, lines))}" if any(lines) else file for file, lines in group.places.items()
    ]
    more = group.count - sum(map(len, group.places.values()))
    return "; ".join(parts) + (f" and {more:,} more" if more else "")


def _repeats(group: Group) -> Iterator[str]:
    """`17 repeats 3` for the first few, with the earlier row's file where that is another one."""
    places = [(file, line) for file, lines in group.places.items() for line in lines]
    for (file, line), first in zip(places, group.originals[:_MOST_ORIGINALS], strict=False):
        yield f"{line} repeats {first.line if first.file == file else f'{first.file}:{first.line}'}"
