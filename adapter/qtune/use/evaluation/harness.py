"""Other people's benchmarks over a trained model and its base, by lm-evaluation-harness."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from qtune.config.model import local_model
from qtune.config.project import Project
from qtune.errors import ChildFailed, QtuneError
from qtune.machine.hardware import Hardware
from qtune.processes import process
from qtune.use.evaluation.data import file_name
from qtune.use.evaluation.measure import run_child
from qtune.use.evaluation.plan import Whose
from qtune.use.evaluation.results import EVALUATIONS, LOG, METRICS, put
from qtune.use.infer import GROUPS, loading
from qtune.use.models import Trained
from qtune.values import LaunchPlan

PROGRAM = "lm_eval"
_INSTALL = "install lm-evaluation-harness beside LLaMA-Factory: pip install lm-eval"
_STDERR = "_stderr"


@dataclass(frozen=True)
class Benchmarks:
    """What to ask of the harness: tasks, a directory of more of them, no more than `limit` rows of each."""

    tasks: Sequence[str]
    include_path: Path | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Figure:
    """One metric of one task: its value of each model, and the standard errors that the harness gives."""

    task: str
    metric: str
    values: Mapping[str, float]
    errors: Mapping[str, float]


def require_harness() -> None:
    """Raises QtuneError where lm-evaluation-harness is not installed."""
    process.find_program(PROGRAM, _INSTALL)


def command(
    subject: Trained, benchmarks: Benchmarks, hardware: Hardware, root: Path, output: Path
) -> LaunchPlan:
    """The argument list that measures `subject`; root: the project's, where it runs.

    A QLoRA adapter is measured over its base as it was before quantisation, as an export merges it.
    Raises QtuneError for what the harness cannot load: a reward model, several adapters, a changed base.
    """
    values = {name: value.value for name, value in loading(subject, quantised=False).items()}
    changed = [name for name in GROUPS["not_of_the_harness"] if subject.is_adapter and values.get(name)]
    adapters = str(values.get("adapter_name_or_path", "")).split(",")
    if subject.stage == "rm" or changed or len(adapters) > 1:
        why = f"`{changed[0]}` changed its base" if changed else "it lies over another adapter"
        reason = "it is a reward model" if subject.stage == "rm" else why
        fix = "name another run" if subject.stage == "rm" else f"`qtune export {subject.name}` first"
        raise QtuneError(f"the harness cannot load `{subject.name}`: {reason}", where="--harness", fix=fix)
    model = str(values["model_name_or_path"])
    # a directory may look like a hub's id to a library that runs where it is not
    given = {"pretrained": model if local_model(model, root) is None else str(local_model(model, root))}
    if adapters[0]:
        given["peft"] = str(root / adapters[0])
    if values.get("model_revision"):
        given["revision"] = str(values["model_revision"])
    if values.get("trust_remote_code"):
        given["trust_remote_code"] = "True"
    for value in given.values():
        if "," in value:
            raise QtuneError(
                "the harness would take this for several arguments",
                where=value,
                fix="rename what has the comma",
            )
    argv = [PROGRAM, "--model", "hf", "--model_args", ",".join(f"{k}={v}" for k, v in given.items())]
    argv += ["--tasks", ",".join(benchmarks.tasks), "--output_path", str(output)]
    device, batch = ("cpu", "1") if hardware.is_cpu else ("cuda", "auto")
    argv += ["--device", device, "--batch_size", batch]
    if benchmarks.include_path is not None:
        argv += ["--include_path", str(benchmarks.include_path)]
    if benchmarks.limit is not None:
        argv += ["--limit", str(benchmarks.limit)]
    return LaunchPlan(tuple(argv), {"CUDA_VISIBLE_DEVICES": ""} if hardware.is_cpu else {})


def run_benchmarks(
    project: Project,
    subjects: Mapping[Whose, Trained],
    benchmarks: Benchmarks,
    hardware: Hardware,
    begin: Callable[[Trained], None],
    show: Callable[[bytes], None],
) -> tuple[dict[str, Any], list[Path]]:
    """(what metrics.json holds, the files): the harness' own results of each model, and its figures.

    Raises ChildFailed where the harness fails, KeyboardInterrupt where it was interrupted.
    """
    trained = list(subjects.values())[-1]
    step = f"@{trained.checkpoint}" if trained.checkpoint is not None else ""
    tasks = "+".join(file_name(task) for task in benchmarks.tasks)
    directory = trained.directory / EVALUATIONS / f"harness-{tasks}{step}"
    with TemporaryDirectory(prefix="qtune-") as name:
        plans = {
            whose: command(subject, benchmarks, hardware, project.root, Path(name) / whose)
            for whose, subject in subjects.items()
        }
        directory.mkdir(parents=True, exist_ok=True)
        log = directory / LOG
        log.write_bytes(b"")
        found: dict[str, dict[str, Any]] = {}
        for whose, plan in plans.items():
            begin(subjects[whose])
            run_child(plan, project.root, log, show)
            found[whose] = _results_in(Path(name) / whose)
    plain = {
        "run": trained.name,
        "checkpoint": trained.checkpoint,
        "tasks": list(benchmarks.tasks),
        **{whose: content["results"] for whose, content in found.items()},
    }
    contents = {METRICS: plain, **{f"{whose}.json": content for whose, content in found.items()}}
    texts = {file: json.dumps(item, indent=1, ensure_ascii=False) + "\n" for file, item in contents.items()}
    return plain, put(texts, directory)


def figures(plain: Mapping[str, Any]) -> list[Figure]:
    """The numbers in what `run_benchmarks` gives, task by task."""
    whose = [name for name in ("base", "tuned") if name in plain]
    found: list[Figure] = []
    for task, metrics in plain[whose[-1]].items():
        for key, value in metrics.items():
            metric, _, filtered = key.partition(",")
            if not isinstance(value, int | float) or not filtered or metric.endswith(_STDERR):
                continue
            error = f"{metric}{_STDERR},{filtered}"
            shown = metric if filtered == "none" else f"{metric} ({filtered})"
            of_task = {name: plain[name].get(task, {}) for name in whose}
            errors = {name: item[error] for name, item in of_task.items() if _is_number(item.get(error))}
            values = {name: item[key] for name, item in of_task.items() if _is_number(item.get(key))}
            found.append(Figure(task, shown, values, errors))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _results_in(directory: Path) -> dict[str, Any]:
    """The one file that the harness writes below the directory that it is given."""
    written = sorted(directory.rglob("results_*.json"))
    if not written:
        raise ChildFailed("the harness ended without results")
    content: dict[str, Any] = json.loads(written[-1].read_text(encoding="utf-8"))
    return content
