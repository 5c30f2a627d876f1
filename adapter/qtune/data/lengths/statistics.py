"""How long a dataset's rows are, what cutoff_len takes from them, and how much padding they come with."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

from qtune.config.model import model_file
from qtune.config.recurrence import recurrent_kind
from qtune.data.file_types import data_files
from qtune.data.lengths.chat import chat_for
from qtune.data.lengths.packing import greedy_knapsack, padded_tokens, round_up
from qtune.data.lengths.processors import Lengths, Processor, cutoff_of, packs, processor_for, readable
from qtune.data.lengths.tokens import load_tokenizer
from qtune.data.lengths.vision import media_tokens
from qtune.data.reading.readers import blocks
from qtune.data.registrations import Registration
from qtune.data.rows.examples import Converter, Example, converter
from qtune.data.sources import guessed_stage
from qtune.errors import QtuneError
from qtune.files import read_object
from qtune.schema import argument

COVERED = 0.99
"""The share of rows that the recommended cutoff_len leaves whole."""

MULTIPLE = 64
"""What the recommended cutoff_len is a multiple of: whole tiles of the GPU's matrix units."""

_MUCH_PADDING = 0.2
"""The share of padding from which packing is worth its price, that fewer and longer steps are made."""

_SAMPLED_ROWS = 200_000
"""So many rows, drawn evenly, stand for all when padding is worked out; a bound on memory."""

_PERCENTILES = (50, 90, 95, 99)

_PRESETS = {"sft": "lora", "dpo": "dpo", "kto": "kto", "pt": "pretrain"}
"""A built-in preset of each stage that data can be made for."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """How a number is spread over the rows; percentiles by name: p50, p90, p95, p99, max."""

    total: int
    mean: float
    percentiles: Mapping[str, int]

    @classmethod
    def of(cls, counts: Counter[int]) -> Distribution:
        """counts: rows by the number; at least one row."""
        total = sum(value * rows for value, rows in counts.items())
        percentiles = {f"p{percent}": quantile(counts, percent / 100) for percent in _PERCENTILES}
        return cls(total, total / counts.total(), {**percentiles, "max": max(counts)})

    @property
    def figures(self) -> list[str]:
        """In all, the mean, and the percentiles, as they read."""
        percentiles = (f"{value:,}" for value in self.percentiles.values())
        return [f"{self.total:,}", f"{self.mean:,.1f}", *percentiles]


@dataclass(frozen=True, slots=True)
class Padding:
    """Shares of what the model computes that are padding, from 0 to 1; None where it cannot be done.

    sequences: what packing makes of the rows.
    """

    without_packing: float
    with_packing: float | None
    sequences: int | None


@dataclass(frozen=True)
class Statistics:
    """What is said about one dataset under one config.

    rows: those trained on; left_out: those that LLaMA-Factory drops or cannot read; estimated: those whose
    tokens the library may count otherwise. turns, characters, tokens: each spread over the rows, tokens
    before anything is cut off; lengths: rows by tokens. with_media: whether those of images and videos are
    among them; uncounted: why they are not, None where there are none.
    cut: rows longer than cutoff_len; answers_cut: those of them that lose tokens to train on; labels: tokens
    trained on in one epoch; kept: all tokens that cutoff_len leaves, prompts included.
    packing: whether the config packs; longest_position: the model's max_position_embeddings, None where
    its config.json is not on this machine; recurrent: whether the model carries a state from row to row of a
    packed sequence.
    """

    name: str
    stage: str
    template: str
    tokenizer: str
    rows: int
    left_out: int
    turns: Distribution
    characters: Distribution
    tokens: Distribution
    rows_by_turns: Mapping[int, int]
    lengths: Counter[int]
    estimated: int
    with_media: bool
    uncounted: str | None
    cutoff_len: int
    cut: int
    answers_cut: int
    labels: int
    kept: int
    batch_size: int
    packing: bool
    padding: Padding
    longest_position: int | None
    recurrent: bool

    @property
    def label_share(self) -> float:
        """The part of the kept tokens that is trained on."""
        return self.labels / self.kept if self.kept else 0.0

    @property
    def recommended_cutoff_len(self) -> int | None:
        """The least multiple of 64 that leaves 99% of the rows whole, as far as the model's positions go.

        All of them where they have images or videos, since a training stops at one that is cut. None where
        not all tokens are counted.
        """
        if self.uncounted is not None:
            return None
        covered = 1.0 if self.with_media else COVERED
        wanted = round_up(max(quantile(self.lengths, covered), 1), MULTIPLE)
        if self.longest_position is None or wanted <= self.longest_position:
            return wanted
        return self.longest_position

    @property
    def recommends_packing(self) -> bool:
        """Whether packing saves much of what is computed (sft alone offers the choice)."""
        packed = self.padding.with_packing
        if self.stage != "sft" or packed is None or self.recurrent:
            return False
        return self.padding.without_packing - packed > _MUCH_PADDING

    def share_cut(self, cutoff_len: int) -> float:
        """The part of the rows that is longer than cutoff_len."""
        return sum(rows for length, rows in self.lengths.items() if length > cutoff_len) / self.rows

    def histogram(self, bins: int) -> list[tuple[int, int, int]]:
        """(first length, last length, rows) of at most so many equally wide bins; all rows are in one.

        The last bin also takes the longest 0.5% of the rows, however long they are.
        """
        end = quantile(self.lengths, 0.995)
        start = min(self.lengths)
        width = 1
        while end // width - start // width >= bins:
            width = _wider(width)
        first, count = start // width, end // width - start // width + 1
        found = [0] * count
        for length, rows in self.lengths.items():
            found[min(length // width - first, count - 1)] += rows
        edges = [(first + index) * width for index in range(count + 1)]
        last = max(max(self.lengths), edges[-1] - 1)
        ends = [*(edge - 1 for edge in edges[1:-1]), last]
        return list(zip(edges[:-1], ends, found, strict=True))

    def to_plain(self) -> dict[str, Any]:
        """As JSON values."""
        plain = asdict(self)
        lengths = plain.pop("lengths")
        return {
            **plain,
            "label_share": self.label_share,
            "recommended_cutoff_len": self.recommended_cutoff_len,
            "recommends_packing": self.recommends_packing,
            "lengths": {str(length): lengths[length] for length in sorted(lengths)},
        }


def quantile(counts: Counter[int], share: float) -> int:
    """The least value that `share` of the rows do not exceed; counts: rows by value."""
    values = sorted(counts)
    wanted = share * counts.total()
    reached = accumulate(counts[value] for value in values)
    return next(value for value, rows in zip(values, reached, strict=True) if rows >= wanted - 1e-9)


def measure(
    registration: Registration,
    train: Mapping[str, Any],
    root: Path,
    advance: Callable[[int, int], None] = lambda size, rows: None,
) -> Statistics:
    """Read every row of a local dataset once and count its tokens.

    train: LLaMA-Factory arguments; root: of the project. advance: called with the bytes and rows just read.
    Raises QtuneError where the data is not local, does not fit the stage or holds no row to train on, and
    as `chat_for`, `load_tokenizer` and `blocks` do.
    """
    path = _local_path(registration)
    stage = argument(train, "stage")
    _require_stage(registration, stage)
    chat = chat_for(train)
    tokenizer = load_tokenizer(train, chat.template, root)
    media = uncounted = None
    try:
        media = media_tokens(train, chat.template, tokenizer, registration, root)
    except QtuneError as error:
        uncounted = error.what
    processor = processor_for(train, chat, tokenizer, media)
    tally = _Tally(processor, train)
    file = model_file("config.json", train, root)
    model = read_object(file) if file is not None else {}
    for examples in example_batches(
        path, converter(registration), argument(train, "preprocessing_batch_size"), advance
    ):
        tally.add(examples)
    if not tally.rows:
        check = f"`qtune data check {registration.name}` says what is wrong with its rows"
        raise QtuneError(
            f"dataset `{registration.name}` holds no row that stage {stage} trains on",
            where=registration.origin().place,
            fix=check if guessed_stage(registration) == stage else _other_stage(registration),
        )
    padding = tally.padding()
    return Statistics(
        name=registration.name,
        stage=stage,
        template=str(train.get("template")),
        tokenizer=tokenizer.source,
        rows=tally.rows,
        left_out=tally.left_out,
        turns=Distribution.of(tally.turns),
        characters=Distribution.of(tally.characters),
        tokens=Distribution.of(tally.lengths),
        rows_by_turns=dict(sorted(tally.turns.items())),
        lengths=tally.lengths,
        estimated=tally.estimated,
        with_media=media is not None,
        uncounted=uncounted,
        cutoff_len=int(argument(train, "cutoff_len")),
        cut=tally.cut,
        answers_cut=tally.answers_cut,
        labels=tally.labels,
        kept=tally.kept,
        batch_size=tally.batch_size,
        packing=packs(train),
        padding=padding if uncounted is None else Padding(padding.without_packing, None, None),
        longest_position=longest_position(model),
        recurrent=bool(recurrent_kind(model, str(train.get("model_name_or_path")))),
    )


class _Tally:
    """What the rows add up to, in memory that does not grow with their number."""

    def __init__(self, processor: Processor, train: Mapping[str, Any]) -> None:
        self._processor = processor
        self._stage = argument(train, "stage")
        self._cutoff_len = cutoff_of(train)
        # what packing would leave room for, whether the config packs or not
        self._packed = cutoff_of({**train, "packing": True} if self._stage == "sft" else train)
        self._packing = packs(train)
        self.batch_size = int(argument(train, "per_device_train_batch_size"))
        self.rows = self.left_out = self.estimated = 0
        self.cut = self.answers_cut = self.labels = self.kept = 0
        self.turns: Counter[int] = Counter()
        self.characters: Counter[int] = Counter()
        self.lengths: Counter[int] = Counter()
        self._columns: list[array[int]] = []
        self._sequences = self._packed_tokens = 0
        self._random = random.Random(0)

    def add(self, examples: list[Example | None]) -> None:
        """One preprocessing batch, within which the library packs."""
        measured = self._processor.measure(examples)
        found = [lengths for lengths in measured if lengths is not None]
        self.left_out += len(measured) - len(found)
        for lengths in found:
            self._add_row(lengths)
        if self._stage == "sft":
            fitted = (self._processor.fit(lengths.pairs, self._packed) for lengths in found)
            kept = [length for row in fitted if (length := row.sequences[0]) <= self._packed]
            self._packed_tokens += sum(kept)
            self._sequences += len(greedy_knapsack(kept, self._packed))
        elif self._stage == "pt":
            blocks_of_text = sum(lengths.whole for lengths in found) // self._packed
            self._sequences += blocks_of_text
            self._packed_tokens += blocks_of_text * self._packed

    def _add_row(self, lengths: Lengths) -> None:
        self.rows += 1
        self.estimated += not lengths.exact
        self.turns[lengths.turns] += 1
        self.characters[lengths.characters] += 1
        self.lengths[lengths.whole] += 1
        fitted = self._processor.fit(lengths.pairs, self._cutoff_len)
        if self._stage == "pt" and self._packing:  # rows follow one another: nothing is cut
            self.labels += lengths.whole
            self.kept += lengths.whole
        else:
            self.cut += lengths.whole > self._cutoff_len
            self.answers_cut += fitted.lost > 0
            self.labels += fitted.labels
            self.kept += sum(fitted.sequences)
        self._draw(fitted.sequences)

    def _draw(self, sequences: tuple[int, ...]) -> None:
        """Keep the row among those that padding is worked out from (reservoir sampling)."""
        if not self._columns:
            self._columns = [array("I") for _ in sequences]
        place = self.rows - 1
        if place >= _SAMPLED_ROWS:
            place = self._random.randrange(self.rows)
        for column, length in zip(self._columns, sequences, strict=True):
            if place == len(column):
                column.append(length)
            elif place < len(column):
                column[place] = length

    def padding(self) -> Padding:
        order = list(range(len(self._columns[0])))
        self._random.shuffle(order)
        columns = [[column[index] for index in order] for column in self._columns]
        processor = self._processor
        padded = padded_tokens(columns, self.batch_size, processor.multiple, processor.padded_together)
        without = 1 - sum(map(sum, columns)) / padded if padded else 0.0
        if not self._sequences:
            return Padding(without, None, None)
        length = self._packed + (self._stage == "sft")  # a packed sequence ends in one token of padding
        computed = self._sequences * round_up(length, processor.multiple)
        return Padding(without, 1 - self._packed_tokens / computed, self._sequences)


def example_batches(
    path: Path, convert: Converter, size: int, advance: Callable[[int, int], None]
) -> Iterator[list[Example | None]]:
    """The rows as the library maps over them, `size` at a time; None for one that cannot be read."""
    batch: list[Example | None] = []
    for file in data_files(path):
        for block in blocks(file):
            for example in chain((readable(row, convert) for row in block.rows), (None for _ in block.flaws)):
                batch.append(example)
                if len(batch) == size:
                    yield batch
                    batch = []
            advance(len(block.text), len(block.rows))
    if batch:
        yield batch


def _local_path(registration: Registration) -> Path:
    path = registration.path
    if path is None:
        raise QtuneError(
            f"dataset `{registration.name}` lies on a hub: its rows are not on this machine",
            where=registration.origin().place,
            fix="download it, and register the file with `file_name`",
        )
    if not path.exists():
        raise QtuneError(
            f"dataset `{registration.name}`: there is no file {path}",
            where=registration.origin("file_name").place,
            fix="correct the path",
        )
    return path


def _require_stage(registration: Registration, stage: str) -> None:
    """llamafactory/data/loader.py, _get_merged_dataset"""
    ranking = bool(registration.entry.get("ranking"))
    if ranking == (stage in ("rm", "dpo")):
        return
    holds = "pairs of answers (`ranking: true`)" if ranking else "single answers, not pairs (no `ranking`)"
    raise QtuneError(
        f"dataset `{registration.name}` holds {holds}, which stage {stage} does not train on",
        where=registration.origin("ranking").place,
        fix=_other_stage(registration),
    )


def _other_stage(registration: Registration) -> str:
    stage = guessed_stage(registration)
    return (
        f"name a preset of stage {stage}: `qtune data stats {registration.name} --preset {_PRESETS[stage]}`"
    )


def longest_position(model: Mapping[str, Any]) -> int | None:
    found = model.get("max_position_embeddings")
    return found if isinstance(found, int) and found > 0 else None


def _wider(width: int) -> int:
    """The next of the widths that read well: 1, 2, 5, 10, 20, 50, …"""
    return width * 5 // 2 if str(width).startswith("2") else width * 2
