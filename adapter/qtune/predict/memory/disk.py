"""Bytes on disk: those of one checkpoint, and of all that a run keeps at once."""

from __future__ import annotations

import math

from qtune.predict.memory.optimizers import state_bytes
from qtune.predict.memory.setting import Setting
from qtune.schema import argument

_TOKENIZER = 75
"""Bytes of the tokenizer's files for each word: Qwen2.5's tokenizer.json, vocab.json and merges.txt are 11.4
MB for 151,936."""
_SMALL = 100_000  # rng, scheduler and trainer state, arguments, card


def model_bytes(setting: Setting) -> int:
    """Bytes of the model or adapter that a checkpoint holds, with the tokenizer.

    An adapter alone, or all parameters, in the dtypes they have in memory; DeepSpeed's are 16-bit there. An
    adapter of a resized vocabulary holds each embedding three times: as the base had it, trained, and trained
    under the base's own name (once, where the vocabulary had room for what was added).
    Source: transformers/trainer.py, save_model; peft/utils/save_and_load.py, get_peft_model_state_dict.
    """
    found, model = setting.trainable, setting.model
    if setting.adapter:
        weights = found.parameters * setting.trained_bytes
        if not setting.train.get("additional_target"):
            # copies of both embeddings then, for a resized vocabulary: PEFT saves all that has their names
            weights += found.of("copy") * (setting.trained_bytes + setting.weight_bytes)
    else:
        frozen = model.parameters - found.of("weight")
        weights = found.of("weight") * setting.trained_bytes + frozen * setting.weight_bytes
        if setting.stage == 3 and setting.mixed:
            weights = model.parameters * 2  # gathered as 16 bits on save
    return weights + _TOKENIZER * model.vocab_size


def checkpoint_bytes(setting: Setting) -> int:
    """Bytes of one checkpoint: model or adapter, and what resuming needs unless `save_only_model`.

    Optimizer states as they are in memory; DeepSpeed writes its shards with the float32 masters and once more
    the module's own weights (deepspeed/runtime/engine.py, save_checkpoint; frozen ones are left out for
    adapters: transformers/trainer.py, _save_optimizer_and_scheduler).
    """
    size = model_bytes(setting) + _SMALL
    if setting.train.get("save_only_model"):
        return size
    size += state_bytes(setting)
    if setting.zero:
        count = setting.trainable.parameters
        size += 4 * count + setting.trained_bytes * count
    return size


def kept_bytes(setting: Setting) -> int:
    """Bytes of the most that lies on disk at once: checkpoints, one being written, and the final model."""
    return checkpoint_bytes(setting) * checkpoints(setting) + model_bytes(setting)


def checkpoints(setting: Setting) -> int:
    """Checkpoints on disk at once: save_total_limit and the one being written, before the oldest goes.

    One more where the best is kept beside the newest. Without a limit all of the run, where save_steps is a
    share of it; else two are reckoned with. Source: transformers/trainer.py, _save_checkpoint (saved first,
    rotated then) and trainer_utils.py, sort_checkpoints.
    """
    train = setting.train
    if argument(train, "save_strategy") == "no":
        return 0
    limit, steps = train.get("save_total_limit"), argument(train, "save_steps")
    if isinstance(limit, int) and limit > 0:
        return max(limit, 2 if train.get("load_best_model_at_end") else 1) + 1
    if isinstance(steps, float) and 0 < steps < 1:
        return math.ceil(1 / steps)
    if train.get("save_strategy") == "epoch":
        return math.ceil(float(argument(train, "num_train_epochs")))
    return 2
