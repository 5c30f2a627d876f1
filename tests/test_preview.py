"""`data preview` up to the library: which rows it is asked for, and what is refused before it loads."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from trees import ROWS, Result, write_tree

from qtune.data.reading.json_lines import pick
from qtune.processes import process

Make = Callable[..., Path]
Command = Callable[..., Result]

# Answers with what it is asked, what lies beside it, and a dropped row for each but the first.
STAND_IN = """
import json, pathlib, sys
asked = json.loads(sys.stdin.readline())
directory = pathlib.Path(asked["dataset_dir"])
entry = json.loads((directory / "dataset_info.json").read_text())[asked["dataset"]]
rows = (directory / entry["file_name"]).read_text().splitlines()
text = [json.dumps(asked), json.dumps(entry), *rows]
pieces = {"name": None, "tokens": 3, "trained": 1, "whole": 3, "pieces": [[line, True] for line in text]}
print(json.dumps({"done": [{"sequences": [pieces]}] + [{"sequences": []}] * (len(rows) - 1)}))
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program in the place of the script that asks the library."""

    def put(text: str) -> None:
        scripts = write_tree(tmp_path / "bin", {"preview.py": text})
        monkeypatch.setattr("qtune.processes.child._SCRIPTS", scripts)
        monkeypatch.setattr(process, "find_python", lambda: Path(sys.executable))

    return put


def test_the_library_gets_these_rows_alone_with_what_makes_their_tokens(
    project: Make, qtune: Command, stand_in: Callable[[str], None]
) -> None:
    stand_in(STAND_IN)
    datasets = "rows: {file_name: rows.jsonl, num_samples: 99, columns: {response: output, system: about}}\n"
    root = project({"data/datasets.yaml": datasets, "data/rows.jsonl": [*ROWS, {**ROWS[0], "about": "x"}]})
    options = ("-k", "2", "-s", "cutoff_len=77", "-s", "val_size=0.5", "-s", "tokenized_path=x")
    done = qtune("data", "preview", "rows", *options, "--json", directory=root)
    assert done.code == 0, done.err
    first, second = json.loads(done.out)
    asked, entry, *rows = (json.loads(text) for text, _ in first["sequences"][0]["pieces"])
    assert rows == [{**row, "about": None} for row in ROWS[:2]]
    assert (first["line"], second["line"]) == (1, 2) and second["sequences"] == []
    assert asked["cutoff_len"] == 77 and asked["template"] == "qwen" and asked["use_cpu"] is True
    assert not asked.keys() & {"tokenized_path", "learning_rate", "bf16", "lora_rank"}
    assert asked["val_size"] == 0.0 and asked["eval_dataset"] is None
    assert "num_samples" not in entry and entry["columns"]["system"] == "about"
    assert not Path(asked["dataset_dir"]).exists()


def test_a_seed_takes_the_same_rows_again_from_the_whole_file(project: Make) -> None:
    path = project({"data/rows.jsonl": ROWS * 50}) / "data" / "rows.jsonl"

    def lines(seed: int | None) -> list[int]:
        return [record.line for record in pick(path, 5, seed, lambda *flaw: None)]

    assert lines(None) == [1, 2, 3, 4, 5]
    assert lines(3) == sorted(lines(3)) != lines(4)
    assert max(lines(3)) > 100


def test_a_failure_is_one_reason_and_the_end_of_the_log(
    project: Make, qtune: Command, stand_in: Callable[[str], None]
) -> None:
    prints = "import sys\nprint(*range(99), sep=chr(10), file=sys.stderr)\n"
    stand_in(prints + "raise ValueError('no such template')\n")
    done = qtune("data", "preview", "rows", directory=project())
    assert done.code == 1 and done.out == ""
    assert "error: LLaMA-Factory fails on this: ValueError: no such template\n" in done.err
    assert "\n  | ValueError: no such template\n  fix: " in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pairs"], "stage sft does not take pairs of answers"),
        (["rows", "-s", "template=qwan"], "did you mean `qwen"),
        (["rows", "-s", "trian_on_prompt=true"], "did you mean `train_on_prompt`"),
        (["row"], "did you mean `rows`"),
        (["hub", "--seed", "1"], "--seed: does not go with `hub`"),
        (["empty"], "holds no rows"),
    ],
)
def test_what_the_library_would_refuse_is_said_without_it(
    project: Make, qtune: Command, stand_in: Callable[[str], None], arguments: list[str], says: str
) -> None:
    stand_in("raise ValueError('was asked')")
    datasets = (
        "rows: {file_name: rows.jsonl}\nhub: {hf_hub_url: a/b}\n"
        "empty: {file_name: empty.txt, columns: {prompt: text}}\n"
        "pairs: {file_name: pairs.jsonl, ranking: true,"
        " columns: {prompt: instruction, chosen: chosen, rejected: rejected}}\n"
    )
    pair = [{"instruction": "a", "chosen": "b", "rejected": "c"}]
    tree = {"data/datasets.yaml": datasets, "data/pairs.jsonl": pair, "data/empty.txt": ""}
    done = qtune("data", "preview", *arguments, directory=project(tree))
    assert done.code == 2 and says in done.err, done.err


def test_without_llamafactory_the_fix_is_to_install_it(
    project: Make, qtune: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    done = qtune("data", "preview", "rows", directory=project())
    assert done.code == 2 and "pip install 'qtune[train]'" in done.err
