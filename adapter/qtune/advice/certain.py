"""What makes a training that may just fit do so for certain: the least change that is enough."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from qtune.advice.choices import ACCUMULATION, BATCH, Candidate, Choice
from qtune.advice.forecast import Forecast
from qtune.advice.recommend import Room, judge, rank
from qtune.advice.remedies import Remedy, remedies
from qtune.machine.allocator import GROWING, NAMES
from qtune.machine.hardware import Hardware
from qtune.predict.memory.estimate import Estimate
from qtune.predict.memory.total import estimate
from qtune.predict.models.shapes import Model
from qtune.values import Config


def certain(row: Forecast) -> Remedy | None:
    """Growing segments, else a smaller batch, else the first other remedy; None where nothing is enough."""
    room, estimated = Room(row.free), partial(_estimated, row.model, row.grows)
    candidate = Candidate(row.name, row.config, fits_rows=False)
    [own] = rank([replace(candidate, adjustable=False)], row.model, row.machine, room, estimated)
    if (found := by_allocator(own, row.model, row.machine, room, row.grows)) is not None:
        return found
    [best] = rank([candidate], row.model, row.machine, room, estimated)
    if best.verdict == "fits":
        settings = (f"{BATCH[1]}={best.batch}", f"{ACCUMULATION[1]}={best.accumulation}")
        return Remedy("a smaller batch, accumulated more often", settings)
    return next(iter(remedies(own, row.model, row.machine, room, estimated)), None)


def by_allocator(choice: Choice, model: Model, hardware: Hardware, room: Room, grows: bool) -> Remedy | None:
    """Growing segments, where they do not grow yet and that is enough."""
    if grows or judge(_estimated(model, True, choice.config, hardware), hardware, room)[0] != "fits":
        return None
    return Remedy(f"{NAMES[0]}={GROWING} in the environment")


def _estimated(model: Model, grows: bool, config: Config, on: Hardware) -> Estimate:
    return estimate(config, model, on, grows=grows)
