"""Rows with a column for each part: what LLaMA-Factory's AlpacaDatasetConverter stops at or misreads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.data.attributes import Attributes
from qtune.data.flaws import Flaw

_PAIRS = 'write pairs of texts: [["question", "answer"], …]'


class AlpacaRows:
    """Flaws of one registration's rows that hold at every stage."""

    def __init__(self, names: Attributes) -> None:
        self._names = names

    def unconvertible(self, row: Mapping[str, Any]) -> list[Flaw]:
        """What the converter stops at."""
        names = self._names
        flaws = [
            Flaw("prompt-not-text", "crash", f"`{column}` is not text", "write it as text")
            for column in (names.prompt, names.query)
            if column and row.get(column) and not isinstance(row[column], str)
        ]
        history = row.get(names.history) if names.history else None
        if isinstance(history, list):
            flaws += _history(f"`{names.history}`", history)
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
        column = f"`{self._names.history}`"
        if not isinstance(history, list):
            return [Flaw("history-ignored", "kept", f"{column} is not a list, and is left out", _PAIRS)]
        flaws = []
        if any(isinstance(pair, dict) for pair in history):
            message = f"{column} holds objects: trained on their two keys, not on their values"
            flaws.append(Flaw("history-misread", "kept", message, _PAIRS))
        if any(isinstance(pair, str) for pair in history):
            message = f"{column} holds texts: trained on their two letters as question and answer"
            flaws.append(Flaw("history-misread", "kept", message, _PAIRS))
        return flaws


def no_column(name: str) -> Flaw:
    """For a column without which the converter stops."""
    message = f"no `{name}` column is registered"
    return Flaw("no-column", "crash", message, f"say which it is: columns: {{{name}: …}}")


def _history(column: str, history: list[Any]) -> list[Flaw]:
    flaws = []
    for pair in history:
        if not isinstance(pair, list | dict | str) or len(pair) != 2:
            flaws.append(Flaw("history-shape", "crash", f"{column} does not hold pairs", _PAIRS))
        elif isinstance(pair, list) and not all(isinstance(text, str | None) for text in pair):
            flaws.append(Flaw("history-not-text", "crash", f"{column} holds what is not text", _PAIRS))
    return flaws
