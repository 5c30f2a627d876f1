"""Which preset is the fastest that fits: presets ranked, each at the batch that uses the memory there is.

A batch changes nothing of what is learnt as long as batch × processes × accumulation stays what it was, so
each preset is tried at every batch that divides it.

A preset that names a `step_down` is not pressed below half of its own batch: there its author means the next
one to be taken. That is how the ladder deepspeed → stage2_offload → stage3 → minimal follows the memory as
its users take it for Qwen2.5-0.5B on one GPU: over 12 GB, 6 to 12, 4 to 6, under 4. Where they differ is at
the edges: at 11 and 12 GB `deepspeed` still fits at half its batch, at 4 `stage3` does not for certain, and
in 3 `minimal` needs shorter rows. Presets beside the ladder may be faster, as `lora` is on one GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from qtune.advice.speed import Speed, Yardstick, predict_speed
from qtune.config.project import Project
from qtune.machine.hardware import Hardware
from qtune.machine.host import read_host, read_volume
from qtune.predict.memory.estimate import VERDICTS, Estimate, Range, Verdict
from qtune.predict.memory.setting import Setting
from qtune.predict.models.shapes import Model
from qtune.schema import argument
from qtune.values import Config, KeyPath, Origin, Value

BATCH: KeyPath = ("train", "per_device_train_batch_size")
ACCUMULATION: KeyPath = ("train", "gradient_accumulation_steps")
_EQUAL = 0.01  # what speeds may differ by and count as equal
Estimator = Callable[[Config, Hardware], Estimate]


@dataclass(frozen=True)
class Room:
    """Free bytes of the machine beside its GPUs, None where they are not known."""

    host: int | None = None
    disk: int | None = None


def room_of(project: Project) -> Room:
    """What is free on this machine, and on the disk of the project's runs."""
    return Room(read_host().memory_available, read_volume(project.runs_directory).free)


@dataclass(frozen=True)
class Candidate:
    """A preset as it would train here.

    step_down: the preset that it names as such.
    adjustable: whether its batch may be changed, which neither qtune.yaml nor --set then says.
    """

    name: str
    config: Config
    step_down: str | None = None
    adjustable: bool = True


@dataclass(frozen=True)
class Choice:
    """A candidate at one batch: `config` with it, what it needs and how long it takes.

    lacking: for each kind of memory that does not suffice, the bytes it needs and the bytes there are.
    """

    candidate: Candidate
    config: Config
    estimate: Estimate
    speed: Speed
    verdict: Verdict
    lacking: Mapping[str, tuple[int, int]]

    @property
    def name(self) -> str:
        return self.candidate.name

    @property
    def batch(self) -> int:
        return _own_batch(self.config)

    @property
    def accumulation(self) -> int:
        return _own_accumulation(self.config)

    @property
    def effective_batch(self) -> int:
        """Rows of one optimizer step, of all processes."""
        return self.batch * self.accumulation * self.config.processes

    @property
    def is_adjusted(self) -> bool:
        return self.batch != _own_batch(self.candidate.config)

    @property
    def shortfall(self) -> float:
        """What it needs over what there is, at the worst; below 1 where all suffices."""
        return max((need / max(have, 1) for need, have in self.lacking.values()), default=0.0)


def judge(estimate: Estimate, hardware: Hardware, room: Room) -> tuple[Verdict, dict[str, tuple[int, int]]]:
    """Whether all of it fits, and what does not: for each kind of memory the bytes needed and there.

    GPU memory by the estimate's own verdict; host memory and disk fit where the most that it may need is
    free, and may just fit where what is expected is.
    """
    verdicts: list[Verdict] = ["fits"]
    lacking: dict[str, tuple[int, int]] = {}
    if not hardware.is_cpu:
        verdicts.append(estimate.verdict)
        if estimate.verdict != "fits":
            lacking["GPU memory"] = (estimate.gpu.high, hardware.gpu_memory)
    disk = Range(estimate.disk, estimate.disk, estimate.disk)
    for what, needed, free in (("host memory", estimate.host, room.host), ("disk", disk, room.disk)):
        if free is not None and needed.verdict(free) != "fits":
            verdicts.append(needed.verdict(free))
            lacking[what] = (needed.high, free)
    return max(verdicts, key=VERDICTS.index), lacking


def rank(
    candidates: Sequence[Candidate], model: Model, hardware: Hardware, room: Room, estimate: Estimator
) -> list[Choice]:
    """The candidates, best first: those that fit by speed, then the tight ones by speed, then the others.

    Those that do not fit come by how much they lack, the nearest first. More memory never makes the first
    one slower, as long as it fits: whatever fitted before still does. Speeds alike to two digits count as
    equal; of equal ones the first of `candidates` goes first, but on a CPU the one without DeepSpeed, which
    compiles there for minutes before it starts, and saves nothing.
    """
    trains = [candidate.config.block("train") for candidate in candidates]
    yardstick = Yardstick(
        min((int(argument(train, "cutoff_len")) for train in trains), default=2048),
        max((int(argument(train, "lora_rank")) for train in trains), default=8),
    )
    choices = [_best(candidate, model, hardware, room, estimate, yardstick) for candidate in candidates]
    places = {candidate.name: place for place, candidate in enumerate(candidates)}

    def order(choice: Choice) -> tuple[int, float, bool, int]:
        fits = choice.verdict != "does not fit"
        compiles = hardware.is_cpu and choice.config.uses_zero
        amount = -round(relative_speed(choice, choices), 2) if fits else choice.shortfall
        return VERDICTS.index(choice.verdict), amount, compiles, places[choice.name]

    return sorted(choices, key=order)


def relative_speed(choice: Choice, choices: Sequence[Choice]) -> float:
    """Its speed over that of the fastest of the best verdict; above 1 for what is faster and may not fit."""
    best = min((item.verdict for item in choices), key=VERDICTS.index)
    fastest = min(item.speed.per_token for item in choices if item.verdict == best)
    return fastest / choice.speed.per_token


def batches(config: Config, gives_way: bool) -> list[int]:
    """The batches that keep batch × accumulation, smallest first; from half of its own on if it gives way."""
    own = _own_batch(config)
    product = own * _own_accumulation(config)
    least = max(1, own // 2) if gives_way else 1
    return [batch for batch in range(least, product + 1) if product % batch == 0]


def with_batch(config: Config, batch: int) -> Config:
    """The same config at another batch, its accumulation such that the effective batch stays."""
    own = _own_batch(config)
    if batch == own:
        return config
    return changed(config, {BATCH: batch, ACCUMULATION: own * _own_accumulation(config) // batch})


def changed(config: Config, settings: Mapping[KeyPath, Any]) -> Config:
    """The same config with other values, as a recommendation sets them."""
    values = {path: Value(value, Origin("recommend")) for path, value in settings.items()}
    return replace(config, values={**config.values, **values})


def _best(
    candidate: Candidate,
    model: Model,
    hardware: Hardware,
    room: Room,
    estimate: Estimator,
    yardstick: Yardstick,
) -> Choice:
    """At the batch that fits and is the fastest, else at the one that may just fit, else at the smallest.

    Of batches about as fast as that its own is taken, else the smallest: rows of unlike length, which are
    padded to the longest, make a large one dearer than is reckoned here.
    """
    own = _own_batch(candidate.config)
    sizes = batches(candidate.config, candidate.step_down is not None) if candidate.adjustable else [own]
    tried = []
    for size in sizes:
        config = with_batch(candidate.config, size)
        found, setting = estimate(config, hardware), Setting.of(config, model, hardware)
        speed = predict_speed(setting, found.trainable, yardstick, hardware.cores)
        tried.append(Choice(candidate, config, found, speed, *judge(found, hardware, room)))
    for verdict in ("fits", "tight"):
        good = [choice for choice in tried if choice.verdict == verdict]
        if good:
            fastest = min(choice.speed.per_token for choice in good)
            equal = [choice for choice in good if choice.speed.per_token <= fastest * (1 + _EQUAL)]
            return min(equal, key=lambda choice: (choice.batch != own, choice.batch))
    return tried[0]


def _own_batch(config: Config) -> int:
    return int(config.argument(BATCH[1]))


def _own_accumulation(config: Config) -> int:
    return int(config.argument(ACCUMULATION[1]))
