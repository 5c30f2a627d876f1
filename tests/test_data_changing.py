"""Data that changes while it is read: one line says so, and no verdict about it is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trees import ROWS, Result, files_below

from qtune.config.project import find_project
from qtune.data.reading import readers
from qtune.data.reading.block import Block
from qtune.data.scanning import check_cache, clean, scan
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline

Make = Callable[..., Path]
Command = Callable[..., Result]
TEXTS = {
    "jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "json": json.dumps(ROWS),
    "csv": "instruction,input,output\n" + "a,b,c\n" * 10,
    "txt": "a line\n" * 10,
}


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def appended(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"one more\n")


def replaced(path: Path) -> None:
    other = path.with_name(f".{path.name}.new")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def rewritten(path: Path) -> None:
    """At its size and with its time, as some tools copy."""
    status = path.stat()
    path.write_bytes(path.read_bytes().replace(b"a", b"e"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES = {
    "truncated": truncated,
    "appended": appended,
    "replaced": replaced,
    "rewritten": rewritten,
    "removed": Path.unlink,
}


def kept() -> set[str]:
    """The verdicts in the user's cache."""
    passed = check_cache.cache_directory() / "data" / "passed"
    return files_below(passed) if passed.is_dir() else set()


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Changes each data file once, before or behind its first block."""

    def put(change: Callable[[Path], Any], *, first: bool) -> None:
        changed: set[Path] = set()

        def blocks(path: Path) -> Iterator[Block]:
            for block in readers.blocks(path):
                if not first:
                    yield block
                if path not in changed:
                    changed.add(path)
                    change(path)
                if first:
                    yield block

        monkeypatch.setattr(scan, "blocks", blocks)

    return put


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("suffix", TEXTS)
def test_it_is_one_line_and_nothing_is_kept(
    project: Make, qtune: Command, meanwhile: Callable[..., None], suffix: str, change: str, first: bool
) -> None:
    rows = f"rows: {{file_name: rows.{suffix}{', columns: {prompt: text}' if suffix == 'txt' else ''}}}\n"
    root = project(
        {
            "data/datasets.yaml": rows + "other: {file_name: other.jsonl}\n",
            f"data/rows.{suffix}": TEXTS[suffix],
            "data/other.jsonl": TEXTS["jsonl"],
        }
    )
    meanwhile(lambda path: CHANGES[change](path) if path.stem == "rows" else None, first=first)
    done = qtune("data", "check", *(("-p", "pretrain", "rows") if suffix == "txt" else ()), directory=root)
    assert done.code == 2 and "please report" not in done.err
    changed = [line for line in done.err.splitlines() if "changed while it was read" in line]
    assert changed == [f"error: data/rows.{suffix}: changed while it was read"]
    if suffix == "txt":
        assert kept() == set()
    else:  # the other is checked all the same
        assert "other: " in done.out and len(kept()) == 1


@pytest.mark.parametrize("folder", ["joined", "left"])
def test_a_shard_that_joins_or_leaves_is_a_change(
    project: Make, qtune: Command, meanwhile: Callable[..., None], folder: str
) -> None:
    root = project(
        {
            "data/datasets.yaml": "rows: {file_name: shards}\n",
            "data/shards/1.jsonl": TEXTS["jsonl"],
            "data/shards/2.jsonl": TEXTS["jsonl"],
        }
    )
    third = root / "data" / "shards" / "3.jsonl"
    if folder == "left":
        third.write_text(TEXTS["jsonl"])
    meanwhile(lambda path: third.unlink(missing_ok=True) if folder == "left" else third.touch(), first=True)
    done = qtune("data", "check", "rows", directory=root)
    assert done.code == 2 and "error: data/shards/3.jsonl: changed while it was read" in done.err
    assert kept() == set()


def test_a_change_between_the_files_digest_and_its_reading_keeps_no_verdict(
    project: Make, qtune: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad file that is good for the moment of the check must not pass when it is bad again."""
    bad = json.dumps({"instruction": 1}) + "\n"
    root = project({"data/rows.jsonl": bad})
    path = root / "data" / "rows.jsonl"
    read = scan.scan
    sources = pipeline.examine("lora", find_project(root), Hardware()).sources

    def good_for_now(*given: Any, **how: Any) -> Any:
        path.write_text(TEXTS["jsonl"])
        found = read(*given, **how)
        path.write_text(bad)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(check_cache, "scan", good_for_now)
        [passed] = check_cache.check(sources, root)
    [now] = check_cache.check(sources, root)
    assert passed.errors == 0 and now.errors == 1 and kept() == set()


def test_rows_that_change_before_they_are_written_anew_leave_no_file(
    project: Make, qtune: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project({"data/rows.jsonl": [*ROWS, ROWS[0]]})
    path = root / "data" / "rows.jsonl"
    write = clean.clean

    def late(*given: Any, **how: Any) -> Any:
        appended(path)
        return write(*given, **how)

    monkeypatch.setattr(clean, "clean", late)
    done = qtune("data", "check", "rows", "--fix", "good.jsonl", directory=root)
    assert done.code == 2 and "error: data/rows.jsonl: changed while it was read" in done.err
    assert not (root / "good.jsonl").exists() and not (root / "good.rejected.jsonl").exists()


def test_columns_are_not_read_beyond_the_end_of_a_file_that_was_cut_off(
    project: Make, qtune: Command, meanwhile: Callable[..., None]
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    root = project({"data/datasets.yaml": "rows: {file_name: rows.arrow}\n"})
    table = pyarrow.Table.from_pylist([{"instruction": "a" * 50, "input": "", "output": "b"}] * 3000)
    with pyarrow.ipc.new_stream(root / "data" / "rows.arrow", table.schema) as writer:
        writer.write_table(table)
    assert qtune("data", "check", directory=root).code in (0, 2)
    meanwhile(truncated, first=False)
    done = qtune("data", "check", directory=root)
    assert done.code == 2 and "error: data/rows.arrow: changed while it was read" in done.err
