"""Batches of packed sequences, of which LLaMA-Factory takes one at a time with FlashAttention 2."""

from __future__ import annotations

from collections.abc import Mapping

from qtune.importing.parts import Translation, noted
from qtune.values import Value

_BATCH, _STEPS, _EVAL = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "per_device_eval_batch_size",
)


def one_at_a_time(train: Mapping[str, Value]) -> tuple[dict[str, Value], Translation]:
    """(batches of one with as many more steps to accumulate, a note of it): a step takes the same rows.

    Source: llamafactory/data/collator.py, which refuses more with `neat_packing` and fa2.
    """
    plain = {name: value.value for name, value in train.items()}
    batch, steps = plain.get(_BATCH), plain.get(_STEPS)
    if not plain.get("neat_packing") or plain.get("flash_attn") != "fa2":
        return {}, Translation()
    changed: dict[str, Value] = {}
    if isinstance(batch, int) and isinstance(steps, int) and batch > 1:
        origin = train[_BATCH].origin
        changed = {_BATCH: Value(1, origin), _STEPS: Value(batch * steps, origin)}
    if isinstance(plain.get(_EVAL), int) and plain[_EVAL] > 1:
        changed[_EVAL] = Value(1, train[_EVAL].origin)
    if not changed:
        return {}, Translation()
    words = ", ".join(f"`{name}: {value.value}`" for name, value in changed.items())
    first = next(iter(changed))
    message = f"{words}: with fa2 LLaMA-Factory takes one packed sequence at a time"
    return changed, noted(first, message, changed[first].origin)
