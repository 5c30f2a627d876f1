"""A scan of datasets: every row is read once, and what is wrong is grouped and counted."""

from __future__ import annotations

import gc
import os
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from qtune import resources
from qtune.data.file_types import SUFFIXES, data_files
from qtune.data.flaws import Effect, Flaw
from qtune.data.reading.block import Block
from qtune.data.reading.column_values import Values
from qtune.data.reading.columns import ColumnTypes
from qtune.data.reading.readers import blocks, unreadable
from qtune.data.rows.check import RowCheck
from qtune.data.rows.thoughts import Thoughts
from qtune.data.scanning.duplicates import ELSEWHERE, REPEATED, Duplicates, Place
from qtune.data.sources import DataSource
from qtune.data.states import State, require_unchanged, states_of

FEW = 5
"""So many places of a group are kept where not all are asked for."""

WHOLE_FILE = 0
"""The line of what is wrong with a file itself."""

Extra = Callable[[Sequence[Any], Sequence[int]], Iterable[tuple[int, Flaw]]]
"""One more check of the rows that are trained on: (rows, their lines) to (line, flaw) pairs."""

_EFFECTS: tuple[Effect, ...] = get_args(Effect)


@dataclass(frozen=True, slots=True)
class Group:
    """All rows with one flaw.

    count: of rows, 0 where it is the dataset's and no row's; places: lines by file, the first few or all of
    them; originals: what the first few places repeat.
    """

    flaw: Flaw
    count: int
    places: Mapping[str, Sequence[int]] = field(default_factory=dict)
    originals: tuple[Place, ...] = ()

    @property
    def severity(self) -> Literal["error", "warning"]:
        """An error is what LLaMA-Factory stops at: at the latest when no row is left."""
        stops = self.flaw.effect in ("refused", "crash") or (self.flaw.effect == "dropped" and not self.count)
        return "error" if stops else "warning"


@dataclass(frozen=True, slots=True)
class Report:
    """What is wrong with one dataset, worst first.

    evaluation: whether it is an `eval_dataset`; rows: all that were read; good: those that are trained
    on; size: of its files in bytes; compared: False where there were too many rows to look for repetitions
    among all of them.
    """

    name: str
    stage: str
    evaluation: bool
    rows: int
    good: int
    size: int
    seconds: float
    compared: bool
    groups: tuple[Group, ...]

    @property
    def errors(self) -> int:
        """How many rows and other things are errors."""
        return sum(max(group.count, 1) for group in self.groups if group.severity == "error")

    @property
    def warnings(self) -> int:
        return sum(max(group.count, 1) for group in self.groups if group.severity == "warning")

    def to_plain(self) -> dict[str, Any]:
        """As JSON values, to be read back by `from_plain`."""
        groups = [
            {
                "severity": group.severity,
                **asdict(group.flaw),
                "count": group.count,
                "places": {file: list(lines) for file, lines in group.places.items()},
                "originals": [asdict(place) for place in group.originals],
            }
            for group in self.groups
        ]
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {**plain, "seconds": round(self.seconds, 3), "groups": groups}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Report:
        """Raises KeyError or TypeError where `to_plain` did not make it."""
        groups = tuple(
            Group(
                Flaw(group["kind"], group["effect"], group["message"], group["fix"]),
                group["count"],
                group["places"],
                tuple(Place(**place) for place in group["originals"]),
            )
            for group in plain["groups"]
        )
        return cls(**{**plain, "groups": groups})


@dataclass(frozen=True, slots=True)
class ExaminedBlock:
    """Some consecutive rows of one file, and what is wrong with them, by the row's index in the block.

    wanted: so many rows from the first are within `most_rows`; thoughts: of those that are trained on.
    """

    block: Block
    flaws: Mapping[int, Sequence[Flaw]]
    wanted: int
    thoughts: Thoughts

    @property
    def left(self) -> Sequence[int]:
        """The indexes of the rows that are trained on: LLaMA-Factory neither stops at them nor drops them."""
        lost = {index for index, found in self.flaws.items() if any(flaw.effect != "kept" for flaw in found)}
        if not lost:
            return range(self.wanted)
        return [index for index in range(self.wanted) if index not in lost]


class Examiner:
    """Examines the rows of one dataset, block after block.

    since: what its files were, where they were looked at before.
    """

    def __init__(self, source: DataSource, since: Mapping[Path, State] | None = None) -> None:
        self._path = source.path
        self._states = states_of(source.path) if since is None else since
        self.check = RowCheck(
            source.registration,
            source.stage,
            source.media_directory,
            source.template,
            last_alone=source.last_alone,
            control_words=source.control_words,
        )
        self._files = [file for file in data_files(source.path) if file.suffix in SUFFIXES]
        self._types = ColumnTypes(source.registration)
        self._unread = source.most_rows

    def __iter__(self) -> Iterator[ExaminedBlock]:
        """Raises what `blocks` raises, and QtuneError where a file changes meanwhile."""
        try:
            for file in self._files:
                for block in blocks(file):
                    yield self._examine(block)
        except Exception:
            require_unchanged(self._path, self._states)  # else what it met half-way
            raise
        require_unchanged(self._path, self._states)

    @property
    def size(self) -> int:
        """Of all its files, in bytes."""
        return sum(size for size, *_ in self._states.values())

    def conclusions(self) -> Sequence[Flaw]:
        """What is wrong with the dataset as a whole; ask when all its rows were examined."""
        return [*self._types.conclusions(), *self.check.conclusions()]

    def _examine(self, block: Block) -> ExaminedBlock:
        rows = block.rows
        if self._unread is not None:  # the library reads the whole file, and then converts max_samples rows
            rows = rows[: self._unread]
            self._unread -= len(rows)
        flaws = {index: [*found] for index, found in enumerate(map(self.check.flaws, rows)) if found}
        if self.check.suspects(block):
            for index, row in enumerate(rows):
                if found := self.check.text_flaws(row):
                    flaws.setdefault(index, []).extend(found)
        for index, flaw in self._types.flaws(block):
            flaws.setdefault(index, []).append(flaw)
        part = ExaminedBlock(block, flaws, len(rows), Thoughts({}, {}))
        return replace(part, thoughts=self.check.thoughts.examine(rows, part.left, self._types.keys))


class _Tallies:
    """The flaws of one dataset, grouped and counted while it is read."""

    def __init__(self, every: bool) -> None:
        self._few = None if every else FEW
        self._counts: dict[Flaw, int] = {}
        self._places: dict[Flaw, dict[str, array[int]]] = {}
        self._originals: dict[Flaw, tuple[Place, ...]] = {}
        self.judgements: set[bool] = set()
        """The labels of the rows that are trained on at stage kto."""

    def add(self, flaw: Flaw, file: str, line: int) -> None:
        count = self._counts[flaw] = self._counts.get(flaw, 0) + 1
        if self._few is None or count <= self._few:
            self._places.setdefault(flaw, {}).setdefault(file, array("Q")).append(line)

    def add_all(self, flaw: Flaw, file: str, lines: Sequence[int]) -> None:
        """`add`, for many rows at once."""
        count = self._counts.get(flaw, 0)
        self._counts[flaw] = count + len(lines)
        if kept := lines if self._few is None else lines[: max(self._few - count, 0)]:
            self._places.setdefault(flaw, {}).setdefault(file, array("Q")).extend(kept)

    def reword(self, wording: Callable[[Flaw, int], Flaw]) -> None:
        """Tell each flaw as `wording` does, which is given how many rows have it."""
        for flaw, count in [*self._counts.items()]:
            if (said := wording(flaw, count)) != flaw:
                self._counts[said] = self._counts.pop(flaw)
                self._places[said] = self._places.pop(flaw)

    def conclude(self, flaw: Flaw) -> None:
        """Something wrong with the whole dataset."""
        self._counts[flaw] = 0

    def add_repetitions(self, flaw: Flaw, known: Duplicates, dataset: int, mark: int) -> None:
        for place in known.marked(dataset, mark):
            self.add(flaw, place.file, place.line)
        self._originals[flaw] = tuple(islice(known.originals(dataset, mark), FEW))

    def groups(self) -> tuple[Group, ...]:
        """Worst first."""
        ordered = sorted(self._counts.items(), key=lambda item: (_EFFECTS.index(item[0].effect), -item[1]))
        return tuple(
            Group(flaw, count, self._places.get(flaw, {}), self._originals.get(flaw, ()))
            for flaw, count in ordered
        )


def scan(
    sources: Sequence[DataSource],
    root: Path,
    *,
    every: bool = False,
    duplicates: Duplicates | None = None,
    extra: Callable[[DataSource], Extra | None] = lambda source: None,
    progress: Callable[[int], None] = lambda size: None,
) -> list[Report]:
    """A report on each dataset, in their order; those given together are searched for rows that they share.

    root: the project's, from where displayed paths start; every: keep the place of each flaw, not of a few;
    duplicates: an empty one, by a caller who goes on with what it then knows; extra: a dataset's further
    check, None where it has none; progress: called with the bytes of each part that was read. Takes
    constant memory but for what `Duplicates` takes, and 8 bytes for each place that is kept. Raises
    QtuneError and OSError as `readers.blocks` does.
    """
    known = duplicates or Duplicates()
    ordered = sorted(sources, key=lambda source: source.evaluation)  # leaked is what training had before
    reads = []
    with _uncollected():
        for source in ordered:
            known.begin_dataset()
            reads.append(_read(source, root, _Tallies(every), known, extra(source), progress))
    judging = [tallies for source, (_, tallies) in zip(ordered, reads, strict=True) if not source.evaluation]
    if len(judged := set().union(*(tallies.judgements for tallies in judging))) == 1:
        for tallies in judging:
            if tallies.judgements:
                tallies.conclude(_one_judgement(*judged))
    reports = {}
    for number, (source, (report, tallies)) in enumerate(zip(ordered, reads, strict=True)):
        elsewhere = Flaw.of("leakage" if source.evaluation else "duplicate-elsewhere")
        repeated = Flaw.of("duplicate", name=source.registration.name)
        for flaw, mark in ((repeated, REPEATED), (elsewhere, ELSEWHERE)):
            tallies.add_repetitions(flaw, known, number, mark)
        reports[id(source)] = replace(report, compared=known.complete, groups=tallies.groups())
    return [reports[id(source)] for source in sources]


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of cycles: rows have none, and looking for them takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _read(
    source: DataSource,
    root: Path,
    tallies: _Tallies,
    known: Duplicates,
    extra: Extra | None,
    progress: Callable[[int], None],
) -> tuple[Report, _Tallies]:
    """One dataset by itself."""
    begun = time.perf_counter()
    rows = good = 0
    label = source.registration.columns().get("kto_tag") if source.stage == "kto" else None
    examiner = Examiner(source)
    for path, flaw in unreadable(source.path):
        tallies.add(flaw, shown(path, root), WHOLE_FILE)
    for part in examiner:
        block, left = part.block, part.left
        file = shown(block.file, root)
        for line, flaw in block.flaws:
            tallies.add(flaw, file, line)
        for index, found in part.flaws.items():
            for flaw in found:
                tallies.add(flaw, file, block.lines[index])
        kept, lines = block.values, block.lines
        for flaw, indexes in part.thoughts.flaws.items():
            tallies.add_all(flaw, file, [block.lines[index] for index in indexes])
        if len(left) < len(lines):
            kept, lines = Values([block.rows[index] for index in left]), [lines[index] for index in left]
        said, mended = kept, part.thoughts.mended
        if mended:  # rows that differ in their thoughts alone are different ones
            said = Values([mended.get(index, block.rows[index]) for index in left])
        known.add(file, lines, examiner.check.contents(said))
        if label is not None:
            tallies.judgements.update(row[label] for row in kept.all)
        if extra is not None:
            for line, flaw in extra(kept.all, lines):
                tallies.add(flaw, file, line)
        rows += len(block.rows)
        good += len(left)
        progress(len(block.text))
    tallies.reword(lambda flaw, count: examiner.check.thoughts.counted(flaw, count, good))
    for flaw in examiner.conclusions():
        tallies.conclude(flaw)
    if not good and all(group.severity == "warning" for group in tallies.groups()):
        tallies.conclude(Flaw.of("none-left"))
    seconds = time.perf_counter() - begun
    name = source.registration.name
    return Report(
        name, source.stage, source.evaluation, rows, good, examiner.size, seconds, True, ()
    ), tallies


def _one_judgement(good: bool) -> Flaw:
    """For training data of stage kto that has no others.

    The loss raises the probability of good answers, as far as that of all, and lowers that of bad ones
    (trl/trainer/kto_trainer.py, kto_loss).
    """
    judged, other = ("good", "bad") if good else ("bad", "good")
    return Flaw.of(
        "one-judgement",
        judged=judged,
        other=other,
        instead="; or train on these in stage sft" if good else ": from bad ones alone it only unlearns",
    )


def shown(file: Path, root: Path) -> str:
    """A data file as messages name it."""
    return resources.display(Path(os.path.normpath(file)), root)
