"""`data split`: a row's content alone decides its side, and both files come or neither."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trees import Result, files_below, write_tree

from qtune.config.project import find_project
from qtune.data import split as splitting
from qtune.data.adding import register
from qtune.data.reading.json_lines import OnFlaw, Record
from qtune.data.registrations import read_registrations

Make = Callable[..., Path]
Command = Callable[..., Result]

MANY = [{"instruction": f"question {number}", "input": "", "output": f"答 {number}"} for number in range(400)]


def lines(root: Path, name: str) -> list[str]:
    return (root / "data" / name).read_text(encoding="utf-8").splitlines(keepends=True)


def evaluated(root: Path, name: str = "rows_eval.jsonl") -> set[str]:
    return {json.loads(line)["instruction"] for line in lines(root, name)}


def test_every_row_goes_to_one_side_byte_for_byte_and_in_order(project: Make, qtune: Command) -> None:
    text = '{ "instruction":"a",  "output" : "\\u7b54" }\n{"instruction": "b", "output": "1e5"}\r\n'
    text += "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in MANY).rstrip("\n")
    root = project({"data/rows.jsonl": text})
    done = qtune("data", "split", "rows", "--eval", "0.1", directory=root)
    assert done.code == 0, done.err
    raw = (root / "data" / "rows.jsonl").read_bytes().splitlines(keepends=True)
    train, evaluation = ((root / "data" / f"rows_{side}.jsonl").read_bytes() for side in ("train", "eval"))
    sides = [set(part.splitlines(keepends=True)) for part in (train, evaluation)]
    raw[-1] += b"\n"
    assert b"".join(line for line in raw if line in sides[0]) == train
    assert b"".join(line for line in raw if line in sides[1]) == evaluation
    assert len(train) + len(evaluation) == sum(map(len, raw))
    assert 20 <= len(sides[1]) <= 60
    assert f"rows_eval: {len(sides[1])} of 402 rows ({len(sides[1]) / 402:.1%}) in data/rows_eval.jsonl" in (
        done.out
    )
    assert "-d rows_train -s eval_dataset=rows_eval" in done.err


def test_a_row_keeps_its_side_whatever_stands_around_it(project: Make, qtune: Command) -> None:
    root = project({"data/rows.jsonl": MANY})
    qtune("data", "split", "rows", "--eval", "0.1", directory=root)
    first = evaluated(root)
    write_tree(root, {"data/rows.jsonl": [*reversed(MANY[:200]), {"instruction": "new", "output": ""}]})
    assert qtune("data", "split", "rows", "--eval", "0.1", "--force", directory=root).code == 0
    assert evaluated(root) - {"new"} == first & {row["instruction"] for row in MANY[:200]}
    # more of them where the share grows, the same ones among them
    write_tree(root, {"data/rows.jsonl": MANY})
    qtune("data", "split", "rows", "--eval", "0.3", "--force", directory=root)
    assert evaluated(root) > first


def test_another_seed_holds_other_rows_back(project: Make, qtune: Command) -> None:
    root = project({"data/rows.jsonl": MANY})
    qtune("data", "split", "rows", "--eval", "0.1", directory=root)
    first = evaluated(root)
    qtune("data", "split", "rows", "--eval", "0.1", "--seed", "7", "--force", directory=root)
    assert evaluated(root) != first


def test_sides_are_the_same_on_every_machine(project: Make, qtune: Command) -> None:
    root = project()
    qtune("data", "split", "rows", "--eval", "0.4", "--seed", "1", directory=root)
    assert evaluated(root) == {"say 3", "say 4", "say 6"}


def test_rows_that_train_alike_stay_on_one_side(project: Make, qtune: Command) -> None:
    rows = [
        {"output": f"{number % 50}", "id": number, "instruction": "same", "input": ["", None][number % 2]}
        for number in range(400)
    ]
    for row in rows[:50]:
        row["input"] = ""
    root = project({"data/rows.jsonl": rows})
    assert qtune("data", "split", "rows", "--eval", "0.3", directory=root).code == 0
    asked = [
        {(row["output"], row["input"]) for row in map(json.loads, lines(root, f"rows_{side}.jsonl"))}
        for side in ("train", "eval")
    ]
    assert not asked[0] & asked[1]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.json", json.dumps(MANY, ensure_ascii=False)),
        ("rows.csv", "instruction,output\n" + "".join(f'"question {n}","答, ""{n}"""\n' for n in range(400))),
    ],
)
def test_other_formats_become_json_lines(project: Make, qtune: Command, name: str, text: str) -> None:
    columns = "columns: {prompt: instruction, response: output}"
    datasets = f"rows: {{file_name: {name}, {columns}}}\n"
    root = project({"data/datasets.yaml": datasets, f"data/{name}": text})
    done = qtune("data", "split", "rows", "--eval", "0.1", directory=root)
    assert done.code == 0, done.err
    rows = [json.loads(line) for side in ("train", "eval") for line in lines(root, f"rows_{side}.jsonl")]
    assert {row["instruction"] for row in rows} == {row["instruction"] for row in MANY}
    assert all("答" in row["output"] for row in rows)


def test_a_folder_of_shards_becomes_two_files_beside_it(project: Make, qtune: Command) -> None:
    root = project(
        {
            "data/datasets.yaml": "rows: {file_name: shards}\n",
            "data/shards/a.jsonl": MANY[:200],
            "data/shards/b.jsonl": MANY[200:],
        }
    )
    assert qtune("data", "split", "rows", "--eval", "0.1", directory=root).code == 0
    assert len(lines(root, "shards_train.jsonl") + lines(root, "shards_eval.jsonl")) == 400
    assert read_registrations(find_project(root))["rows_eval"].entry["file_name"] == "shards_eval.jsonl"


def test_both_are_registered_as_the_source_is(project: Make, qtune: Command) -> None:
    datasets = (
        "# ours\nrows:  # the best\n  file_name: deep/chats.jsonl\n  formatting: sharegpt\n"
        "  num_samples: 5\n  columns: {messages: turns, system: about}\n  tags: {user_tag: me}\n"
    )
    turns = [{"turns": [{"from": "me", "value": str(n)}], "about": "x"} for n in range(200)]
    root = project({"data/datasets.yaml": datasets, "data/deep/chats.jsonl": turns})
    done = qtune("data", "split", "rows", "--eval", "0.1", directory=root)
    assert done.code == 0, done.err
    assert (root / "data" / "datasets.yaml").read_text(encoding="utf-8").startswith(datasets)
    registrations = read_registrations(find_project(root))
    for side in ("train", "eval"):
        assert registrations[f"rows_{side}"].entry == {
            "file_name": f"deep/chats_{side}.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "turns", "system": "about"},
            "tags": {"user_tag": "me"},
        }
    assert qtune("data", "list", directory=root).out.count("ok") == 3


def test_nothing_of_the_users_is_replaced_unless_asked(project: Make, qtune: Command) -> None:
    root = project({"data/rows.jsonl": MANY, "data/rows_eval.jsonl": "mine\n"})
    refused = qtune("data", "split", "rows", "--eval", "0.1", directory=root)
    assert refused.code == 2 and "rows_eval.jsonl: is there already" in refused.err
    assert (root / "data" / "rows_eval.jsonl").read_text() == "mine\n"
    assert not (root / "data" / "rows_train.jsonl").exists()

    write_tree(
        root, {"data/datasets.yaml": "rows: {file_name: rows.jsonl}\nheld_eval: {file_name: x.jsonl}\n"}
    )
    taken = qtune("data", "split", "rows", "--eval", "0.1", "-n", "held", directory=root)
    assert taken.code == 2 and "data/datasets.yaml:2" in taken.err and "`held_eval`" in taken.err

    other = qtune("data", "split", "rows", "--eval", "0.1", "-n", "other", directory=root)
    assert other.code == 0 and "other_train" in other.out
    assert len(lines(root, "other_train.jsonl") + lines(root, "other_eval.jsonl")) == 400
    assert qtune("data", "split", "rows", "--eval", "0.1", "--force", directory=root).code == 0
    assert len(lines(root, "rows_eval.jsonl")) > 1


@pytest.mark.parametrize(
    "broken",
    [KeyboardInterrupt(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))],
    ids=["Ctrl-C", "a full disk"],
)
@pytest.mark.parametrize("place", ["a row", "the registration", "the second file"])
def test_neither_file_remains_when_it_is_cut_short(
    project: Make, qtune: Command, monkeypatch: pytest.MonkeyPatch, broken: BaseException, place: str
) -> None:
    root = project({"data/rows.jsonl": MANY})
    before = files_below(root)
    whole, replace = splitting.records, Path.replace

    def cut_short(path: Path, on_flaw: OnFlaw) -> Iterator[Record]:
        for number, record in enumerate(whole(path, on_flaw)):
            if number == 300:
                raise broken
            yield record

    def fail(*arguments: Any, **options: Any) -> None:
        raise broken

    def replace_all_but_the_last(path: Path, target: Path) -> Path:
        if "_eval" in target.name:
            raise broken
        return replace(path, target)

    if place == "a row":
        monkeypatch.setattr(splitting, "records", cut_short)
    elif place == "the registration":
        monkeypatch.setattr(register, "add_entries", fail)
    else:
        monkeypatch.setattr(Path, "replace", replace_all_but_the_last)
    done = qtune("data", "split", "rows", "--eval", "0.1", directory=root)
    assert done.code == (130 if isinstance(broken, KeyboardInterrupt) else 2)
    assert isinstance(broken, KeyboardInterrupt) or "No space left on device" in done.err
    assert files_below(root) == before


def test_an_unreadable_row_is_named_and_nothing_written(project: Make, qtune: Command) -> None:
    root = project({"data/rows.jsonl": '{"instruction": "a", "output": "b"}\n{"instruction": \n'})
    before = files_below(root)
    done = qtune("data", "split", "rows", "--eval", "0.5", directory=root)
    assert done.code == 2
    assert "rows.jsonl:2: " in done.err and "qtune data check rows" in done.err
    assert files_below(root) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rows", "--eval", "0"], "a share lies between 0 and 1"),
        (["rows", "--eval", "20"], "write e.g. --eval 0.05"),
        (["rows", "--eval", "0.000001"], "no row of 10 came to the eval side"),
        (["rows", "--eval", "0.999999"], "no row of 10 came to the train side"),
        (["row", "--eval", "0.1"], "did you mean `rows`"),
        (["hub", "--eval", "0.1"], "data/datasets.yaml:2"),
        (["gone", "--eval", "0.1"], "there is no data at"),
        (["rows", "--eval", "0.1", "-n", "a/b"], "is not a dataset name"),
        (["old", "--eval", "0.1", "-n", "x", "--force"], "x_eval.jsonl: is the data itself"),
    ],
)
def test_what_cannot_be_split_is_refused(
    project: Make, qtune: Command, arguments: list[str], says: str
) -> None:
    datasets = "rows: {file_name: rows.jsonl}\nhub: {hf_hub_url: a/b}\ngone: {file_name: gone.jsonl}\n"
    datasets += "old: {file_name: x_eval.jsonl}\n"
    root = project({"data/datasets.yaml": datasets, "data/x_eval.jsonl": MANY})
    before = files_below(root)
    done = qtune("data", "split", *arguments, directory=root)
    assert done.code == 2 and says in done.err
    assert files_below(root) == before


# --- what it leaves to do


@pytest.mark.parametrize("share", ["10%", "10 %", "0.1", " 10.0%"])
def test_a_share_may_be_written_in_percent(project: Make, qtune: Command, share: str) -> None:
    root = project({"data/rows.jsonl": MANY})
    qtune("data", "split", "rows", "--eval", "0.1", directory=root)
    by_number = evaluated(root)
    assert qtune("data", "split", "rows", "--eval", share, "--force", directory=root).code == 0
    assert evaluated(root) == by_number


@pytest.mark.parametrize("share", ["0%", "100%", "-5%", "5%%", "five", "%", "nan", "1", "5"])
def test_a_share_of_nothing_or_all_is_refused(project: Make, qtune: Command, share: str) -> None:
    root = project()
    before = files_below(root)
    refused = qtune("data", "split", "rows", f"--eval={share}", directory=root)
    assert refused.code == 2 and f"--eval: is {share}: a share lies between 0 and 1" in refused.err
    assert "--eval 5%" in refused.err and files_below(root) == before


def test_the_two_sides_become_what_the_project_trains_on(tmp_path: Path, qtune: Command) -> None:
    """From `init` to a training on data of one's own; the comments stay."""
    assert qtune("init", directory=tmp_path).code == 0
    write_tree(tmp_path, {"answers.jsonl": MANY})
    assert qtune("data", "add", "answers.jsonl", directory=tmp_path).code == 0
    before = (tmp_path / "qtune.yaml").read_text().splitlines()
    done = qtune("data", "split", "answers", "--eval", "5%", "--use", directory=tmp_path)
    assert done.code == 0 and "next: `qtune train lora`" in done.err
    after = (tmp_path / "qtune.yaml").read_text().splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert [line.split("#")[0].split() for line in changed] == [
        ["dataset:", "answers_train"],
        ["eval_dataset:", "answers_eval"],
    ]
    assert all("#" in line for line in changed)
    rendered = qtune("render", "lora", "--hardware", "cpu", directory=tmp_path)
    assert rendered.code == 0 and "nothing is evaluated" not in rendered.err
    text = (tmp_path / "rendered/lora/train.yaml").read_text()
    assert "\ndataset: answers_train " in text and "\neval_dataset: answers_eval " in text


def test_the_two_sides_take_the_place_of_what_wins_over_presets(project: Make, qtune: Command) -> None:
    root = project({"qtune.yaml": "train: {dataset: rows}  # ours\ndefaults: {dataset: other}\n"})
    assert qtune("data", "split", "rows", "--eval", "0.3", "--use", directory=root).code == 0
    assert (root / "qtune.yaml").read_text() == (
        "train: {dataset: rows_train, eval_dataset: rows_eval}  # ours\ndefaults: {dataset: other}\n"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            "train:\n  dataset: rows\n  val_size: 0.1\n",
            "qtune.yaml:3: `val_size` sets rows for evaluation aside",
        ),
        ("train:\n  dataset:\n  - rows\n", "qtune.yaml: has no room in `train` for dataset, eval_dataset"),
        (None, "there is no qtune.yaml here"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_split(
    project: Make, qtune: Command, settings: str | None, message: str
) -> None:
    root = project({"qtune.yaml": settings or ""})
    if settings is None:
        (root / "qtune.yaml").unlink()
    before = {name: (root / name).read_bytes() for name in files_below(root)}
    refused = qtune("data", "split", "rows", "--eval", "0.3", "--use", directory=root)
    assert refused.code == 2 and message in refused.err
    assert {name: (root / name).read_bytes() for name in files_below(root)} == before
