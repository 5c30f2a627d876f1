"""One count of rows: what `data list` says is what `data check` reads, whatever the files are."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest
from trees import Result

from qtune.data.reading import row_counts
from qtune.data.reading.row_counts import count_rows

A, B = '{"instruction": "a", "output": "b"}', '{"instruction": "c", "output": "d"}'
CSV = 'instruction,output\n"a\nover two lines",b\n\nc,d\ne,"f\n\ng"\n'
TEXT = pa.table({"instruction": ["a", "c"], "output": ["b", "d"]})
FILES: dict[str, tuple[str | bytes, int]] = {
    "lines.jsonl": (f"{A}\n{B}\n", 2),
    "blank.jsonl": (f"\n{A}\n \n{B}\n\n", 2),
    "one_line.jsonl": (f"{A} {B}\n", 2),
    "spread.jsonl": (json.dumps(json.loads(A), indent=1) + "\n", 1),
    "broken.jsonl": (f"{A}\n{{broken\n{B}\n", 2),
    "array.json": (f"[{A},\n{B}]", 2),
    "lines.json": (f"{A}\n{B}", 2),
    "packed.jsonl": (gzip.compress(f"{A}\n{B}\n".encode()), 2),
    "table.csv": (CSV, 3),
    "text.txt": ("a\n\nb\n", 3),
    "shards/1.jsonl": (f"{A}\n", 2),
    "shards/2.jsonl": (f"{B}\n", 2),
}


@pytest.fixture
def data(project: Callable[..., Path]) -> Path:
    """A project with a dataset of each kind, named as its file or folder is."""
    names = dict.fromkeys(name.partition("/")[0] for name in [*FILES, "table.parquet", "table.arrow"])
    entries: dict[str, dict[str, Any]] = {name: {"file_name": name} for name in names}
    entries["text.txt"]["columns"] = {"prompt": "text"}
    root = project({"data/datasets.yaml": entries})
    for name, (content, _) in FILES.items():
        path = root / "data" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    pyarrow.parquet.write_table(TEXT, root / "data" / "table.parquet")
    with pyarrow.ipc.new_stream(root / "data" / "table.arrow", TEXT.schema) as stream:
        stream.write_table(TEXT)
    return root


def test_list_and_check_count_the_same_rows(qtune: Callable[..., Result], data: Path) -> None:
    listed = json.loads(qtune("data", "list", "--json", directory=data).out)
    checked = json.loads(qtune("data", "check", "--json", directory=data).out)
    counts = {row["name"]: row["rows"] for row in listed}
    assert counts == {report["name"]: report["rows"] for report in checked["datasets"]}
    assert counts == {
        **{name.partition("/")[0]: rows for name, (_, rows) in FILES.items()},
        "table.parquet": 2,
        "table.arrow": 2,
    }


def test_a_large_file_is_not_read_for_its_rows(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_counts, "_READ_BYTES", {".json": 1, ".jsonl": 1})
    monkeypatch.setattr(row_counts, "_OTHERS_BYTES", 1)
    counted = {name: count_rows([data / "data" / name]) for name in ("blank.jsonl", "packed.jsonl")}
    assert counted == {"blank.jsonl": 2, "packed.jsonl": 2}
    assert count_rows([data / "data" / "table.parquet"]) == 2
    assert [count_rows([data / "data" / name]) for name in ("array.json", "table.csv", "table.arrow")] == [
        None,
        None,
        None,
    ]


def test_what_is_not_there_has_no_count(tmp_path: Path) -> None:
    assert count_rows([]) is None and count_rows([tmp_path / "gone.jsonl"]) is None
