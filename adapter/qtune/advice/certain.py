"""What makes a training that may just fit do so for certain: the least change that is enough."""

from __future__ import annotations

from qtune.advice.forecast import Forecast
from qtune.advice.recommend import ACCUMULATION, BATCH, Candidate, Room, rank
from qtune.advice.remedies import Remedy, remedies
from qtune.machine.allocator import GROWING, NAMES
from qtune.machine.hardware import Hardware
from qtune.predict.memory.estimate import Estimate
from qtune.predict.memory.total import estimate
from qtune.values import Config


def certain(row: Forecast) -> Remedy | None:
    """The allocator's growing segments, else a smaller batch, else the first of the others; None for none."""
    if not row.grows and estimate(row.config, row.model, row.machine, row.free, grows=True).verdict == "fits":
        return Remedy(f"{NAMES[0]}={GROWING} in the environment")
    room = Room(row.free)

    def estimated(config: Config, on: Hardware) -> Estimate:
        return estimate(config, row.model, on, row.free, grows=row.grows)

    for adjustable in (True, False):
        candidate = Candidate(row.name, row.config, adjustable=adjustable)
        [choice] = rank([candidate], row.model, row.machine, room, estimated)
        if choice.verdict == "fits":
            settings = (f"{BATCH[1]}={choice.batch}", f"{ACCUMULATION[1]}={choice.accumulation}")
            return Remedy("a smaller batch, accumulated more often", settings)
    found = remedies(choice, row.model, row.machine, room, estimated)
    return found[0] if found else None
