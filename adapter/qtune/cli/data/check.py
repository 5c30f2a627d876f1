"""`data check`: what LLaMA-Factory would choke on, drop or misread in the rows of datasets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.complete import dataset_names
from qtune.cli.data.report_view import reading, show_reports
from qtune.cli.output import complain, note, plain_finding, print_json, report
from qtune.errors import QtuneError

if TYPE_CHECKING:
    from qtune.data.scanning.clean import Cleaned
    from qtune.data.scanning.scan import Report
    from qtune.prepare.inspection import Inspection

_MOST_GROUPS = 8  # two lines each: with the datasets' own lines about a screenful


@command("data check", "qtune data check", "qtune data check answers --fix good.jsonl")
def check_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]…",
            help="Registered datasets; when none is named all of them, with -p those of the preset.",
            autocompletion=dataset_names,
        ),
    ] = None,
    preset: options.ForPreset = None,
    every: Annotated[
        bool, typer.Option("--all", help="List every finding and every line, not the first few.")
    ] = False,
    fix: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Write the good rows of one dataset to OUT and register it, the rejected ones beside it.",
        ),
    ] = None,
    no_empty: Annotated[
        bool, typer.Option("--no-empty", help="With --fix: leave out empty questions and answers too.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="With --fix: write files and registrations that are there already anew."
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Read every row, and say with file and line what LLaMA-Factory would choke on, drop or misread.

    Also found: rows that repeat others, evaluation rows that stand in the training data too, wrong
    registrations, and datasets that presets name but nobody registered. Files may be larger than memory.

    --fix leaves out rows with errors, rows that LLaMA-Factory would drop, and repetitions, and puts thoughts
    that nothing would read (`reasoning_content`) before their answers. What it writes is registered by the
    name of OUT, with the columns, tags and all else that the dataset has.

    Exit code 2 where LLaMA-Factory would stop; what it drops, or trains on all the same, is a warning.
    """
    from qtune.cli.data.good_rows import GoodRows
    from qtune.data.scanning.duplicates import Duplicates
    from qtune.data.states import states_of
    from qtune.prepare.inspection import inspection_of

    project = here()
    if fix is not None and len(names or []) != 1:
        raise QtuneError("takes one dataset", where="--fix", fix="qtune data check NAME --fix OUT")
    if no_empty and fix is None:
        raise QtuneError("goes with --fix", where="--no-empty", fix="add --fix OUT")
    inspection = inspection_of(project, names or [], preset)
    good = None if fix is None else GoodRows(project, fix, no_empty, force)
    if good is not None and inspection.elsewhere:
        what = f"the data of `{inspection.elsewhere[0]}` is not a file here"
        raise QtuneError(what, fix="download and register it")
    if good is not None and inspection.together:
        good.refuse_taken(inspection.together[0][0])
    if not as_json:
        report(inspection.findings)
    stopped = any(finding.severity == "error" for finding in inspection.findings)
    reports: list[Report] = []
    cleaned: Cleaned | None = None
    for sources in inspection.together:
        known, since = Duplicates(), states_of(sources[0].path)
        try:
            with reading(sources) as progress:
                reports += inspection.scan(sources, known, every=every, progress=progress, unsaid=note)
        except QtuneError as error:  # what cannot be read at all hides nothing of the others
            complain(str(error))
            stopped = True
            continue
        if good is not None:
            cleaned = good.write(sources[0], known.marks(0), since)
    if as_json:
        print_json(_plain(inspection, reports, good.plain(cleaned) if good and cleaned else None))
    else:
        show_reports(reports, None if every else _MOST_GROUPS)
        for name in inspection.elsewhere:
            typer.echo(f"{name}: not checked, its data is not a file here")
        if good and cleaned:
            good.tell(cleaned, reports[0].stage, preset)
    # what is wrong with the whole dataset is wrong with the clean rows too
    errors = [group for item in reports for group in item.groups if group.severity == "error"]
    if stopped or any(cleaned is None or not group.count for group in errors):
        raise typer.Exit(2)


def _plain(inspection: Inspection, reports: Sequence[Report], fixed: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "datasets": [item.to_plain() for item in reports],
        "findings": [plain_finding(finding) for finding in inspection.findings],
        "not_here": inspection.elsewhere,
        "fixed": fixed,
    }
