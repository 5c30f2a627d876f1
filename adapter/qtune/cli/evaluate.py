"""`eval`: how good what was trained is, beside the model that it started from."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from qtune.cli.app import DatasetOption, JsonOption, SetOption, app, here
from qtune.cli.data_check import reading, show_reports
from qtune.cli.output import complain, note, print_json, print_table, report
from qtune.errors import ChildFailed
from qtune.launch import process
from qtune.launch.plan import CLI
from qtune.machine.hardware import detect_hardware
from qtune.machine.stack import installed_stack

if TYPE_CHECKING:
    from qtune.evaluation.plan import Evaluation, Pass

_MOST_GROUPS = 4
_MEASURES = {"loss": "the loss", "answers": "the answers"}


@app.command("eval")
def eval_command(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run's name; the newest finished one without it.")
    ] = None,
    dataset: DatasetOption = None,
    checkpoint: Annotated[
        int | None, typer.Option("--checkpoint", metavar="N", help="What the run was at step N.")
    ] = None,
    base: Annotated[
        bool | None,
        typer.Option("--base/--no-base", help="The untouched model alone, or without it.  [default: both]"),
    ] = None,
    loss_only: Annotated[
        bool, typer.Option("--loss-only", help="Loss and perplexity; generate no answers.")
    ] = False,
    max_samples: Annotated[
        int | None,
        typer.Option("--max-samples", metavar="N", min=1, help="The first N rows of a dataset."),
    ] = None,
    assignments: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what was trained beside its base: loss, perplexity, and answers against their references.

    The rows are the run's own evaluation data, or those of --dataset. The loss is the mean of the rows'
    losses. Answers are greedy, of up to 512 tokens, where -s does not say otherwise; BLEU and ROUGE are
    LLaMA-Factory's own. Everything goes to runs/RUN/eval/DATASET: metrics.json, rows.jsonl, page.html.

    Exit code 1 where LLaMA-Factory failed, 2 where it could only fail, 130 where Ctrl-C ended it.
    """
    from qtune.evaluation.measure import measure
    from qtune.evaluation.plan import plan
    from qtune.evaluation.table import table

    project = here()
    process.find_program(CLI)
    evaluation = plan(
        project,
        run,
        dataset=dataset,
        checkpoint=checkpoint,
        base=base,
        loss_only=loss_only,
        max_samples=max_samples,
        assignments=assignments or [],
        hardware=detect_hardware(),
        stack=installed_stack(),
    )
    _look(evaluation)
    try:
        result, files = measure(evaluation, lambda item: _announce(evaluation, item), _show)
    except ChildFailed as error:
        complain(str(error))
        raise typer.Exit(1) from None
    if as_json:
        print_json({**result.plain(), "files": [os.path.relpath(path) for path in files]})
        return
    print_table(*table(result))
    note("\n".join(os.path.relpath(path) for path in files))


def _look(evaluation: Evaluation) -> None:
    """At the arguments, then at the data's rows; leave with exit code 2 where it can only fail."""
    from qtune.data.scanning import passed

    report(evaluation.findings)
    if any(finding.severity == "error" for finding in evaluation.findings):
        raise typer.Exit(2)
    with reading(evaluation.sources) as progress:
        reports = passed.check(evaluation.sources, evaluation.project.root, progress)
    show_reports([item for item in reports if item.groups], _MOST_GROUPS, err=True)
    if any(item.errors for item in reports):
        raise typer.Exit(2)


def _announce(evaluation: Evaluation, item: Pass) -> None:
    note(f"{_MEASURES[item.kind]} of {evaluation.titles[item.whose]} on {evaluation.data.name}")


def _show(output: bytes) -> None:
    # stderr, where the library's own log and progress belong: stdout carries the result
    sys.stderr.buffer.write(output)
    sys.stderr.buffer.flush()
