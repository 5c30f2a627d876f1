"""The types of columns: what changes within a dataset, and what they make of it as a whole."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from qtune.data.file_types import data_files
from qtune.data.reading import array_rows, line_rows
from qtune.data.reading.block import Block
from qtune.data.reading.columns import ColumnTypes
from qtune.data.reading.readers import blocks
from qtune.data.registrations import Registration
from qtune.files import Document


def types_of(path: Path, **columns: str) -> ColumnTypes:
    entry: dict[str, Any] = {"file_name": path.name, "columns": columns}
    if "messages" in columns:
        entry["formatting"] = "sharegpt"
    return ColumnTypes(Registration("data", entry, Document({}, {}, path, "", "")))


def flaws(path: Path, **columns: str) -> tuple[list[tuple[int, str]], list[str]]:
    """[(line, message)], [conclusion]."""
    types = types_of(path, **columns)
    found = [
        (block.lines[index], flaw.message)
        for file in data_files(path)
        for block in blocks(file)
        for index, flaw in types.flaws(block)
    ]
    return found, [flaw.message for flaw in types.conclusions()]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data.jsonl"


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_each_row_of_another_type_is_named_with_both_types(data: Path) -> None:
    write(data, {"a": None}, {"a": "x"}, {"a": 1}, {"b": 1}, {"a": ["x"]}, {"a": "y"}, {"a": 2.5})
    message = "`a` is {} here and text in line 2"
    expected = [(3, "a number"), (5, "a list"), (7, "a number")]
    assert flaws(data)[0] == [(line, message.format(kind)) for line, kind in expected]


def test_rows_are_judged_alike_however_they_come_in_blocks(data: Path) -> None:
    chance = random.Random(3)
    some: list[Any] = [
        "a",
        "2024-01-05",
        None,
        1,
        2.5,
        True,
        [],
        ["b"],
        [1],
        {},
        {"k": "c"},
        {"k": 1, "l": None},
    ]
    for _ in range(1000):
        values = {key: chance.choices(some, k=chance.choice([1, 1, 2])) for key in "ab"}
        rows = [
            {key: chance.choice(values[key]) for key in chance.choice(["ab", "ab", "ab", "ba", "a"])}
            for _ in range(chance.randrange(2, 7))
        ]
        lines = range(1, len(rows) + 1)
        apart = [Block([row], [line], form="lines") for row, line in zip(rows, lines, strict=True)]
        found = []
        for blocks_of_it in (apart, [Block(rows, lines, form="lines")]):
            types = types_of(data)
            found.append(
                [(block.lines[index], flaw) for block in blocks_of_it for index, flaw in types.flaws(block)]
                + types.conclusions()
            )
        assert found[0] == found[1], rows


def test_types_within_lists_and_objects_are_compared(data: Path) -> None:
    turn = {"from": "human", "value": "x"}
    write(data, {"m": [turn, turn]}, {"m": [turn, {"from": "gpt", "value": ["x"]}]}, {"m": [[1]]}, {"m": []})
    assert flaws(data)[0] == [
        (2, "`m[].value` is a list here and text in line 1"),
        (3, "`m[]` is a list here and an object in line 1"),
    ]


def test_numbers_of_both_kinds_null_and_missing_keys_go_together(data: Path) -> None:
    write(
        data,
        {"a": 1, "o": {"x": 1}},
        {"a": 1.5, "o": {"y": "z"}},
        {"a": None, "o": {}},
        {"b": []},
        {"b": ["x"]},
    )
    assert flaws(data, prompt="a") == ([], [])


def test_a_row_of_other_types_is_found_in_every_block(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_rows, "_BLOCK_BYTES", 50)
    write(data, *[{"a": "x"}, {"a": "y"}, {"a": True}] * 20)
    assert [line for line, _ in flaws(data)[0]] == list(range(3, 61, 3))


@pytest.mark.parametrize(
    "first, then, message",
    [
        ({"a": "x"}, {"a": "x", "b": None}, "has the column `b`, which no row has in the first 10 MB"),
        ({"a": None}, {"a": "x"}, "`a` has its first value here, and none in the first 10 MB"),
        ({"a": []}, {"a": [1]}, "`a[]` has its first value here, and none in the first 10 MB"),
        ({"a": {}}, {"a": {"b": 1}}, "an object in `a` has a key that none has in the first 10 MB"),
        ({"a": 1}, {"a": 1.5}, "`a` has a fraction here, and whole numbers only in the first 10 MB"),
        ({"a": "2024-01-01"}, {"a": "x"}, "`a` has a text here, and dates only in the first 10 MB"),
        ({"a": "x", "b": 1}, {"a": None}, None),
        ({"a": 1}, {"a": 2.0}, None),
        ({"a": ["x"]}, {"a": []}, None),
    ],
)
def test_what_comes_after_the_first_batch_must_fit_it(
    data: Path, monkeypatch: pytest.MonkeyPatch, first: Any, then: Any, message: str | None
) -> None:
    monkeypatch.setattr(line_rows, "_BATCH_BYTES", 40)
    write(data, *[first] * 9, then, first)
    assert flaws(data)[0] == ([] if message is None else [(10, message)])
    monkeypatch.undo()
    assert flaws(data)[0] == []


def test_shards_must_fit_the_first(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    write(folder / "1.jsonl", {"a": "x"})
    write(folder / "2.jsonl", {"a": "x", "b": 1}, {"a": 1})
    assert flaws(folder)[0] == [
        (1, "has the column `b`, which no row has in the first file"),
        (2, "`a` is a number here and text in line 1"),
    ]


def test_a_key_given_twice_is_found_on_every_level(data: Path) -> None:
    data.write_text(
        '{"a":1,"b":{"c":1}}\n{"a":1,"a":2}\n{"a" : 1, "b": {"c":1,"c":1}}\n'
        '{"a":1,"b":{"c":1},"e":": 1","d":"\\"a\\": 1"}\n{"a":1,"b":{"c":1}}\n',
        encoding="utf-8",
    )
    assert flaws(data)[0] == [
        (2, "gives the key `a` twice in one object"),
        (3, "gives the key `c` twice in one object"),
    ]


def test_quotation_marks_and_colons_in_texts_are_no_keys(data: Path) -> None:
    write(data, {"a": '"b": 1, "b": 2', "b": ": x"}, {"a": ":", "b": '\\": '})
    assert flaws(data)[0] == []


def test_pandas_takes_the_last_of_two_keys_in_an_array(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text('[\n{"a":1},\n{"a":1,"a":2}]', encoding="utf-8")
    types = types_of(path)
    found = [
        (block.lines[index], flaw.effect) for block in blocks(path) for index, flaw in types.flaws(block)
    ]
    assert found == [(3, "kept")]


def test_texts_that_are_all_dates_are_misread(data: Path) -> None:
    rows = [{"q": "2024-01-01", "a": "x", "m": [{"c": "2024-01-01 10:00"}]}, {"q": None, "a": "2024-01-01"}]
    write(data, *rows)
    message = "all values of `{}` look like dates, and are read as dates, not as text"
    assert flaws(data, prompt="q", response="a") == ([], [message.format("q")])
    assert flaws(data, messages="m") == ([], [message.format("m[].c")])
    assert flaws(data, prompt="a") == ([], [])


@pytest.mark.parametrize(
    "text", ["2024-02-30", "2024-01-01T10:00:00.5", "2024-1-1", "2024-01", "", "２０２４-01-01"]
)
def test_what_pyarrow_takes_for_no_date_is_text(data: Path, text: str) -> None:
    write(data, {"a": text})
    assert flaws(data, prompt="a") == ([], [])


def test_columns_of_numbers_in_csv_are_misread(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("q,a\nx,007\ny,8\n", encoding="utf-8")
    message = "all values of `a` look like numbers, and are read as numbers, not as text"
    assert flaws(path, prompt="q", response="a") == ([], [message])
    path.write_text("instruction,input,output\nx,,007\n", encoding="utf-8")
    assert flaws(path) == ([], [message.replace("`a`", "`output`")])


def test_an_object_that_holds_the_rows_in_a_list_is_named(data: Path) -> None:
    write(data, {"data": [{"q": "x", "a": "y"}], "version": 1})
    message = "is one object, which is read as one row, not as the rows in its list `data`"
    assert flaws(data, prompt="q", response="a") == ([], [message])
    write(data, {"messages": [{"role": "user", "content": "x"}]})
    assert flaws(data, messages="messages") == ([], [])


def test_no_rows_and_rows_without_columns_are_nothing(data: Path) -> None:
    for content in ("", "\n", "{}\n{}\n"):
        data.write_text(content, encoding="utf-8")
        assert flaws(data) == ([], ["holds no rows"])


def test_nesting_without_end_is_refused(data: Path) -> None:
    data.write_text('{"a":' + "[" * 900 + "]" * 900 + "}\n", encoding="utf-8")
    assert [line for line, _ in flaws(data)[0]] == [1]


def test_what_the_reader_passed_over_is_not_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_rows, "_READ_CHARACTERS", 20)
    path = tmp_path / "data.json"
    path.write_text('[{"a":1},\n{"a":1},\n{"a" 2, "b": "' + "x" * 200 + '"},\n{"a":3}]', encoding="utf-8")
    assert flaws(path) == ([], [])


def test_a_column_that_no_row_has_stops_the_training(data: Path) -> None:
    """The converters read what is registered of each row: KeyError."""
    write(data, {"a": "x", "b": {"c": "y"}})
    assert flaws(data, prompt="a", query="c", images="d") == (
        [],
        [
            "no row has the column `c`, which is read of each",
            "no row has the column `d`, which is read of each",
        ],
    )
    write(data, {"a": "x", "c": None, "d": None})
    assert flaws(data, prompt="a", query="c", images="d") == ([], [])
