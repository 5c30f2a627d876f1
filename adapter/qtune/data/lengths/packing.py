"""How much of what a model computes is padding."""

from __future__ import annotations

import bisect
from collections.abc import Sequence


def greedy_knapsack(lengths: list[int], capacity: int) -> list[list[int]]:
    """The lengths that share a sequence of `capacity` tokens (data/processor/processor_utils.py).

    Sorts and empties `lengths`.
    """
    lengths.sort()
    knapsacks = []
    while lengths:
        knapsack: list[int] = []
        room = capacity
        while (index := bisect.bisect(lengths, room)) > 0:
            length = lengths.pop(index - 1)
            room -= length
            knapsack.append(length)
        knapsacks.append(knapsack)
    return knapsacks


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def padded_tokens(columns: Sequence[Sequence[int]], batch_size: int, multiple: int, together: bool) -> int:
    """Tokens after padding each batch to its longest sequence, rounded up to `multiple`.

    columns: the lengths of the rows' sequences in the order of training, one column a sequence of a row;
    together: whether a row's sequences lie in one batch. Source: llamafactory/data/collator.py.
    """
    total = 0
    for start in range(0, len(columns[0]), batch_size):
        batch = [column[start : start + batch_size] for column in columns]
        longest = [max(lengths) for lengths in batch]
        if together:
            longest = [max(longest)] * len(longest)
        total += sum(round_up(length, multiple) for length in longest) * len(batch[0])
    return total
