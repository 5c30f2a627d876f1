"""Going on with a run: which one, what has changed since it was recorded, and from which checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from qtune.checks.rules.optimizers import unloadable_state
from qtune.config.project import Project
from qtune.config.resolve import merge
from qtune.errors import QtuneError
from qtune.prepare import compare, pipeline, records, renderings
from qtune.prepare.compare import Difference, Side
from qtune.prepare.pipeline import Prepared
from qtune.render import manifest as manifests
from qtune.runs import provenance, record
from qtune.runs.checkpoints import Checkpoint, newest
from qtune.runs.find import (
    SUBMITTED,
    begun,
    directory_of,
    has_record,
    records_of,
    require_ended,
    require_writable,
    shown,
    under_way,
)
from qtune.runs.record import Run
from qtune.units import counted
from qtune.values import Config, Layer, Origin, Value

_LENGTHS = ("train.num_train_epochs", "train.max_steps")
_KINDS = ("train", "stage"), ("train", "finetuning_type"), ("zero", "stage"), ("train", "model_name_or_path")


@dataclass(frozen=True)
class Resumption:
    """A run as it would go on.

    prepared: with `changes`, by key, over what was recorded; differences: of its values from those so far.
    edited: of the project's values from the recorded ones, where its files were changed since.
    data: the files of its datasets whose content is no longer the recorded one; elsewhere: versions and
    machine, where they are others, each in a line.
    checkpoint: the newest complete one, None where there is none; broken: the newer ones.
    """

    run: Run
    prepared: Prepared
    changes: dict[str, Any]
    differences: list[Difference]
    edited: list[Difference]
    data: list[str]
    elsewhere: list[str]
    checkpoint: Checkpoint | None
    broken: list[Checkpoint]


def find(
    project: Project, name: str | None, left_out: Callable[[QtuneError], None] = lambda error: None
) -> Run:
    """The run `name`, or the newest unfinished one, of the preset `name` where there is no such run.

    left_out: called for each record that cannot be read.
    Raises QtuneError where there is none, or its training is under way.
    """
    if name is None or not ("/" in name or has_record(project.runs_directory / name)):
        unfinished = [
            (begun(found), directory)
            for directory, found in records_of(project, left_out)
            if found["status"] not in ("finished", SUBMITTED)
            and under_way(directory, found) is None
            and (name is None or found.get("preset") == name)
        ]
        if not unfinished and name is not None:
            directory_of(project, name)  # raises
        if not unfinished:
            where = shown(project.runs_directory)
            raise QtuneError("there is no unfinished run", where=where, fix="train one: `qtune train`")
        return record.read(max(unfinished)[1])
    run = record.read(directory_of(project, name))
    require_ended(run.directory, run.record)
    return run


def goes_on_from(run: Run) -> tuple[Checkpoint | None, list[Checkpoint]]:
    """The checkpoint from which the run would go on, None for its beginning; the newer, broken ones.

    Raises QtuneError where its record cannot be read, or the library cannot go on with such a training.
    """
    path = run.directory / record.RECORD
    recorded = manifests.read(path, shown(path)).config
    config = merge(recorded.name, [Layer("record", recorded.values), *layers(run)])
    _require_resumable(config, config, run)
    return newest(run.directory, config)


def recorded(project: Project, name: str) -> Run:
    """The run `name`, whatever became of it; raises QtuneError where there is none."""
    return record.read(directory_of(project, name))


def layers(run: Run, options: Sequence[Layer] = ()) -> list[Layer]:
    """What goes over the recorded config: the changes of its attempts so far, and `options`."""
    origin = Origin("an earlier attempt")
    values = {tuple(key.split(".")): Value(value, origin) for key, value in run.changes.items()}
    return [Layer(origin.layer, values), *options] if values else list(options)


def look(run: Run, prepared: Prepared, options: Sequence[Layer]) -> Resumption:
    """What going on with `run` would be; nothing is written.

    prepared: its record with `layers(run, options)` over it.
    Raises QtuneError where the library cannot go on with it, whatever may be forced.
    """
    so_far = records.read_record(prepared.project, run.directory, layers(run))
    given = {".".join(path): value.value for layer in options for path, value in layer.values.items()}
    where = shown(run.directory)
    if run.record.get("status") == "finished" and not any(length in given for length in _LENGTHS):
        further = f"`qtune resume {run.name} -s num_train_epochs=… --force` trains it further"
        raise QtuneError("is finished", where=where, fix=f"{further}; `qtune train` makes a new run")
    _require_resumable(so_far.config, prepared.config, run)
    require_writable(run.directory)
    checkpoint, broken = newest(run.directory, so_far.config)
    if checkpoint is not None:
        _require_loadable(prepared, run)
    return Resumption(
        run,
        prepared,
        {**run.changes, **given},
        compare.compare(_side(so_far), _side(prepared)),
        _edited(so_far),
        changed_data(run, prepared),
        elsewhere(run, prepared),
        checkpoint,
        broken,
    )


def differing_facts(run: Run, prepared: Prepared) -> list[str]:
    """What differs today from what the run stood on, each in a line."""
    lines = elsewhere(run, prepared, ("versions", "git", "machine"))
    lines += [f"data: {file} changed" for file in changed_data(run, prepared)]
    return [*lines, *(f"{file} changed" for file in renderings.stale_layers(prepared))]


def elsewhere(run: Run, prepared: Prepared, names: Sequence[str] = ("versions", "machine")) -> list[str]:
    """Which of these recorded facts are others now, each in a line; none of a record that lacks them."""
    lines = []
    for name in names:
        before, now = run.record.get(name), provenance.HERE[name](prepared.project.root)
        if isinstance(before, dict) and isinstance(now, dict):
            for key in dict.fromkeys([*before, *now]):
                if before.get(key) != now.get(key):
                    lines.append(f"{name}: {key} was {before.get(key)}, is {now.get(key)}")
        elif before != now and before is not None:
            lines.append(f"{name}: was {before}, is {now}")
    return lines


def changed_data(run: Run, prepared: Prepared) -> list[str]:
    """The files of the datasets whose content is not the recorded one, or that are gone or new."""
    then = _digests(run.record.get("data", []))
    now = _digests(provenance.data(prepared.project.root, prepared.sources, {})) if then else {}
    return sorted(file for file in {*then, *now} if then.get(file) != now.get(file))


def _digests(data: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The SHA-256 of each file of these datasets, as `provenance.data` has them."""
    return {file: digest for item in data for file, digest in item["files"].items()}


def _side(prepared: Prepared) -> Side:
    return Side(prepared.config, {})


def _require_resumable(so_far: Config, config: Config, run: Run) -> None:
    """Raises QtuneError where no checkpoint of the run can be gone on with in this way."""
    where = shown(run.directory)
    anew = "start anew: `--overwrite` with its name, or a new run"
    stage, finetuning = config.get("train", "stage", default="sft"), config.get("train", "finetuning_type")
    if stage in ("rm", "ppo"):
        # llamafactory/hparams/parser.py, get_train_args, and train/ppo/trainer.py, ppo_train; transformers'
        # _load_from_checkpoint finds no adapter in the model with a value head that rm trains
        raise QtuneError(
            f"LLaMA-Factory cannot go on with a training of stage {stage}", where=where, fix=anew
        )
    if so_far.get("train", "save_only_model"):
        what = "its checkpoints hold the model alone (save_only_model), so nothing can go on from them"
        raise QtuneError(what, where=where, fix=anew)
    for path in _KINDS:
        before, now = so_far.get(*path), config.get(*path)
        if before != now:
            what = f"its checkpoints are of {path[1]} {before}: they cannot be gone on with as {now}"
            raise QtuneError(what, where=where, fix="train that in a new run")
    sharded = so_far.uses_zero or so_far.launcher == "accelerate"
    if sharded and so_far.processes != config.processes:
        weights = "adapter_name_or_path" if finetuning in ("lora", "oft") else "model_name_or_path"
        raise QtuneError(
            f"its optimizer state lies in {counted(so_far.processes, 'part')}, a process each, so "
            f"{config.processes} cannot go on with it",
            where=where,
            fix=f"resume with {counted(so_far.processes, 'process')}, or start a new run from its weights: "
            f"`-s {weights}={where}/checkpoint-…`",
        )


def _require_loadable(prepared: Prepared, run: Run) -> None:
    """Raises QtuneError where the library cannot load a checkpoint of its own."""
    config = prepared.config
    if optimizer := unloadable_state(config.argument):
        raise QtuneError(
            f"torch refuses to load the state of its optimizer ({optimizer})",
            where=shown(run.directory),
            fix="start anew: `--overwrite` with its name, or a new run from the weights of a checkpoint",
        )
    # the tensors of several processes are put on the device `cpu:0`, which torch.load knows nothing of
    # (accelerate/state.py, set_device; torch/serialization.py, default_restore_location)
    if prepared.hardware.is_cpu and config.processes > 1 and not config.uses_zero:
        accumulation = config.get("train", "gradient_accumulation_steps", default=1) * config.processes
        one = f"-s launch.nproc_per_node=1 -s gradient_accumulation_steps={accumulation} --force"
        raise QtuneError(
            f"on a CPU LLaMA-Factory cannot go on with {config.processes} processes, but under ZeRO",
            where=shown(run.directory),
            fix=f"go on with one, and as large steps: `qtune resume {run.name} {one}`",
        )


def _edited(recorded: Prepared) -> list[Difference]:
    """How the project's files would now decide what was recorded, where they were changed since."""
    project, stale = recorded.project, renderings.stale_layers(recorded)
    named = [layer.name for layer in recorded.config.layers if layer.file]
    presets = [name for name in named if project.store.knows(name)]
    if not stale or not presets:
        return []
    by_hand = {path: value for path, value in recorded.config.values.items() if renderings.is_by_hand(value)}
    try:
        today = pipeline.resolve(presets[-1], project, recorded.hardware, [Layer("options", by_hand)])
    except QtuneError:
        return []  # they are being edited
    found = compare.compare(_side(recorded), Side(replace(today, name=recorded.config.name), {}))
    return [item for item in found if _is_of(item.second, stale) or _is_of(item.first, stale)]


def _is_of(value: Value | None, files: Sequence[str]) -> bool:
    """Whether it was written in one of these files; what `auto` became follows from other values."""
    return value is not None and value.origin.file in files and not value.origin.layer.startswith("auto")
