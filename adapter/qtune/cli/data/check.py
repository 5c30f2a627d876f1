"""`data check`: what LLaMA-Factory would choke on, drop or misread in the rows of datasets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtune.checks.datasets import check_names, check_registration
from qtune.cli.app import JsonOption, here
from qtune.cli.complete import dataset_names
from qtune.cli.data.group import ForPresetOption, config_for, data_app, registered
from qtune.cli.output import complain, note, plain_finding, print_json, report
from qtune.config.project import Project
from qtune.data.registrations import read_registrations
from qtune.data.sources import Source, guessed_stage, is_local, source_for, uses_of
from qtune.errors import QtuneError
from qtune.machine.hardware import Hardware
from qtune.values import Finding, KeyPath, Value

if TYPE_CHECKING:
    from qtune.data.scanning.clean import Cleaned
    from qtune.data.scanning.scan import Extra, Group, Report

_MOST_GROUPS = 8  # two lines each: with the datasets' own lines about a screenful
_MOST_QUIET = 6
_MOST_ORIGINALS = 2
_BAR_FROM_BYTES = 20_000_000


@data_app.command("check")
def check_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]…",
            help="Registered datasets; when none is named all of them, with -p those of the preset.",
            autocompletion=dataset_names,
        ),
    ] = None,
    preset: ForPresetOption = None,
    every: Annotated[
        bool, typer.Option("--all", help="List every finding and every line, not the first few.")
    ] = False,
    fix: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT", help="Write the good rows of one dataset to OUT, the rejected ones beside it."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="With --fix: write files that are there already anew.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read every row, and say with file and line what LLaMA-Factory would choke on, drop or misread.

    Also found: rows that repeat others, evaluation rows that stand in the training data too, wrong
    registrations, and datasets that presets name but nobody registered. Files may be larger than memory.

    --fix leaves out rows with errors, rows that LLaMA-Factory would drop, and repetitions.

    Exit code 2 where LLaMA-Factory would stop; what it drops, or trains on all the same, is a warning.
    """
    from qtune.data.lengths import cutoff
    from qtune.data.scanning import passed
    from qtune.data.scanning.clean import clean, refuse_taken
    from qtune.data.scanning.duplicates import Duplicates
    from qtune.data.scanning.scan import scan

    project = here()
    if fix is not None and len(names or []) != 1:
        raise QtuneError("takes one dataset", where="--fix", fix="qtune data check NAME --fix OUT")
    plan = _plan(project, names or [], preset)
    if fix is not None and plan.elsewhere:
        raise QtuneError(
            f"the data of `{plan.elsewhere[0]}` is not a file here", fix="download and register it"
        )
    if fix is not None and plan.together:
        refuse_taken(plan.together[0][0], fix, force=force)
    if not as_json:
        report(plan.findings)
    stopped = any(finding.severity == "error" for finding in plan.findings)

    def cutoff_check(source: Source) -> Extra | None:
        return _cutoff_check(plan, source, project)

    reports: list[Report] = []
    cleaned: Cleaned | None = None
    for sources in plan.together:
        known = Duplicates()
        try:
            key = passed.key_of(sources)
            with reading(sources) as progress:
                found = scan(
                    sources,
                    project.root,
                    every=every,
                    duplicates=known,
                    extra=cutoff_check,
                    progress=progress,
                )
        except QtuneError as error:  # what cannot be read at all hides nothing of the others
            complain(str(error))
            stopped = True
            continue
        if not every:
            # a training is not told of these: the key knows nothing of cutoff_len
            passed.remember(key, [item.without(cutoff.KIND) for item in found])
        reports += found
        if fix is not None:
            with reading(sources) as progress:
                cleaned = clean(sources[0], project.root, known.marks(0), fix, progress)
    if as_json:
        print_json(_plain(plan, reports, cleaned))
    else:
        show_reports(reports, None if every else _MOST_GROUPS)
        for name in plan.elsewhere:
            typer.echo(f"{name}: not checked, its data is not a file here")
        if cleaned is not None:
            typer.echo(f"{_count(cleaned.kept, 'row')} written to {cleaned.out}")
            typer.echo(f"{_count(cleaned.left_out, 'row')} left out, with reasons in {cleaned.rejected}")
            note(f"next: `qtune data add {cleaned.out}`")
    # what is wrong with the whole dataset is wrong with the clean rows too
    errors = [group for item in reports for group in item.groups if group.severity == "error"]
    if stopped or any(cleaned is None or not group.count for group in errors):
        raise typer.Exit(2)


@contextmanager
def reading(sources: Sequence[Source]) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal while large files are read; to be called with the bytes of each part."""
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


def show_reports(reports: Sequence[Report], most_groups: int | None, *, err: bool = False) -> None:
    """Reports as text; most_groups: of all of them together, the worst; None for all."""
    quiet = [item.name for item in reports if not item.groups]
    if len(quiet) > _MOST_QUIET:
        typer.echo(f"nothing wrong: {', '.join(quiet)}", err=err)
        reports = [item for item in reports if item.groups]
    ranked = sorted((group for item in reports for group in item.groups), key=lambda group: group.severity)
    shown = {id(group) for group in ranked[:most_groups]}
    for item in reports:
        typer.echo(_heading(item), err=err)
        for group in item.groups:
            if id(group) in shown:
                _show_group(group, err)
    if len(ranked) > len(shown):
        more = len(ranked) - len(shown)
        typer.echo(
            f"and {_count(more, 'more kind')} of findings: `qtune data check --all` lists all", err=err
        )


def _heading(item: Report) -> str:
    use = ", evaluation" if item.evaluation else ""
    counts = f"{_count(item.errors, 'error')}, {_count(item.warnings, 'warning')}"
    text = f"{item.name}: {_count(item.rows, 'row')}, {counts} (stage {item.stage}{use})"
    if item.compared:
        return text
    from qtune.data.scanning.duplicates import MOST_ROWS

    return f"{text}; only the first {MOST_ROWS:,} rows were compared with one another"


def _show_group(group: Group, err: bool) -> None:
    colour = "red" if group.severity == "error" else "yellow"
    typer.secho(f"  {group.severity:<9}", fg=colour, bold=True, nl=False, err=err)
    repeats = ", ".join(_repeats(group))
    message = f"{group.flaw.message} ({repeats})" if repeats else group.flaw.message
    places = _places(group)
    typer.echo(f"{places}: {message}" if places else message, err=err)
    typer.echo(f"{'':11}fix: {group.flaw.fix}", err=err)


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


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


@dataclass
class _Plan:
    """What to check.

    together: datasets, by those that are searched for rows that they share; findings: what is wrong before
    any row is read; elsewhere: the names of datasets whose data is not here; configured: those that a config
    reads, and train: that config's LLaMA-Factory arguments.
    """

    train: Mapping[str, Any]
    configured: set[str] = field(default_factory=set)

    together: list[list[Source]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def add(self, sources: Sequence[Source]) -> None:
        """Datasets that belong together; one that is registered wrongly is not read, since each of its rows
        would seem wrong."""
        here = []
        for source in sources:
            found = _findings(source)
            self.findings += (finding for finding in found if finding not in self.findings)
            if found:
                continue
            if is_local(source.registration):
                here.append(source)
            else:
                self.elsewhere.append(source.registration.name)
        if here:
            self.together.append(here)


def _plan(project: Project, names: Sequence[str], preset: str | None) -> _Plan:
    registrations = read_registrations(project)
    config = config_for(project, preset, Hardware(), [])
    in_use = uses_of(config)

    def used(name: str, evaluation: bool) -> Source:
        plan.configured.add(name)
        # all rows, whatever max_samples is: this is about the data
        return replace(source_for(registrations[name], evaluation, config, project.root), most_rows=None)

    def other(name: str) -> Source:
        return Source(registrations[name], guessed_stage(registrations[name]))

    plan = _Plan(config.block("train"))
    if names:
        for name in names:
            registered(project, name)
        uses = dict(reversed(in_use))
        known = preset is not None
        plan.add(
            [
                used(name, uses.get(name, False)) if known or name in uses else other(name)
                for name in dict.fromkeys(names)
            ]
        )
        return plan
    plan.add([used(name, evaluation) for name, evaluation in in_use if name in registrations])
    if preset is not None:
        plan.findings += check_names(config.values, registrations)
        return plan
    named = dict(in_use)
    for name in registrations:
        if name not in named:
            plan.add([other(name)])
    for values in _layers(project):
        plan.findings += check_names(values, registrations)
    return plan


def _cutoff_check(plan: _Plan, source: Source, project: Project) -> Extra | None:
    """Whether answers are cut off, where a config says by which length."""
    from qtune.data.lengths.cutoff import cut_answers

    if source.registration.name not in plan.configured:
        return None
    try:
        return cut_answers({**plan.train, "stage": source.stage}, source.registration, project.root)
    except QtuneError as error:
        note(f"{source.registration.name}: whether cutoff_len cuts answers was not looked at: {error.what}")
        return None


def _findings(source: Source) -> list[Finding]:
    """Those of the registration, but for what it says of the first row: reading all rows tells it better."""
    registration = source.registration
    found = check_registration(registration, source.stage)
    of_file = f"{registration.name}.file_name"
    return [finding for finding in found if not (finding.key == of_file and is_local(registration))]


def _layers(project: Project) -> Iterator[Mapping[KeyPath, Value]]:
    """The values of the project and of each preset that can be read; `qtune check` tells of the others."""
    if project.layer is not None:
        yield project.layer.values
    for name in project.store.names():
        with suppress(QtuneError):
            yield project.store.load(name).layer.values


def _plain(plan: _Plan, reports: Sequence[Report], cleaned: Cleaned | None) -> dict[str, Any]:
    return {
        "datasets": [item.to_plain() for item in reports],
        "findings": [plain_finding(finding) for finding in plan.findings],
        "not_here": plan.elsewhere,
        "fixed": cleaned.to_plain() if cleaned is not None else None,
    }
