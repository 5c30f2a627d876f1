"""Which files a dataset consists of, by their names."""

from __future__ import annotations

from pathlib import Path

JSON_SUFFIXES = (".json", ".jsonl")
COLUMNAR_SUFFIXES = (".parquet", ".arrow")
SUFFIXES = (*JSON_SUFFIXES, ".csv", *COLUMNAR_SUFFIXES, ".txt")
"""llamafactory/extras/constants.py, FILEEXT2TYPE"""


def data_files(path: Path) -> list[Path]:
    """The file itself, or all that is in a folder of shards, in the order of the names."""
    return sorted(path.iterdir()) if path.is_dir() else [path]
