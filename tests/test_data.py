"""Reading data files without loading them, and writing complete registrations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from qtune.config.project import find_project
from qtune.data.peek import first_row, has_key
from qtune.data.reading.row_counts import count_rows, count_training_rows
from qtune.data.registrations import complete_entry, read_registrations
from qtune.errors import QtuneError


def entry(root: Path, directory: str = "rendered/x") -> dict[str, Any]:
    registrations = read_registrations(find_project(root))
    return complete_entry(registrations["rows"], root.resolve() / directory)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('{"a": 1}\n{"a": 2}\n', 2),
        ('\n\n{"a": 1}\n\n', 1),
        ('\ufeff{"a": 1}\n', 1),
        ('[{"a": 1}, {"a": 2}, {"a": 3}]', 3),
        (' [\n {"a": 1}\n]\n', 1),
        ('{"a": 1}', 1),
    ],
)
def test_the_text_decides_between_lines_and_array(tmp_path: Path, text: str, rows: int) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    assert first_row(path) == {"a": 1}
    assert count_rows([path]) == rows


def test_a_first_row_larger_than_one_read_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([{"a": "长" * 2_000_000}], ensure_ascii=False), encoding="utf-8")
    assert list(first_row(path)) == ["a"]


def test_a_broken_first_row_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('\n{"a": }\n')
    with pytest.raises(QtuneError) as raised:
        first_row(path)
    assert raised.value.where == f"{path}:2"


def test_a_key_is_found_in_any_row_but_not_in_text(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": "the \\"input\\": is text", "role": "input"}\n{"输入" : 1}\n', encoding="utf-8")
    assert has_key(path, "a") and has_key(path, "输入")
    assert not has_key(path, "input")
    for blanks in range(30):  # the key across two parts that are read
        path.write_bytes(b" " * ((1 << 20) - blanks) + b'{"input" : 1}')
        assert has_key(path, "input") and not has_key(path, "inpu")


def test_columns_that_a_block_omits_are_filled_in_where_the_data_has_them(
    project: Callable[..., Path],
) -> None:
    root = project(
        {
            "data/datasets.yaml": "rows: {file_name: rows.jsonl, columns: {response: answer}}\n",
            "data/rows.jsonl": [
                {"instruction": "a", "answer": "b"},
                {"instruction": "a", "input": "i", "answer": "b"},
            ],
        }
    )
    assert entry(root)["columns"] == {"prompt": "instruction", "query": "input", "response": "answer"}


def test_a_default_column_that_the_data_lacks_is_left_out(project: Callable[..., Path]) -> None:
    # the library would read the default `input` from every row, and end in a KeyError
    root = project({"data/rows.jsonl": [{"instruction": "a", "output": "b"}]})
    assert entry(root)["columns"] == {"prompt": "instruction", "response": "output"}


@pytest.mark.parametrize("suffix", ["csv", "parquet", "arrow"])
@pytest.mark.parametrize("folder", [False, True])
def test_a_default_column_that_a_table_lacks_is_left_out(
    project: Callable[..., Path], suffix: str, folder: bool
) -> None:
    """The library would read `input` of each row: KeyError."""
    name = f"rows/1.{suffix}" if folder else f"rows.{suffix}"
    root = project(
        {"data/datasets.yaml": f"rows: {{file_name: {name.partition('/')[0]}}}\n", f"data/{name}": ""}
    )
    table, file = pa.table({"instruction": ["a"], "output": ["b"]}), root / "data" / name
    if suffix == "csv":
        file.write_text("\ninstruction,output\na,b\n", encoding="utf-8-sig")
    elif suffix == "parquet":
        parquet.write_table(table, file)
    else:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    assert entry(root)["columns"] == {"prompt": "instruction", "response": "output"}


def test_a_key_within_a_value_is_no_column(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    nested = '{"a": {"input": 1}}'
    for text in (f"{nested}\n" * 90_000, f"[{nested}, {nested}]", f"[\n{nested},\n{nested}\n]\n"):
        path.write_text(text)
        assert has_key(path, "a") and not has_key(path, "input")
    path.write_text(f'{nested}\n{{"input": 1}}\n')
    assert has_key(path, "input")


def test_tags_that_a_block_omits_are_filled_in(project: Callable[..., Path]) -> None:
    text = "rows: {file_name: rows.jsonl, formatting: sharegpt, tags: {user_tag: user}}\n"
    rows = [{"conversations": [{"from": "user", "value": "a"}]}]
    tags = entry(project({"data/datasets.yaml": text, "data/rows.jsonl": rows}))["tags"]
    assert tags["user_tag"] == "user"
    assert (tags["role_tag"], tags["assistant_tag"], tags["system_tag"]) == ("from", "gpt", "system")


def test_paths_hold_from_the_rendered_directory(project: Callable[..., Path]) -> None:
    root = project()
    assert entry(root)["file_name"] == "../../data/rows.jsonl"
    absolute = f"rows: {{file_name: {root}/data/rows.jsonl}}\n"
    assert entry(project({"data/datasets.yaml": absolute}))["file_name"] == f"{root}/data/rows.jsonl"


@pytest.mark.parametrize(
    ("train", "rows"),
    [
        ({"dataset": "rows"}, 10),
        ({"dataset": "rows, rows"}, 10),
        ({"dataset": ["rows"]}, 10),
        ({"dataset": "rows", "max_samples": 4}, 4),
        ({"dataset": "many"}, 50),
        ({"dataset": "many,rows", "max_samples": 7}, 14),
        ({"dataset": "hub"}, None),
        ({"dataset": "rows", "mix_strategy": "interleave_under"}, 10),
        ({"dataset": "many,rows", "mix_strategy": "interleave_under"}, 20),
        ({"dataset": "many,rows", "mix_strategy": "interleave_over"}, 100),
    ],
)
def test_rows_are_counted_as_the_library_loads_them(
    project: Callable[..., Path], train: dict[str, Any], rows: int | None
) -> None:
    text = "rows: {file_name: rows.jsonl}\nmany: {file_name: rows.jsonl, num_samples: 50}\n"
    text += "hub: {hf_hub_url: a/b}\n"
    registrations = read_registrations(find_project(project({"data/datasets.yaml": text})))
    assert count_training_rows(train, registrations) == rows


@pytest.mark.parametrize(("text", "line"), [("- a\n", None), ("rows: x.jsonl\n", 1), ("a: {}\nb: [1]\n", 2)])
def test_registrations_of_another_shape_are_refused(
    project: Callable[..., Path], text: str, line: int | None
) -> None:
    with pytest.raises(QtuneError) as raised:
        read_registrations(find_project(project({"data/datasets.yaml": text})))
    assert raised.value.where == "data/datasets.yaml" + (f":{line}" if line else "")
