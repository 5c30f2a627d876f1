"""What a recommendation chooses among: presets at one batch and cutoff_len, and what each costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from qtune.advice.speed import Speed
from qtune.data.batches import rows_at_once
from qtune.predict.memory.estimate import Estimate, Verdict
from qtune.values import Config, KeyPath, Origin, Value

BATCH: KeyPath = ("train", "per_device_train_batch_size")
ACCUMULATION: KeyPath = ("train", "gradient_accumulation_steps")
CUTOFF: KeyPath = ("train", "cutoff_len")
METHOD: KeyPath = ("train", "finetuning_type")
# How many times slower a training may be for not giving up something: rules of thumb, held to what is done in
# practice by tests/advice_cases.yaml.
_IN_FOUR_BITS = 1.3
_HALVED = 1.3  # rows of unknown length, each time that they are
_CUT = 20.0  # all rows; of a part of them so much less
_HARDLY_ANY = 0.01  # such a part counts as none
_OFFLOADED = 3.0


@dataclass(frozen=True)
class Candidate:
    """A preset as it would train here.

    step_down: the preset that it names as such. adjustable: whether its batch may be changed, which neither
    qtune.yaml nor --set then says; fits_rows: whether its cutoff_len may. of_method: whether its author had
    it train what it does here, adapters or all weights: its learning rate goes with that.
    """

    name: str
    config: Config
    step_down: str | None = None
    adjustable: bool = True
    fits_rows: bool = True
    of_method: bool = True


@dataclass(frozen=True)
class Choice:
    """A candidate at one batch: `config` with it, what it needs and how long it takes.

    lacking: for each kind of memory that does not suffice, the bytes it needs and the bytes there are; cut:
    the part of the rows that are cut, None where they are not known; wanted: the cutoff_len that the rows
    need, else the candidate's own.
    """

    candidate: Candidate
    config: Config
    estimate: Estimate
    speed: Speed
    verdict: Verdict
    lacking: Mapping[str, tuple[int, int]]
    cut: float | None
    wanted: int
    on_cpu: bool = False

    @property
    def name(self) -> str:
        return self.candidate.name

    @property
    def batch(self) -> int:
        return own_batch(self.config)

    @property
    def accumulation(self) -> int:
        return own_accumulation(self.config)

    @property
    def effective_batch(self) -> int:
        """Rows of one optimizer step, of all processes."""
        return rows_at_once(self.config.block("train"), self.config.processes) * self.accumulation

    @property
    def cutoff_len(self) -> int:
        return own_cutoff(self.config)

    @property
    def is_adjusted(self) -> bool:
        return self.batch != own_batch(self.candidate.config)

    @property
    def settings(self) -> dict[KeyPath, int]:
        """What is set beside the preset."""
        batch = {BATCH: self.batch, ACCUMULATION: self.accumulation} if self.is_adjusted else {}
        own = own_cutoff(self.candidate.config)
        return batch if self.cutoff_len == own else {**batch, CUTOFF: self.cutoff_len}

    @property
    def cost(self) -> float:
        """Seconds for each token, and longer by what it gives up: the least is the best."""
        cost = self.speed.per_token
        if self.config.get("train", "quantization_bit") is not None:
            cost *= _IN_FOUR_BITS
        if self.cut is None:
            cost *= _HALVED ** math.log2(self.wanted / self.cutoff_len)
        elif self.cut > _HARDLY_ANY:
            cost *= 1 + _CUT * self.cut
        return cost * _OFFLOADED if offloads(self.config) and not self.on_cpu else cost

    @property
    def trains_adapter(self) -> bool:
        return self.config.argument("finetuning_type") in ("lora", "oft")

    @property
    def shortfall(self) -> float:
        """What it needs over what there is, at the worst; below 1 where all suffices."""
        return max((need / max(have, 1) for need, have in self.lacking.values()), default=0.0)


def offloads(config: Config) -> bool:
    """Whether ZeRO keeps something of it in host memory or on a disk."""
    blocks = ("offload_optimizer", "offload_param")
    devices = {config.get("zero", block, "device", default="none") for block in blocks}
    return config.uses_zero and devices != {"none"}


def batches(config: Config, gives_way: bool) -> list[int]:
    """The batches that keep batch × accumulation, smallest first; from half of its own on if it gives way."""
    own = own_batch(config)
    product = own * own_accumulation(config)
    least = max(1, own // 2) if gives_way else 1
    return [batch for batch in range(least, product + 1) if product % batch == 0]


def with_batch(config: Config, batch: int) -> Config:
    """The same config at another batch, its accumulation such that the effective batch stays."""
    own = own_batch(config)
    if batch == own:
        return config
    return changed(config, {BATCH: batch, ACCUMULATION: own * own_accumulation(config) // batch})


def changed(config: Config, settings: Mapping[KeyPath, Any]) -> Config:
    """The same config with other values, as a recommendation sets them."""
    values = {
        path: Value(value, Origin("recommend"))
        for path, value in settings.items()
        if config.get(*path) != value
    }
    return replace(config, values={**config.values, **values})


def own_batch(config: Config) -> int:
    return int(config.argument(BATCH[1]))


def own_accumulation(config: Config) -> int:
    return int(config.argument(ACCUMULATION[1]))


def own_cutoff(config: Config) -> int:
    return int(config.argument(CUTOFF[1]))
