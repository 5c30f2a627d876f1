"""`eval`: how good what was trained is, beside the model that it started from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.data.report_view import check_rows
from qtune.cli.output import left_out, note, pass_on, print_json, report
from qtune.cli.table import print_table
from qtune.config.project import Project
from qtune.errors import QtuneError

if TYPE_CHECKING:
    from qtune.machine.hardware import Hardware
    from qtune.use.evaluation.harness import Figure
    from qtune.use.evaluation.plan import Evaluation, Pass

_MEASURES = {"loss": "the loss", "answers": "the answers"}


@command("eval", "qtune eval lora", "qtune eval lora -d questions")
def eval_command(
    run: options.TrainedRun = None,
    dataset: options.Dataset = None,
    checkpoint: options.Checkpoint = None,
    base: Annotated[
        bool | None,
        typer.Option("--base/--no-base", help="The untouched model alone, or without it; else both."),
    ] = None,
    loss_only: Annotated[
        bool, typer.Option("--loss-only", help="Loss and perplexity; generate no answers.")
    ] = False,
    max_samples: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The first N rows of a dataset.")
    ] = None,
    assignments: options.Settings = None,
    harness: Annotated[
        str | None,
        typer.Option(metavar="TASKS", help="Instead: tasks of lm-evaluation-harness, with commas between."),
    ] = None,
    include_path: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --harness: a directory of more tasks.")
    ] = None,
    wide: options.Wide = False,
    hardware: options.Hardware = None,
    as_json: options.Json = False,
) -> None:
    """Measure what was trained beside its base: loss, perplexity, and answers against their references.

    The rows are the run's own evaluation data, or those of --dataset. The loss is the mean of the rows'
    losses. Answers are greedy, of up to 512 tokens, where -s does not say otherwise; BLEU and ROUGE are
    LLaMA-Factory's own. Everything goes to runs/RUN/eval/DATASET: metrics.json, rows.jsonl, page.html.

    Exit code 1 where LLaMA-Factory failed, 2 where it could only fail, 130 where Ctrl-C ended it.
    """
    from qtune.launch.plan import CLI
    from qtune.machine.stack import installed_stack
    from qtune.processes import process
    from qtune.use.evaluation.measure import measure
    from qtune.use.evaluation.plan import plan
    from qtune.use.evaluation.table import table

    project, machine = here(), options.hardware_from(hardware)
    if harness is not None:
        without = {"-d": dataset, "-s": assignments, "--loss-only": loss_only}
        _benchmarks(
            project, machine, run, checkpoint, base, harness, include_path, max_samples, without, as_json
        )
        return
    if include_path is not None:
        raise QtuneError("is for tasks of the harness", where="--include-path", fix="add --harness TASKS")
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
        hardware=machine,
        stack=installed_stack(),
        left_out=left_out,
    )
    _look(evaluation)
    result, files = measure(evaluation, lambda item: _announce(evaluation, item), pass_on)
    if as_json:
        print_json({**result.plain(), "files": [os.path.relpath(path) for path in files]})
        return
    print_table(*table(result), leaving=("tokens", "rows", "ROUGE-2", "ROUGE-1", "ROUGE-L"), wide=wide)
    note("\n".join(os.path.relpath(path) for path in files))


def _benchmarks(
    project: Project,
    machine: Hardware,
    run: str | None,
    checkpoint: int | None,
    base: bool | None,
    tasks: str,
    include_path: Path | None,
    limit: int | None,
    without: Mapping[str, object],
    as_json: bool,
) -> None:
    from qtune.data.registrations import names_in
    from qtune.use.evaluation.harness import Benchmarks, figures, require_harness, run_benchmarks
    from qtune.use.evaluation.plan import subjects_of

    for option, value in without.items():
        if value:
            raise QtuneError("does not go with --harness", where=option, fix="leave one of them out")
    require_harness()
    names = names_in(tasks)
    if not names:
        raise QtuneError("names no task", where="--harness", fix="write e.g. --harness hellaswag,arc_easy")
    if include_path is not None and not include_path.is_dir():
        raise QtuneError(f"there is no directory {include_path}", where="--include-path")
    subjects = subjects_of(project, run, checkpoint, base, left_out)
    benchmarks = Benchmarks(names, include_path.resolve() if include_path else None, limit)
    plain, files = run_benchmarks(
        project,
        subjects,
        benchmarks,
        machine,
        lambda subject: note(f"{tasks}: {subject.title}"),
        pass_on,
    )
    if as_json:
        print_json({**plain, "files": [os.path.relpath(path) for path in files]})
        return
    whose, found = list(subjects), figures(plain)
    lines = [[figure.metric, *(_figure(figure, name) for name in whose)] for figure in found]
    print_table(["metric", *whose], lines, headings=[figure.task for figure in found])
    note("\n".join(os.path.relpath(path) for path in files))


def _figure(figure: Figure, whose: str) -> str:
    if whose not in figure.values:
        return "–"
    error = f" ± {figure.errors[whose]:.4f}" if whose in figure.errors else ""
    return f"{figure.values[whose]:.4f}{error}"


def _look(evaluation: Evaluation) -> None:
    """Check the arguments, then the data's rows; leave with exit code 2 where it can only fail."""
    report(evaluation.findings)
    if any(finding.severity == "error" for finding in evaluation.findings):
        raise typer.Exit(2)
    if any(item.errors for item in check_rows(evaluation.sources, evaluation.project.root)):
        raise typer.Exit(2)


def _announce(evaluation: Evaluation, item: Pass) -> None:
    note(f"{_MEASURES[item.kind]} of {evaluation.titles[item.whose]} on {evaluation.data.name}")
