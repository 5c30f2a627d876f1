"""Remedies for a training that does not fit: each is tried on the estimate before it is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from qtune.advice.choices import Choice, changed
from qtune.advice.recommend import Estimator, Room, judge
from qtune.machine.cards import sizes
from qtune.machine.hardware import Hardware
from qtune.predict.models.shapes import Model
from qtune.units import size_text
from qtune.values import Config

_SHORTEST = 256  # tokens; below it few conversations are left whole
_GPUS = (2, 4, 8)  # of one machine
_FOUR_BITS = {"quantization_method": "bnb", "quantization_bit": 4}


@dataclass(frozen=True)
class Remedy:
    """In words, and as `--set` takes it: empty where it is other hardware that helps."""

    text: str
    settings: tuple[str, ...] = ()


def remedies(
    choice: Choice, model: Model, hardware: Hardware, room: Room, estimate: Estimator
) -> list[Remedy]:
    """Each is enough by itself; none where only less would do than anybody sells or trains on."""
    return [
        *_by_settings(choice.config, model, hardware, room, estimate),
        *_by_hardware(choice, hardware, room, estimate),
    ]


def _by_settings(
    config: Config, model: Model, hardware: Hardware, room: Room, estimate: Estimator
) -> list[Remedy]:
    def fits(settings: Mapping[str, Any]) -> bool:
        tried = changed(config, {("train", key): value for key, value in settings.items()})
        return judge(estimate(tried, hardware), hardware, room)[0] == "fits"

    def shortened(settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """With the longest cutoff_len that fits of the given one's half, quarter, …"""
        length = int(config.argument("cutoff_len")) // 2
        while length >= _SHORTEST:
            if fits({**settings, "cutoff_len": length}):
                return {**settings, "cutoff_len": length}
            length //= 2
        return None

    found = [shortened({})]
    if _can_quantize(config, model):
        found.append(_FOUR_BITS if fits(_FOUR_BITS) else None)
        if not any(found):
            found.append(shortened(_FOUR_BITS))
    return [_remedy(settings) for settings in found if settings]


def _by_hardware(choice: Choice, hardware: Hardware, room: Room, estimate: Estimator) -> list[Remedy]:
    found = [
        Remedy(f"{size_text(need - have)} more of free {what}")
        for what, (need, have) in choice.lacking.items()
        if what != "GPU memory"
    ]
    if "GPU memory" in choice.lacking:
        beside = Room()  # what the host lacks is said above
        for gpu in sizes(hardware.gpu_memory_gb):
            larger = replace(hardware, gpu_memory_gb=gpu.memory, card=f"{gpu.sold:g}GB")
            if judge(estimate(choice.config, larger), larger, beside)[0] == "fits":
                what = "GPUs" if hardware.gpus > 1 else "a GPU"
                found.append(Remedy(f"{what} of {larger.gpu} ({size_text(larger.gpu_memory)})"))
                break
        for count in (count for count in _GPUS if count > hardware.gpus):
            more = replace(hardware, gpus=count)
            config = changed(choice.config, {("launch", "nproc_per_node"): count})
            if judge(estimate(config, more), more, beside)[0] == "fits":
                found.append(Remedy(f"{count} GPUs of {hardware.gpu} ({size_text(hardware.gpu_memory)})"))
                break
    return found


def _can_quantize(config: Config, model: Model) -> bool:
    adapters = config.argument("finetuning_type") == "lora"
    return adapters and config.get("train", "quantization_bit") is None and model.quantization is None


def _remedy(settings: Mapping[str, Any]) -> Remedy:
    words = [f"rows cut at {settings['cutoff_len']} tokens"] if "cutoff_len" in settings else []
    words += ["the base in 4 bits"] if "quantization_bit" in settings else []
    return Remedy(" and ".join(words), tuple(f"{key}={value}" for key, value in settings.items()))
