"""How many rows datasets of local files have, as a check of them counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from qtune.data.file_types import JSON_SUFFIXES
from qtune.data.mixing import mixed_rows
from qtune.data.opening import DAMAGED, open_data
from qtune.data.registrations import Registration, names_in
from qtune.errors import QtuneError
from qtune.schema import argument

_READ_BYTES = {suffix: 1 << 28 for suffix in JSON_SUFFIXES}
_OTHERS_BYTES = 1 << 26
"""Of files that are read for their rows, in about a second."""


def count_rows(files: Sequence[Path]) -> int | None:
    """The rows that can be read of a dataset's files, None where there is no file or one cannot be counted.

    A large file is not read: its rows are the lines of JSON that are not blank, or what Parquet says of
    itself; others have none that could be told, as have files whose package is not installed.
    """
    counts = [_rows_of(file) for file in files]
    return sum(count for count in counts if count is not None) if counts and None not in counts else None


def _rows_of(file: Path) -> int | None:
    from qtune.data.reading.readers import blocks  # and with it every kind of file

    try:
        if file.stat().st_size <= _READ_BYTES.get(file.suffix, _OTHERS_BYTES):
            return sum(len(block.rows) for block in blocks(file))
        return _told_by(file)
    except (QtuneError, OSError):
        return None


def _told_by(file: Path) -> int | None:
    """The rows of a file without reading them; None where it is one array, damaged, or of another kind."""
    if file.suffix == ".parquet":
        with suppress(ImportError, ValueError, OSError):
            import pyarrow.parquet

            return int(pyarrow.parquet.read_metadata(file).num_rows)
    if file.suffix not in JSON_SUFFIXES:
        return None
    with suppress(*DAMAGED), open_data(file) as stream:
        if stream.read(64).lstrip(b" \t\r\n\xef\xbb\xbf")[:1] != b"[":
            stream.seek(0)
            return sum(not line.isspace() for line in stream)
    return None


def count_training_rows(train: Mapping[str, Any], registrations: Mapping[str, Registration]) -> int | None:
    """The rows that the library loads for `dataset`, None where that cannot be told from local files.

    train: LLaMA-Factory arguments. Source: llamafactory/data/loader.py, _load_single_dataset and
    _get_merged_dataset.
    """
    if train.get("tokenized_path"):
        return None
    lengths = []
    for name in dict.fromkeys(names_in(train.get("dataset"))):  # a name given twice is loaded once
        registration = registrations.get(name)
        rows = count_rows(registration.files) if registration else None
        if registration is None or not rows:
            return None
        rows = registration.entry.get("num_samples") or rows
        lengths.append(min(rows, train.get("max_samples") or rows))
    shares = train.get("interleave_probs")
    parts = shares.split(",") if isinstance(shares, str) else shares
    probabilities = None if parts is None else [float(part) for part in parts]
    return mixed_rows(lengths, argument(train, "mix_strategy"), probabilities, argument(train, "seed"))
