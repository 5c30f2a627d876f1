"""What `datasets` makes of data files, asked in one process that has imported it: FILES.json ANSWERS.json.

FILES.json lists what to load, each a list of paths and whether to go through `load_dataset`, which is slow,
or through the builder and writer within it. An answer is the rows, each null if it cannot be read, or null if
the library refuses the files or dies of them.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pyarrow as pa
from datasets.arrow_writer import ArrowWriter
from datasets.packaged_modules.csv.csv import Csv, CsvConfig
from datasets.packaged_modules.json.json import Json, JsonConfig

TYPES = {"jsonl": "json", "txt": "text"}  # llamafactory/extras/constants.py, FILEEXT2TYPE
BUILDERS = {"json": (Json, JsonConfig), "csv": (Csv, CsvConfig)}


def kind_of(paths: list[str]) -> str:
    suffix = Path(paths[0]).suffix[1:]
    return TYPES.get(suffix, suffix)


def plain(value: Any) -> Any:
    return {"time": str(value)} if hasattr(value, "isoformat") else repr(value)


def as_json(table: pa.Table) -> list[str | None]:
    rows: list[str | None] = []
    for index in range(len(table)):
        try:
            rows.append(json.dumps(table.slice(index, 1).to_pylist()[0], default=plain))
        except (UnicodeDecodeError, OverflowError):
            rows.append(None)
    return rows


def load_dataset(paths: list[str]) -> pa.Table:
    with tempfile.TemporaryDirectory() as cache:
        loaded = datasets.load_dataset(kind_of(paths), data_files=paths, split="train", cache_dir=cache)
        return loaded.data.table


def build(paths: list[str]) -> pa.Table:
    """datasets/builder.py, ArrowBasedBuilder._prepare_split_single."""
    builder, config = BUILDERS[kind_of(paths)]
    itself = SimpleNamespace(config=config(), info=datasets.DatasetInfo())
    itself._cast_table = lambda table: builder._cast_table(itself, table)
    stream = pa.BufferOutputStream()
    writer = ArrowWriter(stream=stream)
    for _, table in builder._generate_tables(itself, [paths]):
        writer.write_table(table)
    rows, _ = writer.finalize(close_stream=False)
    if not rows:
        raise ValueError("no rows")
    return pa.ipc.open_stream(stream.getvalue()).read_all()


def answer(paths: list[str], whole: bool) -> list[str | None] | None:
    try:
        table = load_dataset(paths) if whole else build(paths)
    except Exception:
        return None
    return as_json(table)


def main(files: Path, answers: Path) -> None:
    """Works in a fork, as pyarrow dies of some files; the next fork goes on after such a one."""
    cases = json.loads(files.read_text(encoding="utf-8"))
    done = 0
    with answers.open("w", encoding="utf-8") as stream:
        while done < len(cases):
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                with os.fdopen(writing, "w", encoding="utf-8") as out:
                    for paths, whole in cases[done:]:
                        print(json.dumps(answer(paths, whole)), file=out, flush=True)
                os._exit(0)
            os.close(writing)
            with os.fdopen(reading, encoding="utf-8") as out:
                for line in out:
                    stream.write(line)
                    done += 1
            _, status = os.waitpid(child, 0)
            if status:
                stream.write("null\n")
                done += 1


if __name__ == "__main__":
    datasets.disable_progress_bars()
    logging.disable(logging.CRITICAL)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
