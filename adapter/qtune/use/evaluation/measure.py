"""Run an evaluation's children one after the other, and collect what they wrote."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from qtune import failures
from qtune.data.registrations import complete_entry, names_in
from qtune.launch.plan import plan_launch
from qtune.processes import child
from qtune.render.files import arguments_of, render_arguments
from qtune.render.templates import Templates
from qtune.secrets.logs import clean
from qtune.secrets.names import known
from qtune.use.evaluation.plan import Evaluation, Pass
from qtune.use.evaluation.results import EVALUATIONS, LOG, joined, metrics_in, perplexity, write
from qtune.use.evaluation.scores import Result, Scores
from qtune.use.evaluation.tokens import count
from qtune.values import DATASETS, LaunchPlan, Origin, Value

TEMPLATE = "eval.yaml.j2"


def measure(
    evaluation: Evaluation, begin: Callable[[Pass], None], show: Callable[[bytes], None]
) -> tuple[Result, list[Path]]:
    """What was measured, and the files that hold it: those of an earlier evaluation stay where this fails.

    begin: called before each child; show: with its output. Raises ChildFailed where one fails, and
    KeyboardInterrupt where one was interrupted.
    """
    directory = evaluation.trained.directory / EVALUATIONS / evaluation.directory
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / LOG
    log.write_bytes(b"")
    # the launcher splits its command at spaces, which the run's own path may hold
    with TemporaryDirectory(prefix="qtune-") as name:
        work = Path(name)
        _write_registrations(evaluation, work)
        for item in evaluation.passes:
            begin(item)
            run_child(_child(evaluation, item, work), evaluation.project.root, log, show)
        result = _result(evaluation, work)
    return result, write(result, directory)


def run_child(plan: LaunchPlan, root: Path, log: Path, show: Callable[[bytes], None]) -> None:
    """Run one child of an evaluation to its end.

    Raises ChildFailed with its reason where it fails, KeyboardInterrupt where it was interrupted.
    """

    def told(code: int) -> str:
        return f"the evaluation failed: {failures.reason_of(log, code)}\n  log: {log}"

    try:
        child.run(plan, root, log, show, told)
    finally:
        clean(log, known(os.environ))


def _write_registrations(evaluation: Evaluation, work: Path) -> None:
    train = evaluation.passes[0].config.block("train")
    names = [name for key in ("dataset", "eval_dataset") for name in names_in(train.get(key))]
    entries = {name: complete_entry(evaluation.registrations[name], work) for name in names}
    (work / DATASETS).write_text(json.dumps(entries), encoding="utf-8")


def _child(evaluation: Evaluation, item: Pass, work: Path) -> LaunchPlan:
    project = evaluation.project
    derived = {"dataset_dir": str(work), "output_dir": str(_output(work, item))}
    if item.kind == "loss":
        derived["tokenized_path"] = str(_tokens(work, item))
    values = {
        **arguments_of(item.config),
        **{name: Value(value, Origin("qtune")) for name, value in derived.items()},
    }
    templates = Templates(project.sources, project.root)
    path = work / f"{item.whose}-{item.kind}.yaml"
    title = f"{evaluation.titles[item.whose]}: {item.kind}"
    path.write_text(render_arguments(TEMPLATE, values, templates, {"name": title}), encoding="utf-8")
    return plan_launch(item.config, evaluation.hardware, str(path))


def _result(evaluation: Evaluation, work: Path) -> Result:
    scores = []
    for whose, title in evaluation.titles.items():
        passes = {item.kind: item for item in evaluation.passes if item.whose == whose}
        metrics = metrics_in(_output(work, passes["loss"]) / "eval_results.json", "eval_")
        if evaluation.data.stage in ("sft", "pt"):
            metrics["perplexity"] = perplexity(metrics.get("loss"))
        if "answers" in passes:
            metrics |= metrics_in(_output(work, passes["answers"]) / "predict_results.json", "predict_")
        arguments: dict[str, Any] = {kind: item.config.block("train") for kind, item in passes.items()}
        scores.append(Scores(whose, title, metrics, arguments))
    predictions: dict[str, Path] = {
        item.whose: _output(work, item) / "generated_predictions.jsonl"
        for item in evaluation.passes
        if item.kind == "answers"
    }
    # both models read the same rows
    rows, tokens = count(_tokens(work, evaluation.passes[-1]))
    trained = evaluation.trained
    return Result(
        trained.name,
        trained.checkpoint,
        evaluation.data.name,
        evaluation.data.stage,
        rows,
        tokens,
        scores,
        joined(predictions) if predictions else [],
    )


def _output(work: Path, item: Pass) -> Path:
    return work / f"{item.whose}-{item.kind}"


def _tokens(work: Path, item: Pass) -> Path:
    return work / f"{item.whose}-tokens"
