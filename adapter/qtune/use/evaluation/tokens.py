"""How many rows, and how many tokens of them, a loss was computed over: the library's own tokens tell."""

from __future__ import annotations

from pathlib import Path

_IGNORED = -100  # llamafactory/extras/constants.py, IGNORE_INDEX


def count(directory: Path) -> tuple[int, int | None]:
    """(rows, tokens that the loss is over) of what `tokenized_path` got; a loss of preferences has none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows, tokens, pairs = 0, 0, False
    for path in sorted((directory / "validation").glob("*.arrow")):
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_stream(source).read_all()
            rows += table.num_rows
            if "input_ids" not in table.column_names or "kto_tags" in table.column_names:
                pairs = True
                continue
            # at stage pt the collator makes labels of all ids
            labels = table["labels" if "labels" in table.column_names else "input_ids"]
            # a row's first token is predicted from nothing; at stage pt the library divides by it all the
            # same, so that its loss comes out a little low (transformers/trainer.py, _get_num_items_in_batch)
            predicted = pc.list_flatten(pc.list_slice(labels, 1))
            tokens += pc.sum(pc.not_equal(predicted, _IGNORED)).as_py() or 0
    return rows, None if pairs else tokens
