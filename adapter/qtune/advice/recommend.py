"""Which preset to take: of those that fit the fastest, as far as it gives up no more than that is worth.

Each is tried at the batch that uses the memory there is, and at the cutoff_len that the rows need. A batch
changes nothing of what is learnt as long as batch × processes × accumulation stays what it was, so each
preset is tried at every batch that divides it. Where it fits at none, shorter rows are tried before another
preset offloads, as long as the data is not known to lose by it.

A preset that names a `step_down` is not pressed below half of its own batch: there its author means the next
one to be taken. That is how the ladder deepspeed → stage2_offload → stage3 → minimal follows the memory as
its users take it for Qwen2.5-0.5B on one GPU: over 12 GB, 6 to 12, 4 to 6, under 4. Where they differ is at
the edges: at 11 and 12 GB `deepspeed` still fits at half its batch, at 4 `stage3` does not for certain, and
in 3 `minimal` needs shorter rows. Presets beside the ladder may be faster, as `lora` is on one GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtune.advice.choices import (
    CUTOFF,
    Candidate,
    Choice,
    batches,
    changed,
    own_batch,
    own_cutoff,
    with_batch,
)
from qtune.advice.speed import Yardstick, predict_speed
from qtune.config.project import Project
from qtune.machine.hardware import Hardware
from qtune.machine.host import read_host, read_volume
from qtune.predict.memory.estimate import VERDICTS, Estimate, Range, Verdict
from qtune.predict.memory.setting import Setting
from qtune.predict.models.shapes import Model
from qtune.values import Config

if TYPE_CHECKING:
    from qtune.data.lengths.sample import RowLengths

_EQUAL = 0.01  # what speeds of one preset may differ by and count as equal
_ALIKE = 0.1  # what those of different presets may
_SHORTER = (8192, 4096, 2048, 1024, 512)  # tokens; below them few answers to instructions are left whole
SPEEDS = {0.9: "fastest", 1 / 2: "slower", 1 / 3: "much slower", 0.0: "many times slower"}
"""What is said of a speed, by the least part of the fastest one's: what was not measured has no digits."""
Estimator = Callable[[Config, Hardware], Estimate]


@dataclass(frozen=True)
class Room:
    """Free bytes of the machine beside its GPUs, None where they are not known."""

    host: int | None = None
    disk: int | None = None


def room_of(project: Project) -> Room:
    """What is free on this machine, and on the disk of the project's runs."""
    return Room(read_host().memory_available, read_volume(project.runs_directory).free)


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
    candidates: Sequence[Candidate],
    model: Model,
    hardware: Hardware,
    room: Room,
    estimate: Estimator,
    rows: RowLengths | None = None,
) -> list[Choice]:
    """The candidates, best first: those that fit, then the tight ones, then the others.

    Of those that fit what was made for this method goes first, adapters before full tuning (another
    training), and then the least cost: seconds for each token, and longer by what is given up. Costs within
    10% count as equal. Of equal ones a 16-bit base goes before a quantised one, what trains without
    DeepSpeed and FSDP before them (on a CPU DeepSpeed compiles for minutes, and saves nothing), and then the
    first of `candidates`. Those that do not fit come by how much they lack, the nearest first. More memory
    never makes the first one worse, as long as it fits: whatever fitted before still does.
    """
    wanted = [_cutoffs(candidate, rows)[0] for candidate in candidates]
    ranks = [int(candidate.config.argument("lora_rank")) for candidate in candidates]
    yardstick = Yardstick(min(wanted, default=2048), max(ranks, default=8))

    def tried(candidate: Candidate, cutoff_len: int, size: int) -> Choice:
        config = with_batch(changed(candidate.config, {CUTOFF: cutoff_len}), size)
        found, setting = estimate(config, hardware), Setting.of(config, model, hardware)
        speed = predict_speed(setting, found.trainable, yardstick, hardware)
        cut = None if rows is None else rows.share_cut(cutoff_len)
        judged = judge(found, hardware, room)
        wanted = _cutoffs(candidate, rows)[0]
        return Choice(candidate, config, found, speed, *judged, cut, wanted, hardware.is_cpu)

    choices = [_best(candidate, rows, tried) for candidate in candidates]
    places = {candidate.name: place for place, candidate in enumerate(candidates)}

    def kind(choice: Choice) -> tuple[int, float, bool, bool]:
        fits, of_method = choice.verdict != "does not fit", choice.candidate.of_method
        lacks = 0.0 if fits else choice.shortfall
        return (
            VERDICTS.index(choice.verdict),
            lacks,
            fits and not of_method,
            fits and not choice.trains_adapter,
        )

    def order(choice: Choice) -> tuple[bool, bool, int]:
        shared = choice.config.uses_zero or choice.config.launcher == "accelerate"
        return choice.config.get("train", "quantization_bit") is not None, shared, places[choice.name]

    ordered = sorted(choices, key=lambda choice: (kind(choice), choice.cost))
    alike: list[list[Choice]] = []
    for choice in ordered:
        first = alike[-1][0] if alike else None
        if first is not None and choice.cost <= first.cost * (1 + _ALIKE) and kind(choice) == kind(first):
            alike[-1].append(choice)
        else:
            alike.append([choice])
    return [choice for group in alike for choice in sorted(group, key=order)]


def speed_text(choice: Choice, choices: Sequence[Choice]) -> str:
    """Its speed beside that of the fastest one of the best verdict, in words; empty if it does not fit.

    `faster` is said of what may not fit.
    """
    if choice.verdict == "does not fit":
        return ""
    best = min((item.verdict for item in choices), key=VERDICTS.index)
    fastest = min(item.speed.per_token for item in choices if item.verdict == best)
    part = fastest / choice.speed.per_token
    return "faster" if part > 1 + _ALIKE else next(word for least, word in SPEEDS.items() if part >= least)


def _best(
    candidate: Candidate, rows: RowLengths | None, tried: Callable[[Candidate, int, int], Choice]
) -> Choice:
    """At the first cutoff_len at which it fits, else the first at which it may just fit, else at the first.

    Of batches it is the fastest that fits; of those about as fast as that its own is taken, else the
    smallest: rows of unlike length, which are padded to the longest, make a large one dearer than is reckoned
    here. Where none fits it is the smallest.
    """
    own = own_batch(candidate.config)
    sizes = batches(candidate.config, candidate.step_down is not None) if candidate.adjustable else [own]
    best = []
    for cutoff_len in _cutoffs(candidate, rows):
        found: list[Choice] = []
        for size in sizes:
            found.append(tried(candidate, cutoff_len, size))
            if found[-1].verdict == "does not fit":  # and a larger one less so
                break
        verdict = min((choice.verdict for choice in found), key=VERDICTS.index)
        good = [choice for choice in found if choice.verdict == verdict]
        fastest = min(choice.speed.per_token for choice in good)
        equal = [choice for choice in good if choice.speed.per_token <= fastest * (1 + _EQUAL)]
        chosen = min(equal, key=lambda choice: (choice.batch != own, choice.batch))
        best.append(chosen if verdict != "does not fit" else found[0])
        if verdict == "fits":
            break
    return min(best, key=lambda choice: VERDICTS.index(choice.verdict))


def _cutoffs(candidate: Candidate, rows: RowLengths | None) -> list[int]:
    """The cutoff_len that its rows need, else its own, and then shorter ones to be tried.

    Those with ZeRO on one process are not cut to fit: they are there for offloading, and their authors'
    ladder goes on by more of it.
    """
    config = candidate.config
    own = own_cutoff(config)
    if not candidate.fits_rows:
        return [own]
    wanted = own if rows is None else rows.needed(own)
    if config.uses_zero and config.processes == 1:
        return [wanted]
    return [wanted, *(length for length in _SHORTER if length < wanted)]
