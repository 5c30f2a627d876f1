"""What follows when memory ran out: the next smaller way to train the same, with the same effective batch.

First half the batch, with accumulation doubled, down to one; then along the preset's `step_down`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from qtune.advice.choices import ACCUMULATION, BATCH, batches, with_batch
from qtune.doctor import readiness
from qtune.errors import QtuneError
from qtune.failures.words import Phase
from qtune.predict.memory.estimate import Place
from qtune.prepare import pipeline, records, renderings
from qtune.prepare.pipeline import Prepared
from qtune.runs.checkpoints import Checkpoint, checkpoints, newest, set_aside, verified
from qtune.runs.record import Run
from qtune.units import size_text
from qtune.values import Config, KeyPath, Layer, Origin, Value

_EVALUATION: KeyPath = ("train", "per_device_eval_batch_size")
_LAYER = "on-oom"
_BIGGEST = 3  # parts of an estimate
# What may change without a change of which tensors are trained, of their optimizer, or of the rows' order.
_SAME_TRAINING = {
    BATCH,
    ACCUMULATION,
    _EVALUATION,
    ("train", "disable_gradient_checkpointing"),
    ("train", "quantization_bit"),
    ("train", "quantization_method"),
    ("train", "quantization_type"),
    ("train", "double_quantization"),
}


@dataclass(frozen=True)
class Step:
    """What is tried next.

    changes: of the recorded config, by key, all that hold then; prepared: with them.
    text: what is different, in words; continues: whether the checkpoints so far can be gone on with.
    """

    prepared: Prepared
    changes: Mapping[str, Any]
    text: str
    continues: bool


def after(run: Run, prepared: Prepared, phase: Phase) -> Step | None:
    """What to try after memory ran out with `prepared`, None where nothing smaller is known.

    Nor where each node was started by hand: the others would not follow.
    phase: what the trainer was at: in an evaluation its batch is made smaller, before the first step no
    batch matters.
    """
    if prepared.config.nodes_by_hand:
        return None
    smaller = None
    if phase != "before":
        smaller = (_evaluation_halved if phase == "evaluating" else _halved)(prepared.config)
    if smaller is not None:
        config, text = smaller
        changes = {**run.changes, **_differences(prepared.config, config)}
        return _step(run, prepared, changes, text)
    tried = [attempt["changes"] for attempt in run.attempts]
    for name, config in _chain(run, prepared):
        changes = _differences(_recorded(run, prepared), config)
        if changes in tried:
            continue
        step = _step(run, prepared, changes, f"preset {name}, {_batch_of(config)}")
        if step is not None:
            return step
    return None


def explained(prepared: Prepared, on_gpu: bool) -> str:
    """What takes the most memory, as estimated; empty where nothing tells."""
    found = readiness.estimated(prepared)
    if found is None:
        return ""
    where: Place = "gpu" if on_gpu and not prepared.hardware.is_cpu else "host"
    parts = sorted(found.of(where).items(), key=lambda part: part[1], reverse=True)[:_BIGGEST]
    listed = ", ".join(f"{name} {size_text(size)}" for name, size in parts)
    total = (found.gpu if where == "gpu" else found.host).expected
    return f"the estimate is {size_text(total)}, most of it {listed}"


def take(step: Step, run: Run) -> Checkpoint | None:
    """The checkpoint that the step goes on from; those that it cannot are set aside, never deleted."""
    found, broken = newest(run.directory, step.prepared.config) if step.continues else (None, [])
    if not step.continues:
        broken = list(verified(run.directory, step.prepared.config))
    for checkpoint in broken:
        set_aside(checkpoint)
    return found


def _halved(config: Config) -> tuple[Config, str] | None:
    """Half the batch, or the next smaller one that keeps the product with accumulation."""
    own = _batch(config)
    sizes = [size for size in batches(config, gives_way=False) if size <= own // 2]
    if not sizes:
        return None
    smaller = with_batch(config, max(sizes))
    return smaller, f"{_batch_of(smaller)}, for {_batch_of(config)}"


def _evaluation_halved(config: Config) -> tuple[Config, str] | None:
    own = int(config.get(*_EVALUATION, default=8))
    if own < 2:
        return None
    smaller = replace(config, values={**config.values, _EVALUATION: Value(own // 2, Origin(_LAYER))})
    return smaller, f"per_device_eval_batch_size {own // 2}, for {own}"


def _chain(run: Run, prepared: Prepared) -> Iterator[tuple[str, Config]]:
    """The presets down from the recorded one, each as it would train this with the same effective batch."""
    recorded = _recorded(run, prepared)
    project, store = prepared.project, prepared.project.store
    named = [layer.name for layer in recorded.layers if layer.file and store.knows(layer.name)]
    name, seen, options = named[-1] if named else None, set[str](), _options(recorded)
    while name is not None and name not in seen:
        seen.add(name)
        try:
            config = pipeline.resolve(name, project, prepared.hardware, [Layer("options", options)])
            following = store.load(name).step_down
        except QtuneError:
            return
        if len(seen) == 1:
            # what an option removed has left no other trace
            removed = [path for path in config.values if path not in recorded.values]
            options |= {path: Value(None, Origin(_LAYER)) for path in removed}
        else:
            yield name, _with_batches(config, recorded, prepared.config)
        name = following


def _options(config: Config) -> dict[KeyPath, Value]:
    """The values that were given for this training alone, but for those that a step changes."""
    return {
        path: value
        for path, value in config.values.items()
        if renderings.is_by_hand(value) and path not in (BATCH, ACCUMULATION)
    }


def _with_batches(config: Config, recorded: Config, last: Config) -> Config:
    """With the recorded effective batch, at its own batch or the next smaller one that goes with that.

    No batch is larger than the recorded one, and none of evaluations than the last one.
    """
    product = max(1, _batch(recorded) * _accumulation(recorded) * recorded.processes // config.processes)
    own = min(_batch(config), _batch(recorded), product)
    batch = next(size for size in range(own, 0, -1) if product % size == 0)
    evaluated = min(int(found.get(*_EVALUATION, default=8)) for found in (config, last))
    changed = {BATCH: batch, ACCUMULATION: product // batch, _EVALUATION: evaluated}
    values = {path: Value(value, Origin(_LAYER)) for path, value in changed.items()}
    return replace(config, values={**config.values, **values})


def _step(run: Run, prepared: Prepared, changes: Mapping[str, Any], text: str) -> Step | None:
    """The step with these changes of the recorded config; None where it cannot be trained."""
    values = {tuple(key.split(".")): Value(value, Origin(_LAYER)) for key, value in changes.items()}
    made = records.read_record(prepared.project, run.directory, [Layer(_LAYER, values)])
    different = _differences(prepared.config, made.config)
    continues = {tuple(key.split(".")) for key in different} <= _SAME_TRAINING
    if made.errors:
        return None
    if not continues and checkpoints(run.directory):
        text += ", from the beginning; its checkpoints, which do not fit, are set aside"
    return Step(made, changes, text, continues)


def _recorded(run: Run, prepared: Prepared) -> Config:
    return records.read_record(prepared.project, run.directory).config


def _differences(before: Config, after: Config) -> dict[str, Any]:
    """What `after` has otherwise, by key; None for what it lacks."""
    paths = dict.fromkeys([*before.values, *after.values])
    found = {path: (before.get(*path), after.get(*path)) for path in paths}
    return {".".join(path): new for path, (old, new) in found.items() if old != new}


def _batch(config: Config) -> int:
    return int(config.get(*BATCH, default=8))


def _accumulation(config: Config) -> int:
    return int(config.get(*ACCUMULATION, default=1))


def _batch_of(config: Config) -> str:
    return f"batch {_batch(config)} x accumulation {_accumulation(config)}"
