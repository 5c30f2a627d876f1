"""The rows of Parquet and Arrow files, as datasets/packaged_modules/parquet and arrow read them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qtune.data.flaws import Flaw
from qtune.data.opening import is_packed, open_data
from qtune.data.peek import arrow_source
from qtune.data.reading.block import Block
from qtune.errors import QtuneError

_BLOCK_ROWS = 1024
_NAMED = (
    *("null", "boolean", "integer", "floating", "decimal128", "decimal256", "dictionary"),
    *("string", "large_string", "binary", "large_binary", "time", "timestamp", "date", "duration"),
    *("list", "large_list", "fixed_size_list", "struct"),
)
"""The types that datasets has names for (features/features.py, _arrow_to_datasets_dtype)."""


def columnar_blocks(path: Path) -> Iterator[Block]:
    """Raises QtuneError where pyarrow is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise QtuneError(
            f"reading {path.suffix} files needs pyarrow", where=str(path), fix="pip install 'qtune[data]'"
        ) from None
    kind, batches = (
        ("a Parquet", _parquet_batches) if path.suffix == ".parquet" else ("an Arrow", _arrow_batches)
    )
    number = 1
    try:
        for batch in batches(path):
            if isinstance(batch, Flaw):
                yield Block([], [], [(1, batch)])
                continue
            decoded, places, flaws = _rows(batch, number)
            yield Block(decoded, places, flaws)
            number += batch.num_rows
    except (pyarrow.ArrowException, OSError):
        yield Block([], [], [(number, Flaw.of("columnar-damaged", kind=kind))])


def _rows(batch: Any, number: int) -> tuple[list[Any], list[int] | range, list[tuple[int, Flaw]]]:
    """The rows that Python can hold; datasets meets the others only when it reads them, in the training."""
    places = range(number, number + batch.num_rows)
    try:
        return batch.to_pylist(), places, []
    except (ValueError, OverflowError):
        decoded, kept, flaws = [], [], []
        for index, place in enumerate(places):
            try:
                decoded += batch.slice(index, 1).to_pylist()
                kept.append(place)
            except (ValueError, OverflowError):
                flaws.append((place, Flaw.of("columnar-value")))
        return decoded, kept, flaws


def _parquet_batches(path: Path) -> Iterator[Any]:
    import pyarrow.parquet

    with open_data(path) as stream, pyarrow.parquet.ParquetFile(stream) as file:
        yield from _unknown_types(file.schema_arrow)
        if file.num_row_groups and file.metadata.row_group(0).num_rows == 0:
            # datasets takes its length for the size of its batches
            yield Flaw.of("columnar-empty-group")
            return
        yield from file.iter_batches(_BLOCK_ROWS)


def _arrow_batches(path: Path) -> Iterator[Any]:
    """Of both of Arrow's formats: the one that `datasets` writes (a stream), and the one with an index."""
    import pyarrow

    mapped = not is_packed(path)
    with arrow_source(path) as source:
        try:
            batches = pyarrow.ipc.open_stream(source)
            schema = batches.schema
        except (pyarrow.ArrowInvalid, OSError):
            file = pyarrow.ipc.open_file(source)
            schema = file.schema
            batches = (file.get_batch(index) for index in range(file.num_record_batches))
        yield from _unknown_types(schema)
        for batch in batches:
            for start in range(0, batch.num_rows, _BLOCK_ROWS):
                if mapped and path.stat().st_size < source.size():
                    raise OSError("cut off meanwhile: what is mapped beyond its end ends the process")
                yield batch.slice(start, _BLOCK_ROWS)


def _unknown_types(schema: Any) -> Iterator[Flaw]:
    """Columns of other types, such as maps and string_view."""
    from pyarrow import types

    for field in schema:
        inner = [field.type]
        for kind in inner:
            inner += [kind.field(index).type for index in range(kind.num_fields)]
            if not any(getattr(types, f"is_{name}")(kind) for name in _NAMED):
                yield Flaw.of("columnar-type", name=field.name, type=str(kind).partition("<")[0])
