"""Rules about the batches that are made of the rows."""

from __future__ import annotations

from qtune.checks.rules.view import Rule, View
from qtune.data import token_cache
from qtune.data.batches import count_batches, rows_at_once, rows_trained_on, splits_batches
from qtune.data.reading.row_counts import count_training_rows
from qtune.units import counted


def _no_whole_batch(view: View) -> str:
    """What there is, where rows that fill no batch of all processes are dropped and none is filled."""
    if not view["do_train"] or not view["dataloader_drop_last"] or view["streaming"] or view["stage"] == "pt":
        return ""
    train, processes = dict(view.train), view.config.processes
    if token_cache.is_automatic(view.config):
        train.pop("tokenized_path", None)  # made from this data, so of as many rows
    rows = count_training_rows(train, view.registrations)
    if rows is None or splits_batches(train) is None:
        return ""
    left = rows_trained_on(train, rows)
    if count_batches(train, left, processes):
        return ""
    return (
        f"{counted(left, 'row')} to train on, and all processes take {rows_at_once(train, processes)} at once"
    )


def _cannot_be_split(view: View) -> bool:
    processes = view.config.processes
    return bool(splits_batches(view.train)) and view["per_device_train_batch_size"] % processes != 0


RULES = (
    Rule(
        "one-whole-batch",
        ("dataloader_drop_last", "per_device_train_batch_size", "launch.nproc_per_node", "val_size"),
        _no_whole_batch,
        "drops what fills no batch, and there is none: {found}",
        "set dataloader_drop_last: false, or a smaller per_device_train_batch_size",
        "torch/utils/data/sampler.py, BatchSampler; accelerate/data_loader.py, BatchSamplerShard.__len__;"
        " transformers/trainer.py, Trainer.set_initial_training_values",
    ),
    Rule(
        "batch-to-split",
        ("per_device_train_batch_size", "accelerator_config", "launch.nproc_per_node"),
        _cannot_be_split,
        "is {per_device_train_batch_size}, which `split_batches` cannot share among {processes} processes",
        "make it a multiple of {processes}, or set split_batches: false in `accelerator_config`",
        "accelerate/data_loader.py, prepare_data_loader and BatchSamplerShard.__init__",
    ),
)
