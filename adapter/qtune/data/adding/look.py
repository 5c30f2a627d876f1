"""What `data add` finds out about data before it is registered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune.config.project import Project
from qtune.data.adding.detect import Proposal, propose
from qtune.data.adding.hub_data import HubData, look_at
from qtune.data.adding.named import Named
from qtune.data.adding.register import as_registration, file_name
from qtune.data.flaws import Flaw
from qtune.data.reading.head import Head, read_head
from qtune.data.rows.check import RowCheck
from qtune.data.rows.examples import Example, converter

_OUTSIDE = ("it lies outside the project: the path is a full one, which other machines may not have",)


@dataclass(frozen=True)
class Found:
    """Data that may be registered.

    entry: what to write; head and proposal: what was seen, None where there was nothing to look at;
    notes: what the user should know of it.
    """

    entry: Mapping[str, Any]
    head: Head | None = None
    proposal: Proposal | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Examined:
    """What LLaMA-Factory does with the rows that were seen.

    example: the first one that it trains on, without a flaw if there is such, None where there is none;
    flaws: what is wrong with the others, and with how many of them, the most frequent first.
    """

    example: Example | None
    flaws: Sequence[tuple[Flaw, int]]


def examine(found: Found, project: Project) -> Examined:
    """The rows of `found` as its entry has them read."""
    if found.head is None or found.proposal is None:
        return Examined(None, ())
    registration = as_registration("found", found.entry, project)
    check = RowCheck(registration, found.proposal.stage)
    seen = [(row, check.flaws(row) or check.thoughts.flaws(row)) for row in found.head.rows]
    trained_on = [(row, flaws) for row, flaws in seen if all(flaw.effect == "kept" for flaw in flaws)]
    row = next((row for row, flaws in trained_on if not flaws), trained_on[0][0] if trained_on else None)
    example = None if row is None else converter(registration)(row)
    return Examined(example, Counter(flaw for _, flaws in seen for flaw in flaws).most_common())


def find_local(path: Path, project: Project, named: Named, asked: Sequence[str]) -> Found:
    """A file or a folder of shards; named, asked: as `propose` takes them.

    A default column that the proposal does not read, but that is in the data somewhere, is switched off in
    the entry: `Registration.columns` would fill it in. Raises QtuneError where the data cannot be registered.
    """
    head = read_head(path)
    proposal = propose(head.rows, str(path), named, asked)
    entry = {"file_name": str(path.absolute()), **proposal.entry}  # data/ may be still to be made
    filled = as_registration("found", entry, project).columns()
    unread = [column for column in filled if column not in proposal.columns]
    if unread:
        entry["columns"] = {**proposal.columns, **dict.fromkeys(unread)}
    entry["file_name"] = file_name(path, project)
    outside = _OUTSIDE if Path(entry["file_name"]).is_absolute() else ()
    return Found(entry, head, proposal, (*proposal.notes, *outside))


def find_on_hub(data: HubData, named: Named, asked: Sequence[str]) -> Found:
    """A hub's data set, unseen where no file of it can be had. Raises QtuneError as `look_at` does.

    named, asked: as `propose` takes them.
    """
    path, why = look_at(data)
    if path is None:
        unseen = (
            f"columns unknown: {why}. LLaMA-Factory will read instruction, input, output: if the rows have "
            "others, add `formatting`, `columns` and `tags` to the entry"
        )
        if named.entry:
            unseen = f"whether the rows have these columns is unknown: {why}"
        return Found({**data.entry, **named.entry}, notes=(unseen,))
    head = read_head(path)
    proposal = propose(head.rows, f"{data.id}: {path.name}", named, asked)
    return Found({**data.entry, **proposal.entry}, head, proposal, proposal.notes)
