"""How long the rows of a training are, as the first of each dataset tell: enough to choose cutoff_len by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from qtune.config.model import model_file
from qtune.data.lengths.chat import chat_for
from qtune.data.lengths.packing import round_up
from qtune.data.lengths.processors import processor_for
from qtune.data.lengths.statistics import COVERED, MULTIPLE, example_batches, longest_position, quantile
from qtune.data.lengths.tokens import load_tokenizer
from qtune.data.lengths.vision import media_tokens
from qtune.data.registrations import Registration
from qtune.data.rows.examples import converter
from qtune.data.sources import is_local
from qtune.files import read_object

_BATCH = 400  # rows that are read at a time
_BATCHES = 10
"""So many of each dataset are looked at, and one where each picture is opened for its size."""

_MARGIN = 1.25
"""Over the longest row, where rows were not looked at or tokens were guessed from characters."""


@dataclass(frozen=True)
class RowLengths:
    """Rows by their tokens.

    certain: whether it is all rows, and their tokens are counted; with_media: whether those of pictures are
    among them; longest_position: the model's, None where its config.json is not on this machine.
    """

    lengths: Counter[int]
    certain: bool
    with_media: bool = False
    longest_position: int | None = None

    @property
    def longest(self) -> int:
        return max(self.lengths)

    def needed(self, cutoff_len: int) -> int:
        """The least cutoff_len, a multiple of 64, that cuts no row, where that is not above `cutoff_len`.

        Else one that leaves 99% of them whole, or all with pictures, as far as the model's positions go.
        """
        margin = 1.0 if self.certain else _MARGIN
        whole = round_up(max(int(self.longest * margin), 1), MULTIPLE)
        if whole <= cutoff_len:
            return whole
        covered = self.longest if self.with_media else quantile(self.lengths, COVERED)
        wanted = max(cutoff_len, round_up(int(covered * margin), MULTIPLE))
        return max(cutoff_len, min(wanted, self.longest_position or wanted))

    def share_cut(self, cutoff_len: int) -> float:
        """The part of the rows that is longer than cutoff_len."""
        rows = sum(rows for length, rows in self.lengths.items() if length > cutoff_len)
        return rows / self.lengths.total()


def sample_lengths(
    registrations: Sequence[Registration], train: Mapping[str, Any], root: Path
) -> RowLengths | None:
    """The lengths of the first rows of each dataset; None where one is not here or cannot be counted.

    train: LLaMA-Factory arguments; root: of the project. Raises QtuneError as `measure` does for damaged
    files.
    """
    if not registrations or not all(map(is_local, registrations)):
        return None
    chat = chat_for(train)
    tokenizer = load_tokenizer(train, chat.template, root)
    lengths: Counter[int] = Counter()
    certain, with_media = tokenizer.exact, False
    for registration in registrations:
        media = media_tokens(train, chat.template, tokenizer, registration, root)
        with_media |= media is not None
        processor = processor_for(train, chat, tokenizer, media)
        path = registration.path
        assert path is not None
        batches = example_batches(path, converter(registration), _BATCH, lambda size, rows: None)
        for examples in islice(batches, _BATCHES if media is None else 1):
            measured = processor.measure(examples)
            lengths.update(found.whole for found in measured if found is not None)
            certain &= all(found.exact for found in measured if found is not None)
        certain &= next(batches, None) is None
    file = model_file("config.json", train, root)
    position = None if file is None else longest_position(read_object(file))
    return RowLengths(lengths, certain, with_media, position) if lengths else None
