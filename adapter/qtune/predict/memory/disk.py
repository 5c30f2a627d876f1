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
        elif setting.zero and setting.stage < 3:
            weights += _tied_head(setting)  # accelerate/accelerator.py, get_state_dict: clones are not tied
    return weights + _TOKENIZER * model.vocab_size


def checkpoint_bytes(setting: Setting) -> int:
    """Bytes of one checkpoint: model or adapter, and what resuming needs unless `save_only_model`.

    Optimizer states as they are in memory, and what DeepSpeed writes beside them.
    """
    size = model_bytes(setting) + _SMALL
    if setting.train.get("save_only_model"):
        return size
    return size + state_bytes(setting) + (_engine_bytes(setting) if setting.zero else 0)


def _engine_bytes(setting: Setting) -> int:
    """Bytes of DeepSpeed's own files without the optimizer's states, of all processes together.

    The float32 masters, and the module's weights, of which stage 3 writes the frozen ones alone.
    Under an adapter frozen ones are left out (transformers/trainer.py, _save_optimizer_and_scheduler), but an
    output layer tied to the embeddings, whose name is none of the parameters' (deepspeed/runtime/engine.py,
    module_state_dict, save_checkpoint).
    """
    count = setting.trainable.parameters
    frozen = 0 if setting.adapter else setting.model.parameters - setting.trainable.of("weight")
    if setting.stage == 3:
        return 4 * count + setting.trained_bytes * frozen
    tied = _tied_head(setting) if setting.adapter else 0
    return 4 * count + setting.trained_bytes * (count + frozen) + tied


def _tied_head(setting: Setting) -> int:
    """Bytes of an output layer whose weight is the embedding's; 0 where it has its own."""
    model = setting.model
    return model.vocab_size * model.hidden_size * setting.trained_bytes if model.tie_word_embeddings else 0


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
