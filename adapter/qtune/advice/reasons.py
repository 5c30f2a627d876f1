"""Why a preset stands where it does in a recommendation, in one line."""

from __future__ import annotations

from collections.abc import Sequence

from qtune.advice.choices import Choice
from qtune.schema import argument
from qtune.units import size_text

_AS_FAST = 0.9  # of the first one's speed
_SLOWER = {
    "computing": "more to compute",
    "starting operations": "smaller batches",
    "DeepSpeed's bookkeeping": "DeepSpeed's own work for each batch",
    "unpacking weights": "its weights are unpacked for each batch",
    "gathering weights": "its weights are gathered for each batch",
    "weights from host memory": "its weights come from host memory for each batch",
    "weights from the disk": "its weights come from the disk for each batch",
    "gradients to host memory": "its gradients go to host memory",
    "reducing gradients": "its GPUs exchange gradients for each batch",
    "exchanging gradients": "its GPUs exchange more gradients",
    "the optimizer": "its optimizer runs on the CPU",
    "optimizer states on the disk": "its optimizer states lie on the disk",
}


def reason(choice: Choice, choices: Sequence[Choice]) -> str:
    """Why `choice` stands where it does; choices: all of them, best first."""
    first = choices[0]
    if choice.verdict == "does not fit":
        lacks = [_lack(what, *bytes_) for what, bytes_ in choice.lacking.items()]
        return "; ".join([*lacks, *_smallest(choice)])
    if choice.verdict == "tight":
        parts = ["may just fit", *(_lack(what, *bytes_) for what, bytes_ in choice.lacking.items())]
    elif choice is first:
        fastest = min(item.speed.per_token for item in choices if item.verdict == "fits")
        slower = fastest / choice.speed.per_token < _AS_FAST
        parts = ["fits, and gives up less than what is faster" if slower else "the fastest that fits"]
    else:
        parts = [_slower(choice, first)]
    return "; ".join([*parts, *_traits(choice, choices)])


def _lack(what: str, need: int, have: int) -> str:
    return f"needs up to {size_text(need)} of {what}, and there are {size_text(have)}"


def _smallest(choice: Choice) -> list[str]:
    """Where it was tried at a smaller batch, and to what its author would have one step down."""
    if not choice.is_adjusted:
        return []
    instead = choice.candidate.step_down if choice.batch > 1 else None
    return [f"even at batch {choice.batch}" + (f", below which {instead} is meant" if instead else "")]


def _slower(choice: Choice, first: Choice) -> str:
    """By what it loses the most time on the first one."""
    if first.speed.per_token / choice.speed.per_token >= _AS_FAST:
        return "about as fast"
    lost = {name: choice.speed.of(name) - first.speed.of(name) for name in choice.speed.seconds}
    return _SLOWER[max(lost, key=lost.__getitem__)]


def _traits(choice: Choice, choices: Sequence[Choice]) -> list[str]:
    """What makes it another training than its neighbours, and what was done to its batch."""
    train = choice.config.block("train")
    kind = argument(train, "finetuning_type")
    traits = []
    if kind == "full":
        traits.append("trains all weights, another training than LoRA's adapters")
    elif kind == "freeze":
        traits.append("trains some layers whole, another training than LoRA's adapters")
    if not choice.candidate.of_method:
        traits.append("its learning_rate is for another method")
    if train.get("quantization_bit") is not None:
        traits.append(f"the base in {train['quantization_bit']} bits")
    traits += _rows(choice, choices)
    largest = max(item.config.argument("lora_rank") for item in choices)
    if kind == "lora" and argument(train, "lora_rank") < largest:
        traits.append(f"rank {train.get('lora_rank', 8)}")
    if choice.is_adjusted:
        own = choice.candidate.config.argument("per_device_train_batch_size")
        why = "to fit" if choice.batch < own else "as there is room"
        traits.append(f"batch {choice.batch} instead of {own} {why}")
    return traits


def _rows(choice: Choice, choices: Sequence[Choice]) -> list[str]:
    """What it cuts of the rows, and what was done to its cutoff_len."""
    own, length = choice.candidate.config.argument("cutoff_len"), choice.cutoff_len
    traits = []
    if choice.cut:
        traits.append(f"cuts {max(choice.cut, 0.01):.0%} of the rows, at {length} tokens")
    if length != own:
        why = "to fit" if length < choice.wanted else "for the rows"
        traits.append(f"cutoff_len {length} instead of {own} {why}")
    elif choice.cut is None and length < max(item.cutoff_len for item in choices):
        traits.append(f"cuts rows at {length} tokens")
    return traits
