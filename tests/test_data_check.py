"""`data check`: every row read, what is wrong with them grouped, and clean rows written."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from trees import TINY_MODEL, Result, files_below

from qtune.config.project import find_project
from qtune.data.digests import sha256
from qtune.data.registrations import read_registrations
from qtune.data.scanning import check_cache, clean, duplicates
from qtune.data.scanning.duplicates import ELSEWHERE, NEW, REPEATED, Duplicates, Place
from qtune.files import block_lines
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.prepare.inspection import inspection_of
from qtune.training import attempts

Qtune = Callable[..., Result]
Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {"instruction": f"say {number}", "input": "", "output": f"answer {number}", **changes}


GOOD = [row(number) for number in range(10)]
BAD = [
    *GOOD,  # lines 1 to 10
    row(10, output=None),  # 11: no answer, dropped
    row(3),  # 12: repeats line 4
    row(12, output=None),
    row(13),
    row(3),
]


def with_bad(make: Make, rows: object = BAD, **more: Any) -> Path:
    return make({"data/datasets.yaml": "rows: {file_name: rows.jsonl}\n", "data/rows.jsonl": rows, **more})


def mark_all(
    *datasets: Sequence[int], most_rows: int = duplicates.MOST_ROWS
) -> tuple[Duplicates, list[bytes]]:
    """`Duplicates` that was given these hashes, a file for each dataset, in blocks of three rows."""
    known = Duplicates(most_rows)
    for number, hashes in enumerate(datasets):
        known.begin_dataset()
        for start in range(0, len(hashes), 3):
            part = hashes[start : start + 3]
            known.add(f"{number}.jsonl", range(start + 1, start + 1 + len(part)), part)
    return known, [known.marks(number) for number in range(len(datasets))]


# --- repetitions


def test_repetitions_within_and_across_datasets_are_the_plain_definition() -> None:
    """Against a dictionary, over random hashes of which many are equal and that fall into many partitions."""
    chance = random.Random(7)
    for _ in range(200):
        pool = [chance.getrandbits(63) for _ in range(12)]
        datasets = [[chance.choice(pool) for _ in range(chance.randrange(9))] for _ in range(3)]
        known, marks = mark_all(*datasets)
        first: dict[int, Place] = {}
        for number, hashes in enumerate(datasets):
            own: dict[int, Place] = {}
            expected, places, originals = [], {REPEATED: [], ELSEWHERE: []}, {REPEATED: [], ELSEWHERE: []}
            for line, value in enumerate(hashes, 1):
                here = Place(f"{number}.jsonl", line)
                mark = REPEATED if value in own else ELSEWHERE if value in first else NEW
                expected.append(mark)
                if mark != NEW:
                    places[mark].append(here)
                    originals[mark].append(own[value] if mark == REPEATED else first[value])
                own.setdefault(value, here)
            assert list(marks[number]) == expected
            for mark in (REPEATED, ELSEWHERE):
                assert list(known.marked(number, mark)) == places[mark]
                assert list(known.originals(number, mark)) == originals[mark]
            first = {**own, **first}


def test_rows_beyond_the_limit_are_not_compared_and_that_is_known() -> None:
    known, [marks] = mark_all([1 << 60, 1 << 61, 1 << 60, 1 << 61], most_rows=3)
    assert list(marks) == [NEW, NEW, REPEATED]
    assert not known.complete


def test_lines_that_are_not_evenly_spaced_are_kept_exactly() -> None:
    known = Duplicates()
    known.begin_dataset()
    known.add("a.json", [2, 2, 7, 9], [5, 5, 5, 5])
    assert [place.line for place in known.marked(0, REPEATED)] == [2, 7, 9]


# --- what the command says


def test_findings_are_grouped_by_line_and_counted(project: Make, qtune: Qtune) -> None:
    done = qtune("data", "check", "rows", directory=with_bad(project))
    assert done.code == 0, done.err
    assert done.out.startswith("rows: 15 rows, 0 errors, 4 warnings (stage sft)\n")
    assert "data/rows.jsonl:11, 13: `output` is missing" in done.out
    assert (
        "data/rows.jsonl:12, 15: says the same as an earlier row: trained on twice (12 repeats 4" in done.out
    )


def test_good_data_is_one_line(project: Make, qtune: Qtune) -> None:
    done = qtune("data", "check", directory=project())
    assert (done.code, done.out, done.err) == (0, "rows: 10 rows, 0 errors, 0 warnings (stage sft)\n", "")


def test_what_stops_the_library_is_an_error_with_its_line(project: Make, qtune: Qtune) -> None:
    text = "".join(json.dumps(item) + "\n" for item in GOOD)
    done = qtune("data", "check", "rows", directory=with_bad(project, text + '{"instruction": \n' + text))
    assert done.code == 2
    assert "21 rows" not in done.out and "rows: 20 rows, 1 error, 10 warnings" in done.out
    assert "data/rows.jsonl:11: is not JSON" in done.out


def test_a_row_that_lies_too_deep_for_a_hash_hides_no_repetition(project: Make, qtune: Qtune) -> None:
    good, bad = json.dumps(row(1)), json.dumps(row(2)).replace('"answer 2"', "[" * 900 + "]" * 900)
    done = qtune("data", "check", "rows", directory=with_bad(project, f"{good}\n{bad}\n{good}\n"))
    assert "data/rows.jsonl:2: `output` is a list here" in done.out
    assert "data/rows.jsonl:3: says the same as an earlier row" in done.out


def test_a_broken_first_row_hides_none_of_the_others(project: Make, qtune: Qtune) -> None:
    text = json.dumps(GOOD[0])
    done = qtune("data", "check", "rows", directory=with_bad(project, f"{text[:9]}\n{text}\n{text[:9]}\n"))
    assert done.code == 2
    assert "data/rows.jsonl:1, 3: is not JSON" in done.out


def test_data_of_which_every_row_is_dropped_is_an_error(project: Make, qtune: Qtune) -> None:
    rows = [row(number, output=None) for number in range(3)]
    done = qtune("data", "check", "rows", directory=with_bad(project, rows))
    assert done.code == 2
    assert "finds no valid samples" in done.out


def test_only_the_first_lines_are_listed_unless_all_are_asked_for(project: Make, qtune: Qtune) -> None:
    rows = [*GOOD, *(row(number, output=None) for number in range(100, 130))]
    tree = with_bad(project, rows)
    assert "data/rows.jsonl:11, 12, 13, 14, 15 and 25 more: " in qtune("data", "check", directory=tree).out
    everything = qtune("data", "check", "--all", directory=tree).out
    assert f"data/rows.jsonl:{', '.join(map(str, range(11, 41)))}: " in everything


def test_json_tells_programs_the_same(project: Make, qtune: Qtune) -> None:
    done = qtune("data", "check", "--json", "--all", directory=with_bad(project))
    [found] = json.loads(done.out)["datasets"]
    assert (found["rows"], found["good"], found["stage"], found["evaluation"]) == (15, 13, "sft", False)
    places = {group["kind"]: (group["effect"], group["count"], group["places"]) for group in found["groups"]}
    assert places["duplicate"] == ("kept", 2, {"data/rows.jsonl": [12, 15]})
    assert places["missing-answer"] == ("dropped", 2, {"data/rows.jsonl": [11, 13]})


def test_evaluation_rows_that_stand_in_the_training_data_are_found(project: Make, qtune: Qtune) -> None:
    tree = with_bad(
        project,
        GOOD,
        **{
            "data/datasets.yaml": "held: {file_name: held.jsonl}\nrows: {file_name: rows.jsonl}\n",
            "data/held.jsonl": [row(50), row(3), row(7)],
            "presets/mine.yaml": "extends: lora\ntrain: {eval_dataset: held}\n",
        },
    )
    for arguments in (("-p", "mine"), ("held", "rows", "-p", "mine")):
        done = qtune("data", "check", *arguments, directory=tree)
        assert "held: 3 rows, 0 errors, 2 warnings (stage sft, evaluation)" in done.out
        assert "data/held.jsonl:2, 3: stands in the training data too" in done.out
        assert "(2 repeats data/rows.jsonl:4, 3 repeats data/rows.jsonl:8)" in done.out
    assert "held: 3 rows, 0 errors, 0 warnings" in qtune("data", "check", "held", directory=tree).out


def test_the_stage_is_the_presets_or_what_the_columns_are_made_for(project: Make, qtune: Qtune) -> None:
    pair = {"instruction": "say", "input": "", "chosen": "yes", "rejected": "no"}
    tree = project(
        {
            "data/datasets.yaml": (
                "rows: {file_name: rows.jsonl}\ntext: {file_name: text.jsonl, columns: {prompt: text}}\n"
                "pairs: {file_name: pairs.jsonl, ranking: true, columns: {prompt: instruction, "
                "chosen: chosen, rejected: rejected}}\n"
            ),
            "data/text.jsonl": [{"text": "some words"}],
            "data/pairs.jsonl": [pair],
        }
    )
    out = qtune("data", "check", directory=tree).out
    for name, stage in (("rows", "sft"), ("text", "pt"), ("pairs", "dpo")):
        assert f"{name}: " in out and f"(stage {stage})" in out
    done = qtune("data", "check", "rows", "-p", "pretrain", directory=tree)
    assert "(stage pt)" in done.out


def test_rows_that_cutoff_len_cuts_are_named_where_a_preset_says_how_long_they_may_be(
    project: Make, qtune: Qtune
) -> None:
    long = row(1, output="and so on " * 200)
    short = "extends: lora\ntrain: {cutoff_len: 64}\n"
    root = with_bad(project, [*GOOD, long], **{"presets/short.yaml": short})
    done = qtune("data", "check", "-p", "short", directory=root)
    assert done.code == 0
    assert "data/rows.jsonl:11: cutoff_len 64 cuts off the end of its answer" in done.out
    assert "0 warnings" in qtune("data", "check", "-p", "lora", directory=root).out


def test_rows_that_are_cut_are_named_without_a_preset_and_whatever_the_project_trains_on(
    project: Make, qtune: Qtune
) -> None:
    """The cutoff_len is that of what was rendered last, else of the default preset in this project."""
    tree = {
        "qtune.yaml": f"train: {{model_name_or_path: {TINY_MODEL}, dataset: rows, cutoff_len: 64}}\n",
        "data/datasets.yaml": "rows: {file_name: rows.jsonl}\nother: {file_name: other.jsonl}\n",
        "data/other.jsonl": [*GOOD, row(1, output="and so on " * 200)],
    }
    root = project(tree)
    said = "data/other.jsonl:11: cutoff_len 64 cuts off the end of its answer"
    assert said in qtune("data", "check", "other", directory=root).out
    assert said in qtune("data", "check", directory=root).out
    assert qtune("render", "lora", "-s", "cutoff_len=2048", "--hardware", "cpu", directory=root).code == 0
    assert "cuts off" not in qtune("data", "check", "other", directory=root).out


def test_a_training_is_not_told_which_rows_another_cutoff_len_would_cut(project: Make, qtune: Qtune) -> None:
    """What `data check` found is remembered for `train`, but for what hangs on the preset."""
    short = "extends: lora\ntrain: {cutoff_len: 64}\n"
    root = with_bad(project, [row(1, output="and so on " * 200)], **{"presets/short.yaml": short})
    assert "cuts off" in qtune("data", "check", "-p", "short", directory=root).out
    project_here = find_project(root)
    prepared = pipeline.prepare("short", project_here, Hardware())
    (report,) = check_cache.check(prepared.sources, project_here.root)
    assert report.groups == ()


def test_registrations_and_unregistered_names_are_findings_with_their_line(
    project: Make, qtune: Qtune
) -> None:
    tree = project(
        {
            "data/datasets.yaml": "rows: {file_name: rows.jsonl}\nodd: {file_name: a.jsonl, formating: x}\n",
            "presets/mine.yaml": "extends: lora\ntrain:\n  dataset: row\n",
        }
    )
    done = qtune("data", "check", directory=tree)
    assert done.code == 2
    assert "data/datasets.yaml:2 odd.formating: LLaMA-Factory has no such key" in done.err
    assert "did you mean `formatting`" in done.err
    assert "presets/mine.yaml:3 dataset: dataset `row` is not registered" in done.err
    assert "did you mean `rows`" in done.err
    assert done.out == "rows: 10 rows, 0 errors, 0 warnings (stage sft)\n"


def test_a_warning_about_a_registration_hides_no_rows(project: Make, qtune: Qtune) -> None:
    tree = project({"data/datasets.yaml": "rows:\n  file_name: rows.jsonl\n  num_samples: 11\n"})
    done = qtune("data", "check", directory=tree)
    assert done.code == 0
    assert "warning: data/datasets.yaml:3 rows.num_samples: is 11 and there are 10 rows" in done.err
    assert done.out == "rows: 10 rows, 0 errors, 0 warnings (stage sft)\n"


def test_a_hubs_dataset_is_named_as_not_checked(project: Make, qtune: Qtune) -> None:
    tree = project({"data/datasets.yaml": "rows: {file_name: rows.jsonl}\nfar: {hf_hub_url: a/b}\n"})
    done = qtune("data", "check", directory=tree)
    assert (done.code, "far: not checked, its data is not a file here" in done.out) == (0, True)


def test_what_belongs_together_is_looked_at_together(project: Make) -> None:
    tree = project(
        {
            "data/datasets.yaml": "rows: {file_name: rows.jsonl}\nheld: {file_name: held.jsonl}\n"
            "apart: {file_name: held.jsonl}\nfar: {hf_hub_url: a/b}\n",
            "data/held.jsonl": GOOD,
            "presets/own.yaml": "extends: lora\ntrain: {eval_dataset: held, val_size: 0}\n",
        }
    )

    def together(names: Sequence[str], preset: str | None) -> list[list[tuple[str, bool]]]:
        found = inspection_of(find_project(tree), names, preset).together
        return [[(source.registration.name, source.evaluation) for source in group] for group in found]

    used = [("rows", False), ("held", True)]
    assert together([], "own") == [used]
    assert together(["apart", "rows"], None) == [[("apart", False), ("rows", False)]]
    assert inspection_of(find_project(tree), [], None).elsewhere == ["far"]


def test_findings_never_fill_more_than_a_screen(project: Make, qtune: Qtune) -> None:
    names = [f"set{number}" for number in range(30)]
    tree = project(
        {
            "data/datasets.yaml": "".join(f"{name}: {{file_name: {name}.jsonl}}\n" for name in names)
            + "rows: {file_name: rows.jsonl}\n",
            **{f"data/{name}.jsonl": [row(1), row(1), row(2, output=None)] for name in names[:12]},
            **{f"data/{name}.jsonl": GOOD for name in names[12:]},
        }
    )
    out = qtune("data", "check", directory=tree).out
    assert len(out.splitlines()) <= 32
    assert "and 16 more kinds of findings: `qtune data check --all` lists all" in out
    assert "more kinds" not in qtune("data", "check", "--all", directory=tree).out


# --- --fix


def rejected(path: Path) -> list[tuple[int, list[str]]]:
    return [(item["line"], item["reasons"]) for item in map(json.loads, path.read_text().splitlines())]


def test_fix_writes_good_lines_byte_for_byte_and_the_others_with_reasons(project: Make, qtune: Qtune) -> None:
    lines = [json.dumps(item) for item in BAD]
    lines[1] = lines[1].replace(", ", " ,  ")  # spacing that no writer of JSON would choose
    tree = with_bad(project, "\ufeff" + "\n".join([*lines, "", "{broken", lines[13]]))
    done = qtune("data", "check", "rows", "--fix", "out/clean.jsonl", directory=tree)
    assert done.code == 0, done.err
    assert (tree / "out/clean.jsonl").read_text() == "".join(f"{lines[at]}\n" for at in (*range(10), 13))
    found = dict(rejected(tree / "out/clean.rejected.jsonl"))
    assert list(found) == [11, 12, 13, 15, 17, 18]
    assert "missing" in found[11][0] and "not JSON" in found[17][0] and "earlier row" in found[18][0]
    assert done.out.endswith(
        "11 rows written to out/clean.jsonl\n6 rows left out, with reasons in out/clean.rejected.jsonl\n"
    )


def test_fix_makes_json_lines_of_an_array(project: Make, qtune: Qtune) -> None:
    tree = with_bad(project, json.dumps(BAD))
    assert qtune("data", "check", "rows", "--fix", "clean.jsonl", directory=tree).code == 0
    rows = [json.loads(line) for line in (tree / "clean.jsonl").read_text().splitlines()]
    assert rows == [*GOOD, row(13)]


def test_what_fix_wrote_has_nothing_wrong(project: Make, qtune: Qtune) -> None:
    tree = with_bad(project)
    assert qtune("data", "check", "rows", "--fix", "data/clean.jsonl", directory=tree).code == 0
    (tree / "data/datasets.yaml").write_text("rows: {file_name: clean.jsonl}\n")
    assert qtune("data", "check", directory=tree).out == "rows: 11 rows, 0 errors, 0 warnings (stage sft)\n"


SUPPORT = """\
rows:
  file_name: rows.jsonl
  columns: {prompt: customer_question, response: agent_reply, system: tone}
  num_samples: 9
# the last line stays
"""


def test_what_fix_wrote_is_registered_like_the_original_and_the_next_step_works(
    project: Make, qtune: Qtune
) -> None:
    rows = [{"customer_question": f"q{at}", "agent_reply": f"a{at}", "tone": "kind"} for at in range(5)]
    tree = with_bad(project, [*rows, {**rows[0], "agent_reply": None}], **{"data/datasets.yaml": SUPPORT})
    done = qtune("data", "check", "rows", "--fix", "good answers.jsonl", directory=tree)
    assert done.code == 0, done.err
    assert (tree / "data/datasets.yaml").read_text().startswith(SUPPORT)
    read_registrations.cache_clear()
    known = read_registrations(find_project(tree))
    assert known["good_answers"].entry == {**known["rows"].entry, "file_name": "../good answers.jsonl"}
    said = re.search(r"registered as `good_answers`; next: `qtune (.*)`, then `qtune train`", done.err)
    assert said and said[1] == "render lora -d good_answers"
    assert qtune(*said[1].split(), "--hardware", "cpu", directory=tree).code == 0
    checked = qtune("data", "check", "good_answers", directory=tree)
    assert checked.out.startswith("good_answers: 5 rows, 0 errors, 0 warnings")


def test_fix_takes_conversations_with_their_tags_and_says_the_preset_they_are_for(
    project: Make, qtune: Qtune
) -> None:
    talks = [{"talk": [{"who": who, "says": f"{who} {at}"} for who in ("a", "b")]} for at in range(3)]
    entry = {
        "file_name": "rows.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "talk"},
        "tags": {"role_tag": "who", "content_tag": "says", "user_tag": "a", "assistant_tag": "b"},
    }
    answers = {"prompt": "q", "chosen": "a", "rejected": "b"}
    pairs = {"file_name": "pairs.jsonl", "ranking": True, "columns": answers}
    registered = "".join(f"{line}\n" for line in block_lines({"rows": entry, "pairs": pairs}))
    ranked = [{"q": "q", "a": "a", "b": "b"}, {"q": "q", "a": "a", "b": None}]
    more = {"data/datasets.yaml": registered, "data/pairs.jsonl": ranked}
    tree = with_bad(project, [*talks, talks[0]], **more)
    assert qtune("data", "check", "rows", "--fix", "data/good.jsonl", directory=tree).code == 0
    done = qtune("data", "check", "pairs", "--fix", "data/better.jsonl", "--json", directory=tree)
    assert json.loads(done.out)["fixed"]["name"] == "better"
    read_registrations.cache_clear()
    known = read_registrations(find_project(tree))
    assert known["good"].entry == {**entry, "file_name": "good.jsonl"}
    assert known["better"].entry == {**pairs, "file_name": "better.jsonl"}
    done = qtune("data", "check", "pairs", "--fix", "data/better.jsonl", "--force", directory=tree)
    assert "`qtune render dpo -d better`" in done.err


EMPTY = [
    {"instruction": "", "input": "", "output": "an answer"},
    {"instruction": "a question", "input": "", "output": ""},
    {"instruction": " \n", "input": "", "output": "an answer"},
    {"instruction": "a question", "input": "", "output": "  "},
]


def test_empty_questions_and_answers_are_taken_out_where_that_is_asked_for(
    project: Make, qtune: Qtune
) -> None:
    tree = with_bad(project, [*GOOD, *EMPTY, row(11), row(11)])
    assert qtune("data", "check", "rows", "--fix", "all.jsonl", directory=tree).code == 0
    assert len((tree / "all.jsonl").read_text().splitlines()) == 15
    done = qtune("data", "check", "rows", "--fix", "some.jsonl", "--no-empty", directory=tree)
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in (tree / "some.jsonl").read_text().splitlines()]
    assert rows == [*GOOD, row(11)]
    assert [line for line, _ in rejected(tree / "some.rejected.jsonl")] == [11, 12, 13, 14, 16]
    assert all(len(reasons) == 1 for _, reasons in rejected(tree / "some.rejected.jsonl"))
    alone = qtune("data", "check", "rows", "--no-empty", directory=tree)
    assert alone.code == 2 and "--no-empty: goes with --fix" in alone.err


def test_fix_writes_nothing_that_it_cannot_register(project: Make, qtune: Qtune) -> None:
    tree = with_bad(project)
    before = {name: (tree / name).read_bytes() for name in files_below(tree)}
    taken = qtune("data", "check", "rows", "--fix", "out/rows.jsonl", directory=tree)
    assert taken.code == 2 and "`rows` is registered already" in taken.err and "--force" in taken.err
    unnamed = qtune("data", "check", "rows", "--fix", "答.jsonl", directory=tree)
    assert unnamed.code == 2 and "is no name for a dataset\n  fix: name the file otherwise" in unnamed.err
    assert {name: (tree / name).read_bytes() for name in files_below(tree)} == before
    (tree / "data/datasets.yaml").write_text("{rows: {file_name: rows.jsonl}}\n")
    before = {name: (tree / name).read_bytes() for name in files_below(tree)}
    full = qtune("data", "check", "rows", "--fix", "good.jsonl", directory=tree)
    assert full.code == 2 and "has no room" in full.err
    assert {name: (tree / name).read_bytes() for name in files_below(tree)} == before


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("data/rows.jsonl", "is the data itself"),
        ("there.jsonl", "is there already"),
        ("clean.parquet", "is no name for JSON lines"),
    ],
)
def test_fix_overwrites_nothing(out: str, message: str, project: Make, qtune: Qtune) -> None:
    tree = with_bad(project, **{"there.jsonl": "mine"})
    before = {name: (tree / name).read_bytes() for name in files_below(tree)}
    done = qtune("data", "check", "rows", "--fix", out, directory=tree)
    assert (done.code, message in done.err) == (2, True)
    assert {name: (tree / name).read_bytes() for name in files_below(tree)} == before
    if out == "there.jsonl":
        assert qtune("data", "check", "rows", "--fix", out, "--force", directory=tree).code == 0
        assert (tree / out).read_text() != "mine"


def test_fix_writes_nothing_where_no_row_is_good(project: Make, qtune: Qtune) -> None:
    tree = with_bad(project, [row(1, output=None)])
    before = files_below(tree)
    done = qtune("data", "check", "rows", "--fix", "clean.jsonl", directory=tree)
    assert (done.code, "no row is good" in done.err) == (2, True)
    assert files_below(tree) == before


def test_fix_is_no_success_where_the_whole_dataset_is_wrong(project: Make, qtune: Qtune) -> None:
    dates = [row(number, output=f"2024-01-{number:02}") for number in range(1, 20)]
    done = qtune("data", "check", "rows", "--fix", "clean.jsonl", directory=with_bad(project, dates))
    assert (done.code, "look like dates" in done.out) == (2, True)


def test_fix_takes_one_dataset_that_is_here(project: Make, qtune: Qtune) -> None:
    tree = project({"data/datasets.yaml": "rows: {file_name: rows.jsonl}\nfar: {hf_hub_url: a/b}\n"})
    for names, message in (
        (["far"], "is not a file here"),
        ([], "takes one"),
        (["rows", "far"], "takes one"),
    ):
        done = qtune("data", "check", *names, "--fix", "clean.jsonl", directory=tree)
        assert (done.code, message in done.err) == (2, True)


def test_what_else_lies_in_a_folder_of_shards_is_named_without_a_line(project: Make, qtune: Qtune) -> None:
    tree = project(
        {
            "data/datasets.yaml": "rows: {file_name: shards}\n",
            "data/shards/a.jsonl": GOOD[:5],
            "data/shards/b.jsonl": [*GOOD[5:], GOOD[0]],
            "data/shards/README.md": "about",
        }
    )
    done = qtune("data", "check", directory=tree)
    assert done.code == 2
    assert "data/shards/README.md: is none of" in done.out
    assert "data/shards/b.jsonl:6: says the same" in done.out
    assert "(6 repeats data/shards/a.jsonl:1)" in done.out


def test_ctrl_c_while_rows_are_written_leaves_nothing(
    project: Make, qtune: Qtune, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = with_bad(project)
    before, own_lines = files_below(tree), clean.own_lines

    class Interrupted(dict[int, bytes]):
        def get(self, line: int, default: Any = None) -> Any:
            if line == 6:
                raise KeyboardInterrupt
            return super().get(line, default)

    monkeypatch.setattr(clean, "own_lines", lambda block: Interrupted(own_lines(block)))
    assert qtune("data", "check", "rows", "--fix", "clean.jsonl", directory=tree).code == 130
    assert files_below(tree) == before


def run_alone(tree: Path, *arguments: str, before: Callable[[], None] | None = None) -> Result:
    """`qtune` in a process of its own, where `before` runs first; no bytecode, which it might cut off."""
    argv = [sys.executable, "-B", "-m", "qtune", *arguments]
    done = subprocess.run(argv, cwd=tree, capture_output=True, text=True, preexec_fn=before)
    return Result(done.returncode, done.stdout, done.stderr)


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(project: Make) -> None:
    def fill_up() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))

    tree = with_bad(project)
    before = files_below(tree)
    done = run_alone(tree, "data", "check", "rows", "--fix", "clean.jsonl", before=fill_up)
    assert done.code == 2
    assert done.err.startswith("error: clean.jsonl: File too large\n  fix: check that path")
    assert files_below(tree) == before


def test_a_directory_that_takes_no_files_is_one_clear_line(project: Make, qtune: Qtune) -> None:
    done = qtune("data", "check", "rows", "--fix", "/proc/clean.jsonl", directory=with_bad(project))
    assert (done.code, done.err.count("\n")) == (2, 2)
    assert done.err.startswith("error: /proc/")


# --- what passed before


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The datasets of each scan that `qtune train` starts, which goes no further than that."""
    started: list[list[str]] = []
    scan = check_cache.scan

    def counted(sources: Any, *arguments: Any, **named: Any) -> Any:
        started.append([source.registration.name for source in sources])
        return scan(sources, *arguments, **named)

    def claim(*arguments: Any, **named: Any) -> None:
        raise SystemExit(0)

    monkeypatch.setattr(check_cache, "scan", counted)
    monkeypatch.setattr(attempts, "claim", claim)
    monkeypatch.setattr(attempts, "require_launcher", lambda name=None: None)
    return started


TRAIN = ("train", "lora", "--hardware", "cpu")


def test_train_reads_the_rows_once_as_long_as_nothing_changes(
    project: Make, qtune: Qtune, scans: list[list[str]]
) -> None:
    tree = project()
    for _ in range(2):
        assert qtune(*TRAIN, directory=tree).code == 0
        assert qtune("train", directory=tree).code == 0  # the rendered directory
    assert scans == [["rows"]]
    rows = tree / "data/rows.jsonl"
    rows.write_text(rows.read_text() + json.dumps(row(77)) + "\n")
    qtune("train", directory=tree)
    (tree / "data/datasets.yaml").write_text("rows: {file_name: rows.jsonl, formatting: alpaca}\n")
    qtune("train", directory=tree)
    assert scans == [["rows"]] * 3


def test_train_says_which_rows_its_own_cutoff_len_cuts_read_anew_or_not(
    project: Make, qtune: Qtune, scans: list[list[str]]
) -> None:
    root = project({"data/rows.jsonl": [*GOOD, row(1, output="and so on " * 200)]})
    said = "data/rows.jsonl:11: cutoff_len 64 cuts off the end of its answer"
    for _ in range(2):
        done = qtune(*TRAIN, "-s", "cutoff_len=64", directory=root)
        assert done.code == 0 and said in done.err
    assert scans == [["rows"]]
    assert "cuts off" not in qtune(*TRAIN, directory=root).err
    assert scans == [["rows"]] * 2


def test_a_check_by_hand_counts_for_train(project: Make, qtune: Qtune, scans: list[list[str]]) -> None:
    tree = project()
    qtune("data", "check", directory=tree)
    scans.clear()
    assert qtune(*TRAIN, directory=tree).code == 0
    assert scans == []


def test_train_stops_at_errors_before_anything_is_written(
    project: Make, qtune: Qtune, scans: list[list[str]]
) -> None:
    tree = with_bad(project, [*GOOD, "no object"])
    before = files_below(tree)
    for _ in range(2):
        done = qtune(*TRAIN, directory=tree)
        assert (done.code, done.out) == (2, "")
        assert "data/rows.jsonl:11: is text, not an object" in done.err
        assert "`--force` trains all the same" in done.err
    assert files_below(tree) == before
    assert len(scans) == 2
    forced = qtune(*TRAIN, "--force", directory=tree)
    assert (forced.code, "is text, not an object" in forced.err) == (0, True)


def test_train_says_warnings_each_time_and_goes_on(
    project: Make, qtune: Qtune, scans: list[list[str]]
) -> None:
    tree = with_bad(project)
    said = [qtune(*TRAIN, directory=tree) for _ in range(2)]
    assert [done.code for done in said] == [0, 0]
    assert said[0].err == said[1].err
    assert "data/rows.jsonl:12, 15: says the same as an earlier row" in said[1].err
    assert len(scans) == 1


def test_only_rows_within_max_samples_concern_a_training(
    project: Make, qtune: Qtune, scans: list[list[str]]
) -> None:
    tree = with_bad(project, [*GOOD, row(10, output=None)])
    assert "warning" in qtune(*TRAIN, directory=tree).err
    assert "warning" not in qtune(*TRAIN, "--set", "max_samples=10", directory=tree).err


def test_a_damaged_cache_costs_a_check_and_nothing_else(
    project: Make, qtune: Qtune, scans: list[list[str]], cache: Path
) -> None:
    tree = project()
    qtune(*TRAIN, directory=tree)
    for text in ("", "[]", "{", '[{"name": 1}]', "\0"):
        for file in (cache / "qtune/data").rglob("*.json"):
            file.write_text(text)
        scans.clear()
        done = qtune(*TRAIN, directory=tree)
        assert (done.code, done.err.count("error")) == (0, 0)
        assert scans == [["rows"]], text


def test_a_cache_that_cannot_be_written_is_no_matter(
    project: Make, qtune: Qtune, scans: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/no")
    tree = project()
    for _ in range(2):
        assert qtune(*TRAIN, directory=tree).code == 0
    assert len(scans) == 2


def test_a_hash_is_known_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("one")
    os.utime(file, (1_000_000_000, 1_000_000_000))
    first = sha256(file)
    assert first == hashlib.sha256(b"one").hexdigest()
    read: list[object] = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: read.append(given) or digest(*given))
    assert (sha256(file), read) == (first, [])
    file.write_text("two")  # as long as before, and this moment: it may change again unnoticed
    assert sha256(file) == sha256(file) == hashlib.sha256(b"two").hexdigest()
    assert len(read) == 2


# --- memory


def test_memory_does_not_grow_with_the_file(project: Make) -> None:
    rows = [row(number, output=f"{number} " + "words and more " * 20) for number in range(50_000)]
    part = "".join(json.dumps(item) + "\n" for item in rows)
    tree = with_bad(project, part)
    measured = [peak_memory_mb(tree)]
    with (tree / "data/rows.jsonl").open("a") as stream:
        for _ in range(4):
            stream.write(part)
    measured.append(peak_memory_mb(tree))
    assert measured[1] - measured[0] < 15
    assert measured[1] < 120


def peak_memory_mb(tree: Path) -> float:
    program = (
        "import atexit, sys\n"
        "status = lambda: print(open('/proc/self/status').read(), file=sys.stderr)\n"
        "atexit.register(status)\n"
        "from qtune.cli import main\n"
        "sys.argv = ['qtune', 'data', 'check']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tree, capture_output=True, text=True, check=True
    )
    [line] = [line for line in done.stderr.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024
