"""How many rows, and how many tokens of them, a loss was computed over: the library's own tokens tell."""

from __future__ import annotations

from pathlib import Path

_IGNORED = -100  # llamafactory/extras/constants.py, IGNORE_INDEX


def count(directory: Path) -> tuple[int, int] | None:
    """(rows, tokens that the loss is over) of what `tokenized_path` got, None for pairs of answers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = tokens = 0
    for path in sorted((directory / "validation").glob("*.arrow")):
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_stream(source).read_all()
            if "input_ids" not in table.column_names:
                return None
            # at stage pt the collator makes labels of all ids
            labels = table["labels" if "labels" in table.column_names else "input_ids"]
            # a row's first token is predicted from nothing
            predicted = pc.list_flatten(pc.list_slice(labels, 1))
            rows += table.num_rows
            tokens += pc.sum(pc.not_equal(predicted, _IGNORED)).as_py() or 0
    return rows, tokens
