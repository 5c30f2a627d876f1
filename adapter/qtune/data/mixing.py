"""How many rows several datasets make together."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_DRAWS = 20_000_000
_DRAWN_AT_ONCE = 1000


def mixed_rows(
    lengths: Sequence[int], strategy: str, probabilities: Sequence[float] | None, seed: int
) -> int | None:
    """The rows of datasets of these lengths, mixed by `mix_strategy`.

    probabilities: `interleave_probs`. None where random draws decide and numpy is not installed, or they
    would take longer than a look ahead may.
    Sources: llamafactory/data/data_utils.py, merge_dataset; datasets/arrow_dataset.py,
    _interleave_map_style_datasets.
    """
    if len(lengths) == 1 or strategy == "concat":
        return sum(lengths)
    if probabilities is None:
        return len(lengths) * (max(lengths) if strategy == "interleave_over" else min(lengths))
    return _drawn_rows(lengths, strategy == "interleave_over", probabilities, seed)


def _drawn_rows(lengths: Sequence[int], over: bool, probabilities: Sequence[float], seed: int) -> int | None:
    """The draws until one dataset, or with `over` each of them, has been gone through."""
    try:
        import numpy
    except ImportError:
        return None
    # the library's own generator and size of draws, so that the same numbers come
    generator = numpy.random.default_rng(seed)
    left = numpy.array(lengths)
    for done in range(0, _MOST_DRAWS, _DRAWN_AT_ONCE):
        drawn = generator.choice(len(lengths), size=_DRAWN_AT_ONCE, p=probabilities)
        counts = numpy.bincount(drawn, minlength=len(lengths))
        through = left <= counts
        if through.all() if over else through.any():
            ends = [
                numpy.flatnonzero(drawn == index)[left[index] - 1] if left[index] > 0 else -1
                for index in numpy.flatnonzero(through)
            ]
            return done + int(max(ends) if over else min(ends)) + 1
        left = left - counts
    return None
