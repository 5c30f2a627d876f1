"""The estimates of one preset or of all of them on a machine, and why some presets have none."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

from qtune.advice.candidates import why_not_quantized
from qtune.architectures import load_named
from qtune.checks.datasets import USES, check_names
from qtune.config.project import Project
from qtune.data.batches import rows_at_once
from qtune.data.reading.row_counts import count_training_rows
from qtune.data.registrations import read_registrations
from qtune.errors import QtuneError
from qtune.machine.allocator import grows
from qtune.machine.hardware import Hardware
from qtune.predict.memory.estimate import Estimate
from qtune.predict.memory.total import estimate
from qtune.predict.models.shapes import Model
from qtune.predict.steps import predict_steps
from qtune.prepare import pipeline
from qtune.units import counted
from qtune.values import Config, Finding, Layer


@dataclass(frozen=True)
class Forecast:
    """A preset's estimate and what it was made for.

    rows: of the training data, None where they could not be counted; free: bytes of host memory that are free
    here, None where it is not this machine's; grows: whether torch's allocator grows its segments here.
    """

    name: str
    config: Config
    model: Model
    machine: Hardware
    estimate: Estimate
    rows: int | None
    free: int | None
    grows: bool

    @property
    def batch(self) -> tuple[int, int, int]:
        """Per device, accumulation, processes."""
        processes = self.config.processes
        batch = rows_at_once(self.config.block("train"), processes) // processes
        return batch, int(self.config.argument("gradient_accumulation_steps")), processes

    @property
    def effective_batch(self) -> int:
        return math.prod(self.batch)

    def steps(self, epochs: float | None = None) -> int | None:
        """Optimizer steps of the training, or of so many epochs; None where the rows do not tell."""
        train = self.config.block("train")
        if epochs is not None:
            train |= {"num_train_epochs": epochs, "max_steps": -1}
        if self.rows is None:
            return train.get("max_steps") if train.get("max_steps", -1) > 0 else None
        found = predict_steps(train, self.rows, self.batch[2])
        return None if found is None else found.total


def unregistered(project: Project, layers: Sequence[Layer]) -> list[Finding]:
    """The datasets that these layers name and nobody registered; data of presets may be still to come.

    Raises QtuneError where layers name data, and the registrations are broken.
    """
    naming = [layer.values for layer in layers if layer.values.keys() & {("train", key) for key in USES}]
    return [item for values in naming for item in check_names(values, read_registrations(project))]


def forecast(
    name: str, project: Project, machine: Hardware, layers: Sequence[Layer], free: int | None
) -> Forecast:
    """The forecast of one preset, with the rows of its data. free: bytes of host memory, None if unknown.

    Raises QtuneError where its model is not known, or its values cannot be reckoned with.
    """
    config = pipeline.resolve(name, project, machine, layers)
    model = load_named(config.block("train"), project.root)
    return _forecast(name, config, model, machine, free, _rows(config, project))


def forecast_all(
    project: Project, machine: Hardware, layers: Sequence[Layer], free: int | None
) -> tuple[list[Forecast], dict[str, str]]:
    """The forecasts of all presets in the catalogue's order, and why others do not suit model or machine.

    Rows are not counted. Raises QtuneError as `forecast` does.
    """
    known: dict[str, Model] = {}
    found, unsuitable = [], {name: error.what for name, error in project.store.broken.items()}
    for preset in project.store.catalogue():
        config = pipeline.resolve(preset.name, project, machine, layers)
        train = config.block("train")
        model_name = str(train.get("model_name_or_path"))
        if model_name not in known:
            known[model_name] = load_named(train, project.root)
        model, here = known[model_name], config.nproc_per_node
        if reason := why_not_quantized(config, model):
            unsuitable[preset.name] = reason
        elif not machine.is_cpu and here > machine.gpus:
            reason = f"it runs {counted(here, 'process')}, one for each GPU, and there is {machine.gpus}"
            unsuitable[preset.name] = reason
        else:
            found.append(_forecast(preset.name, config, model, machine, free, None))
    return found, unsuitable


def _forecast(
    name: str, config: Config, model: Model, machine: Hardware, free: int | None, rows: int | None
) -> Forecast:
    growing = grows(os.environ)
    try:
        found = estimate(config, model, machine, free, grows=growing)
    except (TypeError, ValueError, OverflowError) as error:
        fix = f"`qtune check {name}` says what is wrong with its values"
        raise QtuneError(f"cannot be estimated: {error}", where=name, fix=fix) from error
    return Forecast(name, config, model, machine, found, rows, free, growing)


def _rows(config: Config, project: Project) -> int | None:
    """Rows of the training data, None where they cannot be counted: memory does not depend on them."""
    train = config.block("train")
    if not train.get("dataset"):
        return None
    train.pop("tokenized_path", None)  # made from this data, so of as many rows
    try:
        return count_training_rows(train, read_registrations(project))
    except (QtuneError, ValueError, OSError):
        return None
