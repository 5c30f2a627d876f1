"""`rows_agree.py MODEL DRAWN SEED ANSWERS`: qtune's verdicts beside the library's, row by row."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from pictures import cut_picture, picture
from row_cases import CASES, CUT, PICTURE, Case, registration
from rows_drawn import drawn
from rows_verdicts import Library

from qtune.data.reading.column_values import Values
from qtune.data.rows.check import RowCheck
from qtune.data.rows.examples import converter

_EFFECTS = ("refused", "crash", "dropped")


def disagreements(library: Library, cases: Iterable[Case], media: Path, counts: Counter[str]) -> list[str]:
    """One line for each case that qtune and the library judge or convert differently.

    counts: is told the library's verdicts. A row that Arrow refuses has types of its own within itself, which
    is not the row check's matter (tests/e2e/test_columns_library.py); it must not fail on it all the same.
    """

    @cache
    def check(name: str, stage: str) -> RowCheck:
        return RowCheck(registration(name), stage, media)

    found = []
    for case in cases:
        verdict, read, converted = library.verdict(registration(case.registration), case.stage, case.row)
        counts[verdict.split()[0]] += 1
        judge = check(case.registration, case.stage)
        flaws = judge.flaws(case.row)
        judge.contents(Values([case.row])), judge.text_flaws(case.row)
        effects = {flaw.effect for flaw in flaws}
        worst = next((effect for effect in _EFFECTS if effect in effects), "accepted")
        if isinstance(case.row, dict) and verdict.startswith("refused"):
            continue
        if verdict.split()[0] != worst:
            kinds = {flaw.kind: flaw.effect for flaw in flaws}
            found.append(f"{case.registration} {case.stage} {case.row}: {verdict}; qtune: {kinds}")
        elif worst == "accepted":
            mine, theirs = _sample(case.registration, read), _plain(converted)
            if mine != theirs:
                found.append(f"{case.registration} {case.stage} {case.row}: {theirs}; qtune: {mine}")
    return found


_converter = cache(lambda name: converter(registration(name)))


def _sample(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return asdict(_converter(name)(row))


def _plain(converted: Mapping[str, Any]) -> dict[str, Any]:
    """The library's sample, with nothing where there is nothing, and media by their names in the row."""
    texts = {name: converted[f"_{name}"] or "" for name in ("system", "tools")}
    media = {name: _named(converted[f"_{name}"] or []) for name in ("images", "videos", "audios")}
    return {"prompt": converted["_prompt"], "response": converted["_response"], **texts, **media}


def _named(entries: list[Any]) -> list[Any]:
    return [
        _named(entry) if isinstance(entry, list) else PICTURE if str(entry).endswith(PICTURE) else entry
        for entry in entries
    ]


def main(model: str, count: str, seed: str, answers: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        media = Path(directory)
        picture(media / PICTURE)
        cut_picture(media / CUT)
        library = Library(model, media)
        told = {}
        for name, cases in (("hand", CASES), ("drawn", drawn(int(count), int(seed)))):
            counts: Counter[str] = Counter()
            told[name] = {"disagree": disagreements(library, cases, media, counts), "counts": counts}
    Path(answers).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
