"""The rows that LLaMA-Factory trains on as a new file, the others beside it with what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from qtune.data.file_types import JSON_SUFFIXES, data_files
from qtune.data.reading.json_lines import own_lines
from qtune.data.scanning.duplicates import NEW
from qtune.data.scanning.scan import Examiner, shown
from qtune.data.sources import DataSource
from qtune.data.states import State
from qtune.errors import QtuneError
from qtune.files import write_together

_REPEATS = "says the same as an earlier row"
_EMPTY = (
    *("empty-prompt", "blank-prompt", "empty-answer", "blank-answer"),
    *("empty-good-answer", "call-empty"),
)
"""Kinds of flaws of rows that train all the same, with nothing to answer or nothing answered."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The two files that were written, and the rows in each."""

    out: Path
    rejected: Path
    kept: int
    left_out: int

    def to_plain(self) -> dict[str, Any]:
        return {
            name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()
        }


@contextmanager
def clean(
    source: DataSource,
    root: Path,
    marks: bytes,
    since: Mapping[Path, State],
    out: Path,
    progress: Callable[[int], None] = lambda size: None,
    *,
    no_empty: bool = False,
) -> Iterator[Cleaned]:
    """Write the good rows, each once, to `out`, and the others beside it as {file, line, reasons, row}.

    The files stand under their names once the block ends, and not at all where it raises.

    root: the project's; marks: of the rows, from `Duplicates`, without those of rows beyond its room; since:
    what the files were when those were made; no_empty: whether a row without a question or an answer is none
    of the good. Lines of a JSONL file stay byte for byte, but where a thought is moved to where it is read;
    other files become JSONL. Both files are written over what is there: ask `refuse_taken` first. Raises
    QtuneError where no row is good, or a file changed.
    """
    rejected = beside(out)
    kept = left_out = position = 0
    with write_together(out, rejected) as (good, bad):
        for part in Examiner(source, since):
            left, own = set(part.left), own_lines(part.block)
            lost: list[tuple[int, list[str], dict[str, Any] | None]] = [
                (line, [flaw.message], None)
                for line, flaw in part.block.flaws
                if flaw.effect != "kept" and line not in part.block.lines
            ]
            for index, line in enumerate(part.block.lines):
                reasons = [
                    flaw.message
                    for flaw in part.flaws.get(index, ())
                    if flaw.effect != "kept" or (no_empty and flaw.kind in _EMPTY)
                ]
                if index in left:
                    if position < len(marks) and marks[position] != NEW:
                        reasons = [_REPEATS]
                    elif not reasons:
                        whole = part.thoughts.mended.get(index)
                        good.write(_line(whole) if whole else own.get(line) or _line(part.block.rows[index]))
                        kept += 1
                    position += 1
                if reasons:
                    lost.append((line, reasons, part.block.rows[index]))
            for line, reasons, row in sorted(lost, key=lambda item: item[0]):
                found = {"file": shown(part.block.file, root), "line": line, "reasons": reasons, "row": row}
                bad.write(_line(found))
            left_out += len(lost)
            progress(len(part.block.text))
        if not kept:
            raise QtuneError("no row is good", where=str(source.path), fix="mend what the check found")
        for stream in (good, bad):  # what comes now may count on them: only their names are missing
            stream.flush()
            os.fsync(stream.fileno())
        yield Cleaned(out, rejected, kept, left_out)


def beside(out: Path) -> Path:
    """Where the rejected rows go."""
    return out.with_suffix(".rejected.jsonl")


def refuse_taken(source: DataSource, out: Path, *, force: bool) -> None:
    """Raises QtuneError where `out` is no JSON file, where a file to be written is one of the data's own, or
    is there already (unless `force`)."""
    if out.suffix not in JSON_SUFFIXES:
        raise QtuneError("is no name for JSON lines", where=str(out), fix=f"name it {out.stem}.jsonl")
    own = [file.resolve() for file in data_files(source.path)]
    for target in (out, beside(out)):
        if target.resolve() in own:
            fix = "name a new file: this one stays as it is"
            raise QtuneError("is the data itself", where=str(target), fix=fix)
        if target.exists() and not force:
            fix = "--force writes it anew, or name another file"
            raise QtuneError("is there already", where=str(target), fix=fix)


def _line(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, default=str, option=orjson.OPT_APPEND_NEWLINE)
