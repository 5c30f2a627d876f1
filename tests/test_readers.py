"""Reading data files: every row with its line, and the exact line of what cannot be read."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import math
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from qtune.data.peek import has_column
from qtune.data.reading import array_rows, line_rows
from qtune.data.reading.readers import blocks, unreadable
from qtune.data.reading.row_counts import count_rows
from qtune.errors import QtuneError

Found = tuple[list[tuple[int, Any]], list[tuple[int, str, str]]]


def read(path: Path, content: str | bytes) -> Found:
    """[(line, row)], [(line, effect, message)]."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    found: list[tuple[int, Any]] = []
    flaws: list[tuple[int, str, str]] = []
    for block in blocks(path):
        found += zip(block.lines, block.rows, strict=True)
        flaws += [(line, flaw.effect, flaw.message) for line, flaw in block.flaws]
    return found, flaws


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return tmp_path / "data.jsonl"


@pytest.fixture
def array(tmp_path: Path) -> Path:
    return tmp_path / "data.json"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "data.csv"


def test_rows_have_their_lines_past_blank_ones(lines: Path) -> None:
    assert read(lines, '\ufeff\n{"a":1}\n \t\r\n\n{"a":2}') == ([(2, {"a": 1}), (5, {"a": 2})], [])


def test_each_broken_line_is_named_and_the_others_are_read(lines: Path) -> None:
    found, flaws = read(
        lines, '{"a":1}\n{"a":2\n{"a":3}\n{"a":"x\n{"a":4},\n{"a":5} y\n\n{\'a\':6}\nnull\n[1]\n{"a":7}\n'
    )
    assert found == [(1, {"a": 1}), (3, {"a": 3}), (11, {"a": 7})]
    cut = "is not JSON: the row is cut off, or a line break is in a text"
    assert flaws == [
        (2, "refused", cut),
        (4, "refused", cut),
        (5, "refused", "is not JSON: a comma after the row"),
        (6, "refused", "is not JSON: Expecting value"),
        (8, "refused", "is not JSON: Expecting property name enclosed in double quotes"),
        (9, "refused", "is null, not an object"),
        (10, "refused", "is a list, not an object"),
    ]


def test_rows_may_share_a_line_or_take_several(lines: Path) -> None:
    found, flaws = read(lines, '{"a":1} {"a":2}\n{\n "a": 3\n}\n{"a":\n4}{"a":5}\n')
    assert [(line, row["a"]) for line, row in found] == [(1, 1), (1, 2), (2, 3), (5, 4), (5, 5)]
    assert flaws == []


def test_an_error_in_a_row_of_several_lines_has_its_own_line(lines: Path) -> None:
    found, flaws = read(lines, '{\n "a": 1\n "b": 2\n}\n{\n "a": 3\n}\n')
    assert (found, flaws) == ([(5, {"a": 3})], [(3, "refused", "is not JSON: Expecting ',' delimiter")])


def test_rows_of_several_lines_are_read_across_blocks(lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_rows, "_BLOCK_BYTES", 7)
    found, flaws = read(lines, '{\n "a": 1\n}\n' * 5 + '{"a": 2}\n{\n "a"')
    assert [line for line, _ in found] == [1, 4, 7, 10, 13, 16]
    assert flaws == [(18, "refused", "is not JSON: Expecting ':' delimiter")]


def test_rows_of_several_lines_are_refused_where_pyarrow_cuts(lines: Path) -> None:
    row = '{\n"a": "' + "x" * 990 + '"\n}\n'
    _, flaws = read(lines, row * 400)
    message = "begins a row that goes on over several lines, in a file too large for that"
    assert flaws == [(3 * (line_rows._PARSED_BYTES // len(row)) + 1, "refused", message)]


def test_texts_that_are_not_utf8_are_named(lines: Path) -> None:
    found, flaws = read(lines, b'{"a":"x"}\n{"a":"\xff"}\n{"\xff":1}\n' + '{"a":"中文"}\n'.encode("gbk"))
    assert found == [(1, {"a": "x"})]
    assert flaws == [
        (2, "crash", "is not UTF-8"),
        (3, "refused", "is not UTF-8"),
        (4, "crash", "is not UTF-8"),
    ]
    fixes = [flaw.fix for block in blocks(lines) for _, flaw in block.flaws]
    assert ["GBK" in fix for fix in fixes] == [False, False, True]


@pytest.mark.parametrize("name", ["data.jsonl", "data.json", "data.csv", "data.txt"])
def test_utf16_and_packed_files_are_named_once(tmp_path: Path, name: str) -> None:
    utf16 = [(1, "refused", "is UTF-16 or UTF-32, not UTF-8")]
    assert read(tmp_path / name, ('{"a":1}\n' * 9).encode("utf-16")) == ([], utf16)
    assert read(tmp_path / name, b"PK\x03\x04xyz") == ([], [(1, "refused", "is compressed with zip")])


def test_numbers_that_json_has_not_are_read_as_pyarrow_reads_them(lines: Path) -> None:
    found, flaws = read(lines, '{"a":Infinity}\n{"a":123456789012345678901}\n{"a":1e999}\n')
    assert found == [(1, {"a": float("inf")}), (2, {"a": 1.2345678901234568e20})]
    assert flaws == [(3, "refused", "is not JSON: a number too large for a double")]


def test_blocks_join_to_the_file(lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b'{"a":1}\n\n{"a":2}{"a":3}\nbroken\n{\n"a":4}\n{"a":"\xff"}\n{"a":5}'
    lines.write_bytes(content)
    for size in (1, 5, 20, 1000):
        monkeypatch.setattr(line_rows, "_BLOCK_BYTES", size)
        parts = list(blocks(lines))
        assert b"".join(part.text for part in parts) == content
        begins = [1 + content[: sum(len(p.text) for p in parts[:i])].count(b"\n") for i in range(len(parts))]
        assert [part.begin for part in parts] == begins
        assert [row["a"] for part in parts for row in part.rows] == [1, 2, 3, 4, 5]


def drawn_rows(seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    texts = ["", '"}, {"', "\\", "é😀", "]\n[", '{"a": 1}', "x" * 40]
    return [
        {
            "a": draw.choice(texts),
            "list": [{"a": draw.choice(texts), "n": draw.choice([1.5, None, True])}] * draw.randrange(3),
        }
        for _ in range(60)
    ]


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_arrays_are_read_alike_wherever_the_buffer_ends(
    array: Path, monkeypatch: pytest.MonkeyPatch, indent: int | None, ensure_ascii: bool
) -> None:
    expected = drawn_rows(3)
    text = json.dumps(expected, indent=indent, ensure_ascii=ensure_ascii)
    starts = []
    at = 1
    for _ in expected:
        at = text.index("{", at)
        starts.append(1 + text.count("\n", 0, at))
        at = json.JSONDecoder().raw_decode(text, at)[1]
    for size in (1, 3, 17, 250, 1 << 20):
        monkeypatch.setattr(array_rows, "_READ_CHARACTERS", size)
        found, flaws = read(array, text)
        assert found == list(zip(starts, expected, strict=True))
        assert flaws == []
        assert b"".join(block.text for block in blocks(array)) == text.encode()


def test_each_broken_row_of_an_array_is_named_and_the_others_are_read(array: Path) -> None:
    found, flaws = read(
        array,
        '[\n{"a":1},\n{"a":tru},\n{"a":"x},\n{"a":2},\n{"a":3,},\n{"a" 4},\n'
        '{"a":5}\n{"a":6},\n7,\n{"a":8},\n]\n',
    )
    assert [(line, row["a"]) for line, row in found] == [(2, 1), (6, 3), (8, 5), (9, 6), (11, 8)]
    assert flaws == [
        (3, "refused", "is not JSON: Expecting value"),
        (4, "refused", "is not JSON: the row is cut off, or a quotation mark is missing"),
        (6, "kept", "has a comma after an object's last member"),
        (7, "refused", "is not JSON: Expecting ':' delimiter"),
        (9, "refused", "is not JSON: no comma between two rows"),
        (10, "refused", "is a number, not an object"),
        (12, "refused", "is not JSON: a comma after the last row"),
    ]


@pytest.mark.parametrize(
    "text, line, message",
    [
        ('[{"a":1},\n{"a":2}', 2, "is not JSON: the array does not end"),
        ('[{"a":1},\n{"a":', 2, "is not JSON: the row is cut off, or a quotation mark is missing"),
        ('[{"a":1}\n]\n\nx', 4, "is not JSON: text after the end of the array"),
        ('[{"a":1}]\n[{"a":2}]', 2, "is not JSON: text after the end of the array"),
        ('\ufeff[{"a":1}]', 1, "begins with a byte-order mark"),
        ('[\n{"a":18446744073709551616}]', 2, "is not JSON: a whole number of more than 64 bits"),
        ('[\n{"a":"x\0y"}]', 2, "is not JSON: a zero byte"),
        ('[\n{"a":"\\udc00"}]', 2, r"is not JSON: halves of surrogate pairs (`\ud83d`) that do not match"),
        ('["x",\n{"a":1}]', 2, "is an object among texts"),
    ],
)
def test_what_is_wrong_with_an_array_has_its_line(array: Path, text: str, line: int, message: str) -> None:
    assert read(array, text)[1] == [(line, "refused", message)]


def test_an_array_lets_pass_what_pandas_does(array: Path) -> None:
    found, flaws = read(array, '[{"a":NaN,"b":"x\ty"},\n{"a":"\\ud83d\\ude00\\ud83dz"}]')
    assert [row for _, row in found] == [{"a": None, "b": "x\ty"}, {"a": "😀z"}]
    assert [(line, effect) for line, effect, _ in flaws] == [(2, "kept")]
    assert read(array, '["x",\nnull]') == ([(1, {"text": "x"}), (2, {"text": None})], [])


def test_bytes_that_are_not_utf8_in_an_array_have_their_line(array: Path) -> None:
    found, flaws = read(array, b'[{"a":"x"},\n{"a":"\xff"},\n{"a":"y"}]')
    assert flaws == [(2, "refused", "is not UTF-8")]
    assert json.dumps([row for _, row in found], ensure_ascii=False).encode()


def test_a_missing_quotation_mark_does_not_take_the_file_into_memory(
    array: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_rows, "_READ_CHARACTERS", 1000)
    monkeypatch.setattr(array_rows, "_MOST_CHARACTERS", 50_000)
    row = '{"a":"' + "x" * 100 + '"},\n'
    with array.open("w") as stream:
        stream.write("[\n" + row + '{"a":"x},\n' + row * 20_000 + '{"a":1}]')
    tracemalloc.start()
    flaws = [line for block in blocks(array) for line, _ in block.flaws]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert flaws[0] == 3
    assert peak < 1_000_000


def test_csv_rows_have_the_line_where_they_begin(table: Path) -> None:
    found, flaws = read(table, '\ufeffa,b\n\nx,"1\n\n2"\n  \ny,2\n')
    assert found == [(3, {"a": "x", "b": "1\n\n2"}), (7, {"a": "y", "b": "2"})]
    assert flaws == []


def test_csv_columns_are_typed_as_pandas_types_them(table: Path) -> None:
    found, flaws = read(table, "n,t,b,e\n007,1,True,\n2,x,NA,\n")
    rows_read = [{"n": 7, "t": "1", "b": True, "e": None}, {"n": 2, "t": "x", "b": None, "e": None}]
    assert ([row for _, row in found], flaws) == (rows_read, [])
    assert read(table, "a\n1\nNA\n")[0] == [(2, {"a": 1.0}), (3, {"a": None})]


def test_words_that_csv_loses_are_named(table: Path) -> None:
    found, flaws = read(table, "a\nx\nNA\n")
    assert [row for _, row in found] == [{"a": "x"}, {"a": None}]
    assert flaws == [(3, "kept", "the word `NA` in column `a` is read as no value")]


@pytest.mark.parametrize(
    "text, line, effect, message",
    [
        ("", 1, "refused", "has no line with the names of the columns"),
        ('a,b\nx,1\n"y,2\nz,3\n', 3, "refused", "opens a quotation mark that nothing closes"),
        ("a,b\nx,1\ny,2,3\n", 3, "refused", "has more fields than the header"),
        ("a;b\nx;1\n", 1, "kept", "has one column, `a;b`: its fields seem to be separated by semicolons"),
        ("a,a\nx,1\n", 1, "kept", "names the column `a` more than once: only the first is read by that name"),
        (b"a\nx\n\xff\n", 3, "refused", "is not UTF-8"),
    ],
)
def test_what_is_wrong_with_csv_has_its_line(
    table: Path, text: str | bytes, line: int, effect: str, message: str
) -> None:
    assert read(table, text)[1] == [(line, effect, message)]


def test_csv_with_more_fields_than_names_is_read_shifted_as_pandas_does(table: Path) -> None:
    found, flaws = read(table, "a,b\nx,1,2\n")
    assert found == [(2, {"__index_level_0__": "x", "a": 1, "b": 2})]
    assert [(line, effect) for line, effect, _ in flaws] == [(2, "kept")]


def test_csv_goes_on_after_10000_rows(table: Path) -> None:
    found, flaws = read(table, "a,b\n" + "1,x\n" * 10_000 + "1,2,3\n")
    assert (len(found), flaws) == (10_000, [(10_002, "refused", "has more fields than the header")])


def test_lines_of_text_are_rows(tmp_path: Path) -> None:
    found, flaws = read(tmp_path / "data.txt", b"a\r\n\nb\x0cc\n\xff\n")
    assert [(line, row["text"]) for line, row in found] == [(1, "a"), (2, ""), (3, "b\x0cc"), (4, "\ufffd")]
    assert flaws == [(4, "refused", "is not UTF-8")]


def test_columnar_files_are_read_row_by_row(tmp_path: Path) -> None:
    content = {"a": ["x", None] * 1500, "b": [[1], []] * 1500}
    parquet.write_table(pa.table(content), tmp_path / "data.parquet")
    found = [
        (line, row["a"], row["b"])
        for block in blocks(tmp_path / "data.parquet")
        for line, row in zip(block.lines, block.rows, strict=True)
    ]
    assert found == [
        (number + 1, *values) for number, values in enumerate(zip(*content.values(), strict=True))
    ]


@pytest.mark.parametrize("name", ["data.parquet", "data.arrow"])
def test_damaged_columnar_files_are_refused(tmp_path: Path, name: str) -> None:
    assert [effect for _, effect, _ in read(tmp_path / name, b"PAR1 nothing")[1]] == ["refused"]


def test_a_columnar_row_that_python_cannot_hold_is_named(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"x\xffy")]
    )
    with pa.OSFile(str(tmp_path / "data.arrow"), "wb") as sink:
        table = pa.table({"a": broken})
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    (block,) = blocks(tmp_path / "data.arrow")
    assert ([*block.lines], block.rows) == ([1, 3], [{"a": "x"}, {"a": "y"}])
    assert [(line, flaw.effect) for line, flaw in block.flaws] == [(2, "crash")]


def test_what_a_folder_of_shards_must_not_hold_is_named(tmp_path: Path) -> None:
    for name in ("1.jsonl", "2.json", "3.csv", ".DS_Store", "README.md", ".hidden.jsonl"):
        (tmp_path / name).touch()
    (tmp_path / "more").mkdir()
    assert {file.name for file, _ in unreadable(tmp_path)} == {"3.csv", ".DS_Store", "README.md", "more"}
    assert all(flaw.effect == "refused" for _, flaw in unreadable(tmp_path))
    assert unreadable(tmp_path / "1.jsonl") == []


def test_an_empty_folder_and_names_with_patterns_are_named(tmp_path: Path) -> None:
    (tmp_path / "data[1].jsonl").touch()
    ((_, flaw),) = unreadable(tmp_path)
    assert "pattern" in flaw.message
    (tmp_path / "empty").mkdir()
    assert [flaw.message for _, flaw in unreadable(tmp_path / "empty")] == ["is an empty folder"]


def test_other_files_and_folders_are_no_data(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl.gz").touch()
    with pytest.raises(QtuneError, match=r"does not read `\.gz` files"):
        blocks(tmp_path / "data.jsonl.gz")
    with pytest.raises(QtuneError, match="folder within the folder"):
        blocks(tmp_path)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_file_is_read_as_what_is_in_it(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """As `datasets` does, whatever the name says (datasets/utils/file_utils.py)."""
    row = {"a": "x"}
    for name, content in (("a.jsonl", b'{"a":"x"}\n'), ("a.json", b'[{"a":"x"}]'), ("a.csv", b"a\nx\n")):
        assert read(tmp_path / name, pack(content)) == ([(2 if name == "a.csv" else 1, row)], [])
        assert count_rows([tmp_path / name]) == 1
        assert has_column(tmp_path / name, "a") and not has_column(tmp_path / name, "b")
    assert read(tmp_path / "a.txt", pack(b"x\n")) == ([(1, {"text": "x"})], [])
    damaged = [(1, "refused", "is compressed, and cut off or damaged")]
    assert read(tmp_path / "b.jsonl", pack(b'{"a":"x"}\n' * 9)[:-12])[1] == damaged


def test_whole_numbers_of_any_length_are_read_as_pyarrow_and_pandas_do(tmp_path: Path) -> None:
    content = b'{"a":%s}\n{"a":-%s}\n{"a":[1%s]}\n' % (b"9" * 400, b"9" * 5000, b"0" * 30)
    rows, flaws = read(tmp_path / "a.jsonl", content)
    assert [row["a"] for _, row in rows] == [math.inf, -math.inf, [1e30]] and flaws == []
    text = "9" * 5000
    assert read(tmp_path / "a.csv", f"a\n{text}\n".encode()) == ([(2, {"a": text})], [])


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.string_view(), pa.binary_view(), pa.list_(pa.string_view()), pa.list_view(pa.int64())),
        *(pa.struct({"b": pa.string_view()}), pa.binary(2), pa.map_(pa.string(), pa.int64())),
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_columns_of_a_type_that_datasets_does_not_know_are_named(
    tmp_path: Path, kind: pa.DataType, suffix: str
) -> None:
    sink, column = pa.BufferOutputStream(), pa.table({"a": pa.array([None], kind)})
    if suffix == "parquet":
        parquet.write_table(column, sink)
    else:
        with pa.ipc.new_stream(sink, column.schema) as writer:
            writer.write_table(column)
    _, flaws = read(tmp_path / f"data.{suffix}", sink.getvalue().to_pybytes())
    assert [effect for _, effect, _ in flaws] == ["refused"]
