"""Rows held back for evaluation: each row's content alone decides its side."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from qtune.data.file_types import data_files
from qtune.data.flaws import Flaw
from qtune.data.reading.json_lines import records
from qtune.data.registrations import CONVERSATIONS, Registration
from qtune.errors import QtuneError
from qtune.files import write_together
from qtune.schema import column_keys

TRAIN, EVAL = "train", "eval"


@dataclass(frozen=True)
class Split:
    """Two new files beside the source, and the rows in each.

    entries: their registrations by dataset name, with file names as the source's entry has its own.
    """

    train: Path
    evaluation: Path
    train_rows: int
    eval_rows: int
    entries: Mapping[str, Mapping[str, Any]]


@contextmanager
def split(
    registration: Registration, share: float, seed: int, *, name: str | None = None, force: bool = False
) -> Iterator[Split]:
    """Write the two files; they stand under their names once the block ends, and not at all where it raises.

    share: above 0 and below 1, of the rows for evaluation; a row goes there where its hash, of 64 bits,
    falls below that share of all hashes. So rows that train alike stay together, and a row keeps its side
    whatever stands around it, in whatever order.
    name: what the new files and datasets are called after, instead of the source.
    Raises QtuneError where the data is not here, a row is unreadable, a side stays empty, or a file of that
    name is there already (unless `force`).
    """
    source = _source(registration)
    base = name or (source.stem if source.is_file() else source.name)
    targets = {side: source.with_name(f"{base}_{side}.jsonl") for side in (TRAIN, EVAL)}
    for target in targets.values():
        if target == source:
            raise QtuneError(
                "is the data itself", where=str(target), fix="-n NAME calls the new files otherwise"
            )
        if target.exists() and not force:
            fix = "-n NAME calls the new files otherwise, --force replaces it"
            raise QtuneError("is there already", where=str(target), fix=fix)
    columns = _columns(registration)
    threshold, key = int(share * 2**64), str(seed).encode()
    counts = {TRAIN: 0, EVAL: 0}
    with write_together(targets[TRAIN], targets[EVAL]) as (train, evaluation):
        streams = {TRAIN: train, EVAL: evaluation}
        for record in records(source, lambda file, line, flaw: _refuse(registration, file, line, flaw)):
            side = EVAL if _hash(record.row, columns, key) < threshold else TRAIN
            streams[side].write(record.text)
            counts[side] += 1
        if not all(counts.values()):
            empty = EVAL if counts[TRAIN] else TRAIN
            raise QtuneError(
                f"no row of {sum(counts.values())} came to the {empty} side",
                where=str(source),
                fix="use another --eval share, or another --seed",
            )
        for stream in streams.values():  # what comes now may count on them: only their names are missing
            stream.flush()
            os.fsync(stream.fileno())
        yield Split(
            targets[TRAIN],
            targets[EVAL],
            counts[TRAIN],
            counts[EVAL],
            {
                f"{name or registration.name}_{side}": _entry(registration, target.name)
                for side, target in targets.items()
            },
        )


def _source(registration: Registration) -> Path:
    path = registration.path
    if path is None:
        raise QtuneError(
            f"the data of `{registration.name}` is not a file here",
            where=registration.origin().place,
            fix="download and register it; or set val_size in the preset, which splits when training",
        )
    if not path.exists() or not data_files(path):
        raise QtuneError(
            f"there is no data at {path}",
            where=registration.origin("file_name").place,
            fix="correct the path",
        )
    return path


def _columns(registration: Registration) -> tuple[str, ...]:
    """The columns that a training reads from a row."""
    given = registration.columns()
    if not given:
        wanted = (
            ("messages",) if registration.formatting in CONVERSATIONS else ("prompt", "query", "response")
        )
        given = {name: column_keys()[name].default for name in wanted}
    return tuple(sorted({str(column) for column in given.values() if column}))


def _hash(row: Mapping[str, Any], columns: tuple[str, ...], key: bytes) -> int:
    """64 bits of what is trained on, of the whole row where no column of it is; null counts as absent."""
    content = {name: row[name] for name in columns if row.get(name) is not None} or row
    text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(hashlib.blake2b(text, digest_size=8, key=key).digest(), "big")


def _refuse(registration: Registration, file: Path, line: int, flaw: Flaw) -> None:
    raise QtuneError(
        flaw.message,
        where=f"{file}:{line}",
        fix=f"{flaw.fix}; `qtune data check {registration.name}` lists all such rows",
    )


def _entry(registration: Registration, file_name: str) -> dict[str, Any]:
    """The source's entry for another file; a number of samples was meant for all of its rows."""
    entry = {key: value for key, value in registration.entry.items() if key != "num_samples"}
    return {**entry, "file_name": Path(registration.entry["file_name"]).with_name(file_name).as_posix()}
