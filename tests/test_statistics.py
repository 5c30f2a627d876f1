"""How long rows are, what cutoff_len takes from them, and what `qtune data stats` says about it."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import TINY_MODEL, Result, files_below

from qtune.config.project import find_project
from qtune.data.lengths import statistics
from qtune.data.lengths.chat import chat_for
from qtune.data.lengths.cutoff import cut_answers
from qtune.data.lengths.packing import greedy_knapsack, padded_tokens
from qtune.data.lengths.processors import Processor, infer_seqlen, processor_for
from qtune.data.lengths.statistics import Statistics, measure, quantile
from qtune.data.lengths.tokens import CharacterEstimate, load_tokenizer, model_file
from qtune.data.registrations import Registration, read_registrations
from qtune.data.rows.examples import Converter, converter
from qtune.files import Document
from qtune.predict.steps import predict_steps
from qtune.schema.chat_templates import chat_template

TRAIN = {"template": "qwen", "model_name_or_path": str(TINY_MODEL), "cutoff_len": 64}
COLUMNS = {"prompt": "instruction", "response": "output"}
LONG = "One more thing that has to be said. " * 40
Make = Callable[..., Path]
Run = Callable[..., Result]
Check = Callable[..., Any]


def measured(root: Path, name: str = "rows", **train: Any) -> Statistics:
    return measure(read_registrations(find_project(root))[name], {**TRAIN, **train}, root)


def answers(*texts: str) -> list[dict[str, str]]:
    return [{"instruction": "say it", "input": "", "output": text} for text in texts]


# counting


def test_tokens_are_counted_with_the_models_own_tokenizer(project: Make):
    found = measured(project())
    assert (found.rows, found.left_out, found.estimated) == (10, 0, 0)
    assert found.tokenizer == f"counted with {TINY_MODEL / 'tokenizer.json'}"
    assert found.tokens.total == sum(length * rows for length, rows in found.lengths.items())
    assert found.labels == 30  # a digit, <|im_end|> and a line break in each row


def test_what_cutoff_len_cuts_is_counted(project: Make):
    found = measured(project({"data/rows.jsonl": answers("short", LONG, LONG)}))
    assert (found.rows, found.cut, found.answers_cut) == (3, 2, 2)
    assert found.kept < found.tokens.total
    assert found.share_cut(64) == pytest.approx(2 / 3)
    assert found.share_cut(found.tokens.percentiles["max"]) == 0


def test_a_cut_question_loses_nothing_that_is_trained_on(project: Make):
    found = measured(project({"data/rows.jsonl": [{"instruction": LONG, "input": "", "output": "yes"}]}))
    assert (found.cut, found.answers_cut) == (1, 0)


def test_rows_that_the_library_drops_or_crashes_on_are_counted_apart(project: Make):
    rows = [*answers("good"), {"instruction": "x", "input": "", "output": None}, {"instruction": 5}, []]
    found = measured(project({"data/rows.jsonl": rows}))
    assert (found.rows, found.left_out) == (1, 3)


def test_turns_are_counted(project: Make):
    row = {"conversations": [{"from": who, "value": "x"} for who in ("human", "gpt") * 3]}
    found = measured(
        project(
            {
                "data/rows.jsonl": [row, row],
                "data/datasets.yaml": "rows: {file_name: rows.jsonl, formatting: sharegpt}",
            }
        )
    )
    assert found.rows_by_turns == {3: 2}


def test_pretraining_cuts_nothing_because_texts_follow_one_another(project: Make):
    found = measured(project({"data/rows.jsonl": [{"instruction": LONG}] * 4}), stage="pt")
    assert (found.cut, found.packing) == (0, True)
    assert found.padding.sequences == found.tokens.total // 64
    assert measured(project({"data/rows.jsonl": [{"instruction": LONG}]}), stage="pt", packing=False).cut == 1


def test_memory_is_bounded_by_drawing_rows(project: Make, monkeypatch: pytest.MonkeyPatch):
    root = project()
    every = measured(root).padding.without_packing
    monkeypatch.setattr(statistics, "_SAMPLED_ROWS", 4)
    assert measured(root).padding.without_packing == pytest.approx(every, abs=0.1)


# the model's tokenizer


def test_without_the_tokenizer_tokens_are_an_estimate_that_says_so(project: Make):
    found = measured(project(), model_name_or_path="Qwen/Qwen2.5-0.5B-Instruct")
    assert found.estimated == found.rows
    assert "estimated" in found.tokenizer and "Qwen/Qwen2.5-0.5B-Instruct" in found.tokenizer


def test_an_estimate_counts_a_chinese_character_as_twice_a_latin_one():
    assert CharacterEstimate("x").lengths(["a" * 100, "字" * 100, ""]) == [30, 60, 0]


@pytest.mark.parametrize(
    ("variable", "place"),
    [
        ("HF_HUB_CACHE", "models--some--model-1.5/snapshots/abc"),
        ("MODELSCOPE_CACHE", "models/some--model-1.5/snapshots/master"),
        ("MODELSCOPE_CACHE", "models/some/model-1___5"),
        ("MODELSCOPE_CACHE", "hub/models/some/model-1___5"),
        ("MODELSCOPE_CACHE", "hub/some/model-1___5"),
        ("MODELSCOPE_CACHE", "hub/models/some/model-1.5"),
    ],
)
def test_a_downloaded_model_is_found_in_either_hubs_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, place: str
):
    for name in ("HF_HUB_CACHE", "MODELSCOPE_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv(variable, str(tmp_path / "cache"))
    directory = tmp_path / "cache" / place
    shutil.copytree(TINY_MODEL, directory)
    reference = tmp_path / "cache" / "models--some--model-1.5" / "refs" / "main"
    if variable == "HF_HUB_CACHE":
        reference.parent.mkdir(parents=True)
        reference.write_text("abc\n", encoding="utf-8")
    train = {"model_name_or_path": "some/model-1.5"}
    assert model_file("config.json", train, tmp_path) == directory / "config.json"
    assert load_tokenizer(train, chat_template("qwen"), tmp_path).exact


def test_a_broken_tokenizer_is_named(project: Make, qtune: Run):
    root = project({"model/tokenizer.json": "{}", "model/config.json": {"model_type": "qwen2"}})
    result = qtune("data", "stats", "rows", "-m", "model", "-s", "template=qwen", directory=root)
    assert result.code == 2
    assert "model/tokenizer.json: is no tokenizer" in result.err


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    project: Make, qtune: Run, monkeypatch: pytest.MonkeyPatch
):
    root = project()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    result = qtune("data", "stats", "rows", directory=root)
    assert result.code == 2
    assert "pip install 'qtune[data]'" in result.err


# cutting, packing and padding


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 300))
def test_what_is_kept_of_a_turn_is_never_more_than_there_is_nor_than_fits(
    source: int, target: int, room: int
):
    kept_source, kept_target = infer_seqlen(source, target, room)
    assert 0 <= kept_source <= source and 0 <= kept_target <= target
    assert kept_source + kept_target == min(source + target, room)


@given(st.lists(st.integers(1, 64), max_size=60))
def test_knapsacks_hold_every_row_and_never_too_much(lengths: list[int]):
    knapsacks = greedy_knapsack(list(lengths), 64)
    assert sorted(length for knapsack in knapsacks for length in knapsack) == sorted(lengths)
    assert all(sum(knapsack) <= 64 for knapsack in knapsacks)


def test_a_batch_is_padded_to_its_longest_row_rounded_up():
    assert padded_tokens([[3, 9, 5]], 2, 8, True) == 2 * 16 + 8
    assert padded_tokens([[3, 9], [20, 1]], 2, 8, True) == 4 * 24
    assert padded_tokens([[3, 9], [20, 1]], 2, 8, False) == 2 * 16 + 2 * 24


def test_packing_is_recommended_for_rows_of_very_different_length(project: Make):
    uneven = measured(
        project({"data/rows.jsonl": answers("a", LONG) * 20}), cutoff_len=2048, per_device_train_batch_size=8
    )
    even = measured(project({"data/rows.jsonl": answers(LONG) * 20}), cutoff_len=512)
    assert uneven.recommends_packing
    assert not even.recommends_packing


def test_packing_is_not_recommended_where_the_model_carries_a_state(project: Make, qtune: Run):
    root = project({"data/rows.jsonl": answers("a", LONG) * 20})
    shutil.copytree(TINY_MODEL, root / "model")
    stats = ("data", "stats", "rows", "-m", "model", "-s", "template=qwen", "-s", "cutoff_len=2048")
    assert "-s packing=true -s neat_packing=true" in qtune(*stats, directory=root).out
    (root / "model" / "config.json").write_text('{"model_type": "qwen3_next"}', encoding="utf-8")
    assert "would let rows see each other" in qtune(*stats, directory=root).out
    packed = qtune(*stats, "-s", "packing=true", directory=root).out
    assert "packing     on: `qtune check` says whether rows see each other" in packed


# what is recommended


@given(st.dictionaries(st.integers(0, 5000), st.integers(1, 50), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_the_least_value_that_enough_rows_do_not_exceed(rows: dict[int, int], share: float):
    counts = Counter(rows)
    found = quantile(counts, share)
    below = sum(number for value, number in rows.items() if value < found)
    reached = sum(number for value, number in rows.items() if value <= found)
    assert reached / counts.total() >= share - 1e-6
    assert below / counts.total() < share


def test_the_recommended_cutoff_len_covers_nearly_all_rows_and_is_a_multiple_of_64(project: Make):
    found = measured(project({"data/rows.jsonl": answers(*["short"] * 199, LONG)}))
    assert found.recommended_cutoff_len == 64
    assert found.share_cut(found.recommended_cutoff_len) <= 0.01


def test_the_recommended_cutoff_len_never_exceeds_the_models_positions(project: Make):
    found = measured(project({"data/rows.jsonl": answers(LONG * 30)}))
    assert found.tokens.total > 4096
    assert found.recommended_cutoff_len == 4096


@pytest.mark.parametrize("bins", [1, 7, 16, 40])
def test_every_row_is_in_one_bar_of_the_histogram(project: Make, bins: int):
    found = measured(project({"data/rows.jsonl": answers(*("word " * number for number in range(300)))}))
    bars = found.histogram(bins)
    assert sum(rows for _, _, rows in bars) == found.rows
    assert all(one[1] + 1 == other[0] for one, other in pairwise(bars))
    assert bars[-1][1] >= found.tokens.percentiles["max"]


# the check of rows


def test_rows_whose_answer_is_cut_are_reported_with_their_line(project: Make):
    root = project({"data/rows.jsonl": answers("short", LONG)})
    check = cut_answers(TRAIN, read_registrations(find_project(root))["rows"], root)
    ((line, flaw),) = check(answers("short", LONG), [7, 9])
    assert (line, flaw.kind, flaw.effect) == (9, "cutoff", "kept")
    assert "64" in flaw.message and "cutoff_len" in flaw.fix


@cache
def checking() -> tuple[Processor, Converter, Check]:
    document = Document({}, {}, Path("data/datasets.yaml"), "data/datasets.yaml", "")
    registration = Registration("rows", {"file_name": "absent.json", "columns": COLUMNS}, document)
    chat = chat_for(TRAIN)
    processor = processor_for(TRAIN, chat, load_tokenizer(TRAIN, chat.template, Path()))
    return processor, converter(registration), cut_answers(TRAIN, registration, Path())


@given(st.lists(st.tuples(st.text(max_size=90), st.text(max_size=90)), min_size=1, max_size=8))
def test_short_rows_are_passed_over_without_a_cut_one_being_missed(pairs: list[tuple[str, str]]):
    processor, convert, check = checking()
    rows = [{"instruction": asked, "output": answered} for asked, answered in pairs]
    lengths = processor.measure([convert(row) for row in rows])
    cut = [line for line, row in enumerate(lengths) if row and processor.fit(row.pairs, 64).lost]
    assert [line for line, _ in check(rows, range(len(rows)))] == cut


# the command


def test_stats_says_what_to_set(project: Make, qtune: Run):
    root = project({"data/rows.jsonl": answers("a", LONG) * 20})
    result = qtune("data", "stats", "rows", "-s", "cutoff_len=128", "--hardware", "cpu", directory=root)
    assert result.code == 0
    assert "40 rows" in result.out and "template qwen" in result.out
    assert "20 rows (50.0%) are longer than cutoff_len 128" in result.out
    assert "-s cutoff_len=" in result.out


def test_json_holds_the_same_and_the_steps_of_the_training(project: Make, qtune: Run):
    root = project()
    result = qtune("data", "stats", "rows", "--json", "-p", "lora", "--hardware", "cpu", directory=root)
    found = json.loads(result.out)
    assert (found["rows"], found["stage"], found["preset"]) == (10, "sft", "lora")
    batch = {"per_device_train_batch_size": found["batch_size"], "gradient_accumulation_steps": 4}
    steps = predict_steps(batch, 10, 1)
    assert steps is not None
    assert found["steps"]["without_packing"] == {
        "total": steps.total,
        "effective_batch": steps.effective_batch,
    }


def test_the_page_stands_alone(project: Make, qtune: Run):
    root = project({"data/rows.jsonl": answers("a", LONG, LONG)})
    result = qtune("data", "stats", "rows", "-s", "cutoff_len=128", "--html", "page.html", directory=root)
    page = (root / "page.html").read_text(encoding="utf-8")
    assert result.code == 0 and "wrote page.html" in result.err
    assert "<svg" in page and "p95" in page and "cutoff_len 128" in page
    assert "http" not in page and "<script" not in page


def test_a_failed_page_leaves_nothing_behind(project: Make, qtune: Run):
    root = project({"data/rows.jsonl": [{"nothing": 1}]})
    before = files_below(root)
    result = qtune("data", "stats", "rows", "--html", "page.html", directory=root)
    assert result.code == 2
    assert files_below(root) == before


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{hf_hub_url: some/data}", "lies on a hub"),
        ("{file_name: missing.jsonl}", "there is no file"),
        ("{file_name: rows.jsonl, ranking: true}", "--preset dpo"),
    ],
)
def test_data_that_cannot_be_measured_is_said_in_one_line(project: Make, qtune: Run, entry: str, said: str):
    root = project({"data/datasets.yaml": f"rows: {entry}\n"})
    result = qtune("data", "stats", "rows", directory=root)
    assert result.code == 2
    assert said in result.err
    assert "data/datasets.yaml" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    "wrong", ["cutoff_len=abc", "cutoff_len=0", "stage=foo", "per_device_train_batch_size=0", "template=qwem"]
)
def test_a_config_that_the_library_refuses_is_refused(project: Make, qtune: Run, wrong: str):
    result = qtune("data", "stats", "rows", "-s", wrong, directory=project())
    assert result.code == 2
    assert wrong.partition("=")[0] in result.err and "fix:" in result.err
    assert "qtune itself failed" not in result.err


def test_an_unknown_dataset_is_told_what_comes_near(project: Make, qtune: Run):
    result = qtune("data", "stats", "row", directory=project())
    assert result.code == 2
    assert "`rows`" in result.err
