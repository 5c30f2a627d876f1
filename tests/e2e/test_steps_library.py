"""The number of batches is what torch's loader makes, shared among processes as accelerate does it."""

from __future__ import annotations

import itertools

from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import DataLoader

from qtune.data.batches import count_batches


def test_batches_are_those_of_the_loader() -> None:
    drawn = itertools.product(range(1, 40), (1, 2, 3, 4, 6), (1, 2, 3), (False, True), (False, True))
    for rows, batch, processes, drop_last, split in drawn:
        if split and batch % processes:
            continue
        loader = DataLoader(range(rows), batch_size=batch, drop_last=drop_last)
        shard = BatchSamplerShard(loader.batch_sampler, processes, split_batches=split)
        train = {
            "per_device_train_batch_size": batch,
            "dataloader_drop_last": drop_last,
            "accelerator_config": {"split_batches": split},
        }
        found = len(shard) if processes > 1 else len(loader)
        assert count_batches(train, rows, processes) == found, (rows, train, processes)
