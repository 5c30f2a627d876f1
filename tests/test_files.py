"""Reading YAML with lines and limits; writing whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from qtune.errors import QtuneError
from qtune.files import dump_yaml, leaves, parse_yaml, read_yaml, write_atomic


def refusal(text: str) -> QtuneError:
    with pytest.raises(QtuneError) as raised:
        parse_yaml(text, "x.yaml")
    return raised.value


def test_each_key_has_its_line() -> None:
    data, lines = parse_yaml("train:\n  a: 1\n\n  b:\n    c: [1, 2]\n", "x.yaml")
    assert data == {"train": {"a": 1, "b": {"c": [1, 2]}}}
    assert (lines[("train", "a")], lines[("train", "b", "c")]) == (2, 5)


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", "+1e3", ".5", "1_000e2"])
def test_numbers_are_what_llamafactory_takes_them_for(text: str) -> None:
    # OmegaConf, which LLaMA-Factory loads with, reads all of these as numbers; PyYAML only some
    data, _ = parse_yaml(f"value: {text}", "x.yaml")
    assert isinstance(data["value"], float)


def test_quoted_numbers_stay_text() -> None:
    assert parse_yaml("value: '1e-4'", "x.yaml")[0] == {"value": "1e-4"}


@pytest.mark.parametrize(
    "value",
    [
        1e-4,
        1e-5,
        1.5,
        10,
        True,
        "1e-4",
        "no",
        "null",
        "12",
        "a: b # c",
        "你好",
        "",
        None,
        [1e-9, "x"],
        {"a": {"b": 1e22}},
    ],
)
def test_dumped_values_read_back_alike(value: object) -> None:
    text = dump_yaml(value)
    assert "\n" not in text
    assert parse_yaml(f"key: {text}  # comment", "x.yaml")[0] == {"key": value}


def test_dumped_floats_are_numbers_to_plain_yaml_too() -> None:
    assert dump_yaml(1e-05) == "1.0e-05"
    assert yaml.safe_load(f"key: {dump_yaml(1e-05)}") == {"key": 1e-05}


@given(
    st.text(max_size=40) | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.booleans()
)
def test_any_scalar_survives(value: object) -> None:
    read = parse_yaml(f"key: {dump_yaml(value)}", "x.yaml")[0]["key"]
    assert read == value and type(read) is type(value)


def test_broken_yaml_names_its_line() -> None:
    error = refusal("train:\n  a: 1\n b: 2\n")
    assert error.where == "x.yaml:3" and "broken YAML" in error.what


def test_a_key_set_twice_names_both_lines() -> None:
    error = refusal("a: 1\nb: 2\na: 3\n")
    assert error.where == "x.yaml:3" and "line 1" in error.what


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system [id]",
        "a: !custom 1",
        "a: &x [1]\nb:\n  <<: {c: 1}",
        "? [1, 2]\n: 3",
        "a: 2026-13-45",
        "a: \x07",
        "a: *nowhere",
    ],
)
def test_what_is_no_plain_value_is_refused(text: str) -> None:
    assert refusal(text).fix


def test_an_alias_bomb_is_refused() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert "values" in refusal("\n".join(levels)).what


@pytest.mark.parametrize("depth", [40, 5_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    assert "nested deeper" in refusal("[" * depth + "]" * depth).what


def test_a_recursive_alias_is_refused() -> None:
    assert refusal("a: &a [*a]").fix


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: " + "x" * 2_000_000)
    with pytest.raises(QtuneError, match="larger than"):
        read_yaml(tmp_path / "x.yaml")


def test_text_that_is_not_utf8_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(QtuneError) as raised:
        read_yaml(tmp_path / "x.yaml", "x.yaml")
    assert raised.value.where == "x.yaml:2"


def test_a_byte_order_mark_and_an_empty_file_are_fine(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_yaml(tmp_path / "x.yaml").data == {"a": 1}
    (tmp_path / "x.yaml").write_bytes(b"")
    assert read_yaml(tmp_path / "x.yaml").data == {}


def test_leaves_keep_lists_and_empty_mappings_whole() -> None:
    assert dict(leaves({"a": {"b": [1], "c": {}}})) == {("a", "b"): [1], ("a", "c"): {}}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomic(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "new \udcff")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_written_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "data", "")
        write_atomic(tmp_path / "program", "", executable=True)
    finally:
        os.umask(before)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "program").stat().st_mode & 0o777 == 0o750
