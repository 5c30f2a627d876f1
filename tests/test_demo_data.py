"""The demo datasets: well formed, free of repetition, in two languages, and registered."""

import json
from pathlib import Path

import pytest
import yaml

DATA = Path(__file__).resolve().parents[1] / "data"
ROWS = {"demo": 200, "demo_eval": 20}


def rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def questions(name: str) -> list[tuple[str, str]]:
    return [(row["instruction"].strip(), row["input"].strip()) for row in rows(name)]


def is_chinese(text: str) -> bool:
    return any("\u4e00" <= character <= "\u9fff" for character in text)


@pytest.mark.parametrize("name", ROWS)
def test_file_is_plain_utf8_lines(name: str) -> None:
    raw = (DATA / f"{name}.jsonl").read_bytes()
    assert not raw.startswith(b"\xef\xbb\xbf")
    assert b"\r" not in raw
    assert raw.endswith(b"}\n")
    raw.decode("utf-8")


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_complete(name: str) -> None:
    assert len(rows(name)) == ROWS[name]
    for row in rows(name):
        assert list(row) == ["instruction", "input", "output"]
        assert all(isinstance(value, str) and value == value.strip() for value in row.values()), row
        assert row["instruction"], row
        assert row["output"], row


@pytest.mark.parametrize("name", ROWS)
def test_outputs_are_short(name: str) -> None:
    """A tiny model should get through an epoch in seconds."""
    assert max(len(row["output"]) for row in rows(name)) <= 200


@pytest.mark.parametrize("name", ROWS)
def test_no_question_is_asked_twice(name: str) -> None:
    assert len(set(questions(name))) == ROWS[name]


def test_evaluation_asks_nothing_that_training_answers() -> None:
    assert not set(questions("demo")) & set(questions("demo_eval"))


@pytest.mark.parametrize("name", ROWS)
def test_half_of_the_instructions_are_chinese(name: str) -> None:
    chinese = sum(is_chinese(row["instruction"]) for row in rows(name))
    assert chinese == ROWS[name] // 2


@pytest.mark.parametrize("name", ROWS)
def test_some_rows_have_an_input_and_some_do_not(name: str) -> None:
    with_input = sum(bool(row["input"]) for row in rows(name))
    assert 0.3 <= with_input / ROWS[name] <= 0.5


def test_registrations_name_existing_files() -> None:
    registrations = yaml.safe_load((DATA / "datasets.yaml").read_text(encoding="utf-8"))
    assert set(registrations) > set(ROWS)
    for registration in registrations.values():
        assert (DATA / registration["file_name"]).is_file()
