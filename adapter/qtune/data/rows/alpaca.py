"""Rows with a column for each part: what LLaMA-Factory's AlpacaDatasetConverter stops at or misreads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qtune.data.attributes import Attributes
from qtune.data.flaws import Flaw


class AlpacaRows:
    """Flaws of one registration's rows that hold at every stage."""

    def __init__(self, names: Attributes) -> None:
        self._names = names

    def unconvertible(self, row: Mapping[str, Any]) -> list[Flaw]:
        """What the converter stops at."""
        names = self._names
        flaws = [
            Flaw.of("prompt-not-text", column=column)
            for column in (names.prompt, names.query)
            if column and row.get(column) and not isinstance(row[column], str)
        ]
        history = row.get(names.history) if names.history else None
        if isinstance(history, list):
            flaws += [Flaw.of(id, column=names.history) for id in _history_flaws(history)]
        if names.kto_tag and isinstance(row.get(names.kto_tag), bool):
            flaws += [] if names.response else [no_column("response")]
        elif names.ranking:
            chosen = names.chosen and row.get(names.chosen)
            if not names.chosen or (not names.rejected and isinstance(chosen, str)):
                flaws.append(no_column("rejected" if names.chosen else "chosen"))
        return list(dict.fromkeys(flaws))

    def out_of_order(self, row: Mapping[str, Any]) -> Flaw | None:
        """Why the converter leaves the messages out: never."""
        return None

    def notes(self, row: Mapping[str, Any]) -> list[Flaw]:
        """What is trained on otherwise than it looks."""
        history = row.get(self._names.history) if self._names.history else None
        if not history:
            return []
        if not isinstance(history, list):
            return [Flaw.of("history-ignored", column=self._names.history)]
        kinds = (("history-of-objects", dict), ("history-of-texts", str))
        return [
            Flaw.of(id, column=self._names.history)
            for id, kind in kinds
            if any(isinstance(pair, kind) for pair in history)
        ]


def no_column(name: str) -> Flaw:
    """For a column without which the converter stops."""
    return Flaw.of("no-column", name=name)


def _history_flaws(history: list[Any]) -> Iterator[str]:
    """The id of what is wrong with each pair that the converter stops at."""
    for pair in history:
        if not isinstance(pair, list | dict | str) or len(pair) != 2:
            yield "history-shape"
        elif isinstance(pair, list) and not all(isinstance(text, str | None) for text in pair):
            yield "history-not-text"
