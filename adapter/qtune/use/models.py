"""Which trained model a run's name means; an unfinished or broken one is refused with what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune.config.model import local_model
from qtune.config.names import MOST_NAMED, few
from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.predict.models.headers import read_directory, read_header, read_json
from qtune.render import manifest as manifests
from qtune.runs.checkpoints import INCOMPLETE, checkpoints
from qtune.runs.find import directories, directory_of, shown, under_way
from qtune.runs.record import RECORD, load
from qtune.values import Config

ADAPTED = ("lora", "oft")
"""The finetuning types whose result is an adapter beside its base model."""

_ADAPTER, _ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
# LLaMA-Factory's PiSSA callback, with pissa_convert, puts an adapter for the unchanged base model here.
_PISSA_CONVERTED = "pissa_converted"
# Without it PEFT computes the rest of the base anew as it loads; with pissa_iter -1 that is exact.
_PISSA_AT_RANDOM = "pissa_niter"


@dataclass(frozen=True)
class Trained:
    """What a run made, or the untouched model that it started from.

    directory: the run's; config: what it was trained with, each value with its origin.
    base: what the training started from, as the config names it: a hub's id, or a path from the project's
    root. weights: the directory with what was trained, from there too; None for the untouched model.
    checkpoint: the step of the checkpoint that it stands for, None for the final result.
    """

    name: str
    directory: Path
    record: Mapping[str, Any]
    config: Config
    base: str
    weights: str | None
    checkpoint: int | None

    @property
    def stage(self) -> str:
        return str(self.config.get("train", "stage", default="sft"))

    @property
    def finetuning_type(self) -> str:
        return str(self.config.get("train", "finetuning_type", default="lora"))

    @property
    def is_adapter(self) -> bool:
        """Whether what was trained has to be laid over the base model."""
        return self.weights is not None and self.finetuning_type in ADAPTED

    @property
    def title(self) -> str:
        """What to call it on a terminal."""
        if self.weights is None:
            return f"{self.base}, untouched"
        return self.name if self.checkpoint is None else f"{self.name}, checkpoint {self.checkpoint}"


def find(
    project: Project,
    name: str | None = None,
    *,
    checkpoint: int | None = None,
    base: bool = False,
    left_out: Callable[[QtuneError], None] = lambda error: None,
) -> Trained:
    """What the run `name` made, of the newest finished one where no name is given.

    name: of a run, or the path of its directory; checkpoint: what it was at that step, which may also be
    taken of a run that did not finish; base: the model that it started from; left_out: called for each record
    that cannot be read, where no name is given.
    Raises QtuneError for a run that is not there, is not finished, or lacks what loads it.
    """
    if base and checkpoint is not None:
        raise QtuneError(
            "does not go with --base, the model before any step", where="--checkpoint", fix="leave one out"
        )
    directory = _newest(project, left_out) if name is None else directory_of(project, name)
    record, config = _read(directory)
    if checkpoint is None and not base:
        _require_finished(directory, record)
    started_from = config.get("train", "model_name_or_path")
    if not isinstance(started_from, str):
        raise QtuneError("does not say which model it trained", where=shown(directory), fix=_TRAIN_AGAIN)
    weights = None if base else _weights(directory, checkpoint, config)
    if weights is None or _adapts(config):
        _require_base(project, directory, started_from)
        if config.get("train", "train_from_scratch"):
            what = "its base model was made at random, and never saved"
            raise QtuneError(what, where=shown(directory), fix="name a run that trained whole weights")
    return Trained(
        directory.name,
        directory,
        record,
        config,
        started_from,
        None if weights is None else project.from_root(weights),
        checkpoint,
    )


_TRAIN_AGAIN = "train it again, or name another run"


def _newest(project: Project, left_out: Callable[[QtuneError], None]) -> Path:
    """The run that finished last; one that cannot be read is no candidate."""
    finished, newest_other = [], ("", "")
    for directory in directories(project):
        record: Mapping[str, Any] = {}
        try:
            record = load(directory)
        except QtuneError as error:
            left_out(error)
        if record.get("status") == "finished":
            finished.append((str(record.get("ended")), directory))
        else:
            state = f"is {record['status']}" if "status" in record else "has a record that cannot be read"
            newest_other = max(newest_other, (str(record.get("started", "")), f"`{directory.name}` {state}"))
    if finished:
        return max(finished)[1]
    where = shown(project.runs_directory)
    if newest_other[1]:
        raise QtuneError(
            f"no run has finished yet; {newest_other[1]}",
            where=where,
            fix="name it with `--checkpoint N` for what it was at step N, or train to the end",
        )
    raise QtuneError("there is no run yet", where=where, fix="train one: `qtune train`")


def _read(directory: Path) -> tuple[Mapping[str, Any], Config]:
    record = load(directory)
    try:
        return record, manifests.read(directory / RECORD, shown(directory / RECORD)).config
    except QtuneError as error:
        raise QtuneError(error.what, where=error.where, fix=_TRAIN_AGAIN) from None


def _require_finished(directory: Path, record: Mapping[str, Any]) -> None:
    status = record.get("status")
    if status == "finished":
        return
    steps = checkpoints(directory)
    newest = f"`--checkpoint {steps[-1]}` takes what it was at that step" if steps else ""
    fix, reason = f"go on with it: `qtune resume {directory.name}`", record.get("reason")
    if status != "running":
        what = f"is {status}" + (f": {reason}" if reason else "")
    elif (found := under_way(directory, record)) is not None:
        what, fix = f"is still training ({found})", "wait for its end, or name another run"
    else:
        what = f"says that it is running, but its process {record.get('pid')} is gone: it was killed"
    raise QtuneError(what, where=shown(directory), fix=f"{fix}; {newest}" if newest else fix)


def _weights(directory: Path, checkpoint: int | None, config: Config) -> Path:
    """The directory with what was trained, everything in it that loads it being whole."""
    found = directory
    if checkpoint is not None:
        found = directory / f"checkpoint-{checkpoint}"
        there = checkpoints(directory)
        if checkpoint not in there:
            near = sorted(there, key=lambda step: abs(step - checkpoint))
            named = [str(step) for step in (*sorted(near[:MOST_NAMED]), *near[MOST_NAMED:])]
            fix = f"its checkpoints: {few(named)}" if named else "leave --checkpoint out"
            what = f"has no checkpoint {checkpoint}"
            if (found / INCOMPLETE).exists():
                what = f"checkpoint {checkpoint} is half-written"
            raise QtuneError(what, where=shown(directory), fix=fix)
    if not _adapts(config):
        if not any((found / name).is_file() for name in _WEIGHTS):
            _require(found, _WEIGHTS[0])
        _require(found, "config.json", "tokenizer_config.json")
        _sound(found, lambda: (read_json(found / "config.json"), read_directory(found)))
        return found
    if checkpoint is None and (found / _PISSA_CONVERTED).is_dir():
        found = found / _PISSA_CONVERTED
    _require(found, _ADAPTER_CONFIG, _ADAPTER)
    _sound(found, lambda: (read_json(found / _ADAPTER_CONFIG), read_header(found / _ADAPTER)))
    if str(read_json(found / _ADAPTER_CONFIG).get("init_lora_weights")).startswith(_PISSA_AT_RANDOM):
        raise QtuneError(
            "its PiSSA adapter fits the rest of the base that the training computed with random numbers, "
            "and a second time that rest is another",
            where=shown(found),
            fix="train it with `-s pissa_convert=true`, and use its end result",
        )
    return found


def _require(directory: Path, *names: str) -> None:
    missing = [name for name in names if not (directory / name).is_file()]
    if missing:
        what = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        raise QtuneError(what, where=shown(directory), fix=_TRAIN_AGAIN)


def _sound(directory: Path, read: Callable[[], object]) -> None:
    """Read headers; what is broken is a training's file here, not a download's."""
    try:
        read()
    except QtuneError as error:
        where = shown(Path(error.where)) if error.where else shown(directory)
        raise QtuneError(error.what, where=where, fix=_TRAIN_AGAIN) from None


def _require_base(project: Project, run: Path, name: str) -> None:
    directory = local_model(name, project.root)
    if directory is not None and not (directory / "config.json").is_file():
        raise QtuneError(
            f"its base model {name} is no longer there",
            where=shown(run),
            fix=f"put the model back to {directory}: what was trained is nothing without it",
        )


def _adapts(config: Config) -> bool:
    return config.get("train", "finetuning_type", default="lora") in ADAPTED
