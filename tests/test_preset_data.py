"""What presets say about data: kept tokens that are never stale, mixed datasets, workers for the machine."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from trees import ROWS, TINY_MODEL, Result, write_tree

from qtune.cli.complete import run_names
from qtune.config.project import find_project
from qtune.data.mixing import mixed_rows
from qtune.data.token_cache import is_complete, keep
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.processes import process
from qtune.values import Layer, Origin, Value

Make = Callable[..., Path]
Command = Callable[..., Result]

DATASETS = "rows: {file_name: rows.jsonl}\nmore: {file_name: more}\n"
SHARDS = {"data/more/a.jsonl": ROWS[:3], "data/more/b.jsonl": ROWS[3:]}


def layer(settings: Mapping[str, Any]) -> Layer:
    return Layer("test", {("train", key): Value(value, Origin("test")) for key, value in settings.items()})


def path_of(root: Path, hardware: Hardware | None = None, **settings: Any) -> str:
    """What `tokenized_path: auto` comes to."""
    settings = {"tokenized_path": "auto", "dataset": "rows,more", **settings}
    config = pipeline.resolve("lora", find_project(root), hardware or Hardware(), [layer(settings)])
    return str(config.get("train", "tokenized_path"))


@pytest.fixture
def data(project: Make) -> Make:
    """The same project with two datasets and a model of its own; `data({...})` changes files."""
    root = project({"data/datasets.yaml": DATASETS, **SHARDS})
    shutil.copytree(TINY_MODEL, root / "model")
    text = "presets: [presets]\ntrain: {model_name_or_path: ./model, dataset: rows, template: qwen}\n"
    (root / "qtune.yaml").write_text(text)

    def change(tree: Mapping[str, Any] | None = None) -> Path:
        return write_tree(root, tree or {})

    return change


def test_tokens_are_kept_below_the_runs_whatever_does_not_make_them(data: Make) -> None:
    root = data()
    path = path_of(root)
    assert path.startswith("runs/.tokenized/")
    assert path == path_of(root)
    assert path == path_of(root, learning_rate=1e-3, num_train_epochs=9, output_dir="x", lora_rank=4)
    assert path == path_of(root, dataset=["rows", "more"], cutoff_len=2048, overwrite_cache=True)
    copied = root.with_name("copy")
    shutil.copytree(root, copied)
    assert path == path_of(copied)
    data({"runs/x/file": "", "data/unused.jsonl": "", "model/model.safetensors": ""})
    assert path == path_of(root)


CHANGES: tuple[dict[str, Any], ...] = (
    {"dataset": "rows"},
    {"dataset": "more,rows"},
    {"dataset": "rows", "eval_dataset": "more"},
    {"cutoff_len": 1024},
    {"template": "llama3"},
    {"stage": "pt"},
    {"seed": 7},
    {"val_size": 0.2},
    {"max_samples": 5},
    {"packing": True},
    {"neat_packing": True},
    {"mask_history": True},
    {"train_on_prompt": True},
    {"enable_thinking": False},
    {"preserve_thinking": True},
    {"tool_format": "qwen"},
    {"default_system": "Be brief."},
    {"mix_strategy": "interleave_under"},
    {"mix_strategy": "interleave_under", "interleave_probs": "0.5,0.5"},
    {"mix_strategy": "interleave_under", "interleave_probs": "0.4,0.6"},
    {"preprocessing_num_workers": 3},
    {"preprocessing_batch_size": 10},
    {"add_tokens": "<a>"},
    {"add_special_tokens": "<a>"},
    {"split_special_tokens": True},
    {"use_fast_tokenizer": False},
    {"model_revision": "other"},
    {"model_name_or_path": "Qwen/Qwen2.5-0.5B-Instruct"},
    {"model_name_or_path": "Qwen/Qwen2.5-1.5B-Instruct"},
    {"image_max_pixels": 1024},
)


def test_every_change_of_what_makes_tokens_is_another_path(data: Make) -> None:
    root = data()
    paths = [path_of(root), *(path_of(root, **change) for change in CHANGES)]
    assert all(path.startswith("runs/.tokenized/") for path in paths)
    assert len(set(paths)) == len(CHANGES) + 1


@pytest.mark.parametrize(
    "tree",
    [
        {"data/rows.jsonl": [*ROWS[:-1], {**ROWS[-1], "output": "8"}]},
        {"data/more/b.jsonl": ROWS[2:]},
        {"data/more/c.jsonl": ROWS},
        {"data/datasets.yaml": DATASETS.replace("rows.jsonl", "rows.jsonl, columns: {prompt: output}")},
        {"data/datasets.yaml": DATASETS.replace("rows.jsonl", "rows.jsonl, num_samples: 4")},
        {"model/tokenizer_config.json": {}},
        {"model/chat_template.jinja": "{{ messages }}"},
    ],
)
def test_a_change_of_a_file_is_another_path(data: Make, tree: Mapping[str, Any]) -> None:
    before = path_of(data())
    after = path_of(data(tree))
    assert before != after and after.startswith("runs/.tokenized/")


def test_the_same_bytes_in_a_file_of_another_age_are_the_same(data: Make) -> None:
    before = path_of(data())
    assert before == path_of(data({"data/rows.jsonl": ROWS}))


@pytest.mark.parametrize(
    ("datasets", "says"),
    [
        ("rows: {hf_hub_url: a/b}\n", "`rows` lies elsewhere"),
        (
            "rows: {file_name: rows.jsonl, columns: {prompt: instruction, response: output, images: input}}",
            "`rows` names images, videos or audios",
        ),
    ],
)
def test_data_whose_changes_go_unseen_is_refused(
    project: Make, qtune: Command, datasets: str, says: str
) -> None:
    root = project({"data/datasets.yaml": datasets})
    done = qtune("check", "lora", "--hardware", "cpu", directory=root)
    assert done.code == 0
    preset = "extends: lora\ntrain:\n  tokenized_path: auto\n"
    project({"data/datasets.yaml": datasets, "presets/kept.yaml": preset})
    done = qtune("check", "kept", "--hardware", "cpu", directory=root)
    assert done.code == 2 and says in done.err and "presets/kept.yaml:3 tokenized_path" in done.err


def test_a_missing_file_is_the_only_thing_said(project: Make, qtune: Command) -> None:
    root = project({"data/datasets.yaml": "rows: {file_name: gone.jsonl}\n"})
    done = qtune("render", "lora", "-s", "tokenized_path=auto", "--hardware", "cpu", directory=root)
    assert done.code == 2 and done.err.count("error: ") == 1 and "gone.jsonl" in done.err


def test_tokens_are_read_from_their_origin_in_train_yaml(data: Make, qtune: Command) -> None:
    root = data()
    shown = qtune("show", "lora", "-s", "tokenized_path=auto", "--origin", directory=root)
    assert f"tokenized_path: {path_of(root, dataset='rows')}  # auto from the data" in shown.out


def saved(directory: Path, *splits: str) -> Path:
    """A directory as `DatasetDict.save_to_disk` leaves it."""
    tree: dict[str, Any] = {"dataset_dict.json": {"splits": list(splits)}}
    for split in splits:
        tree[f"{split}/data-00000-of-00001.arrow"] = "rows"
        tree[f"{split}/state.json"] = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
        tree[f"{split}/dataset_info.json"] = {}
    return write_tree(directory, tree)


@pytest.mark.parametrize(
    "missing", ["validation/dataset_info.json", "train/state.json", "train/data-00000-of-00001.arrow"]
)
def test_half_written_tokens_are_known_as_such(tmp_path: Path, missing: str) -> None:
    assert not is_complete(tmp_path / "tokens")
    tokens = saved(tmp_path / "tokens", "train", "validation")
    assert is_complete(tokens)
    text = (tokens / missing).read_text()
    (tokens / missing).unlink()
    assert not is_complete(tokens)
    if missing.endswith(".json"):
        (tokens / missing).write_text(text[:-1])
        assert not is_complete(tokens)


def test_only_whole_tokens_are_kept_and_those_that_are_there_stay(tmp_path: Path) -> None:
    kept = tmp_path / "runs" / ".tokenized" / "a"
    half = saved(tmp_path / "runs" / "x" / "tokenized", "train")
    (half / "train" / "state.json").unlink()
    keep(half, kept)
    assert not half.exists() and not kept.exists()

    write_tree(kept, {"dataset_dict.json": {"splits": ["train"]}})  # left by a run by hand
    keep(saved(tmp_path / "runs" / "x" / "tokenized", "train"), kept)
    assert is_complete(kept)

    (kept / "mark").touch()
    late = saved(tmp_path / "runs" / "y" / "tokenized", "train")
    keep(late, kept)
    assert (kept / "mark").exists() and not late.exists()


STAND_IN = f"""#!{sys.executable}
import json, pathlib, sys
given = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
tokens = pathlib.Path(given["tokenized_path"])
print("found" if tokens.is_dir() else "made", tokens)
if not tokens.is_dir():
    (tokens / "train").mkdir(parents=True)
    (tokens / "dataset_dict.json").write_text('{{"splits": ["train"]}}')
    (tokens / "train" / "state.json").write_text('{{"_data_files": []}}')
    if "max_steps=1" not in pathlib.Path(sys.argv[2]).read_text().replace(": ", "="):
        (tokens / "train" / "dataset_info.json").write_text("{{}}")
"""


@pytest.fixture
def train(
    data: Make, qtune: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[str, str]]:
    """Trains with a program in llamafactory-cli's place, that saves tokens and crashes with max_steps 1."""
    program = tmp_path / "bin" / "llamafactory-cli"
    write_tree(program.parent, {program.name: STAND_IN})
    program.chmod(0o755)
    monkeypatch.setattr(process, "find_program", lambda name, fix="": program)

    def run(*arguments: str) -> tuple[str, str]:
        done = qtune("train", *arguments, directory=data())
        told = [line for line in done.err.splitlines() if line.startswith(("found ", "made "))]
        assert len(told) == 1, done.err
        (line,) = told
        word, path = line.split()
        return word, path

    return run


AUTO = ("lora", "--hardware", "cpu", "-s", "tokenized_path=auto", "-s", "plot_loss=null")


def test_a_run_makes_tokens_apart_and_the_next_finds_them(data: Make, train: Callable[..., Any]) -> None:
    root = data()
    assert train(*AUTO) == ("made", "runs/lora/tokenized")
    path = path_of(root, dataset="rows")
    assert is_complete(root / path) and not (root / "runs/lora/tokenized").exists()
    assert train(*AUTO) == ("found", path)
    assert run_names("") == ["lora", "lora-2"]


def test_a_broken_off_run_leaves_no_tokens(data: Make, train: Callable[..., Any]) -> None:
    root = data()
    assert train(*AUTO, "-s", "max_steps=1") == ("made", "runs/lora/tokenized")
    assert not (root / path_of(root, dataset="rows")).exists()
    assert train(*AUTO) == ("made", "runs/lora-2/tokenized")


def test_what_changed_since_rendering_makes_new_tokens(data: Make, train: Callable[..., Any]) -> None:
    root = data()
    train(*AUTO)
    old = path_of(root, dataset="rows")
    data({"data/rows.jsonl": ROWS[:5]})
    assert train() == ("made", "runs/lora-2/tokenized")
    assert train() == ("found", path_of(root, dataset="rows"))
    yaml = root / "rendered" / "lora" / "train.yaml"
    assert old in yaml.read_text()
    yaml.write_text(yaml.read_text().replace("cutoff_len: 2048", "cutoff_len: 512"))
    assert train() == ("made", "runs/lora-4/tokenized")


def test_steps_are_told_with_kept_tokens_too(data: Make) -> None:
    settings = layer({"tokenized_path": "auto"})
    prepared = pipeline.prepare("lora", find_project(data()), Hardware(), [settings])
    assert prepared.steps is not None and prepared.steps.total > 0


@pytest.mark.parametrize(
    ("lengths", "strategy", "probabilities", "rows"),
    [
        ([10, 30], "concat", None, 40),
        ([10], "interleave_over", None, 10),
        ([10, 30, 20], "interleave_under", None, 30),
        ([10, 30, 20], "interleave_over", None, 90),
        # measured with the library; e2e compares many more
        ([10, 30], "interleave_under", [0.7, 0.3], 17),
        ([10, 30], "interleave_over", [0.7, 0.3], 105),
    ],
)
def test_mixed_datasets_have_the_rows_that_the_library_makes(
    lengths: list[int], strategy: str, probabilities: list[float] | None, rows: int
) -> None:
    pytest.importorskip("numpy")
    assert mixed_rows(lengths, strategy, probabilities, 42) == rows


def test_rows_that_only_draws_decide_are_unknown_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert mixed_rows([10, 30], "interleave_under", [0.7, 0.3], 42) is None
    assert mixed_rows([10, 30], "interleave_under", None, 42) == 20


def test_shares_of_datasets_reach_train_yaml_as_they_are_written(data: Make, qtune: Command) -> None:
    preset = "extends: lora\ntrain:\n  mix_strategy: interleave_over\n"
    root = data({"presets/a.yaml": preset + "  interleave_probs: [0.7, 0.3]\n"})
    data({"presets/b.yaml": preset + "  interleave_probs: 0.7,0.3\n"})
    for name, written in (("a", "[0.7, 0.3]"), ("b", "0.7,0.3")):
        done = qtune("render", name, "-d", "rows,more", "--hardware", "cpu", directory=root)
        assert done.code == 0, done.err
        assert f"interleave_probs: {written}" in (root / "rendered" / name / "train.yaml").read_text()


def test_workers_beyond_the_cores_of_this_machine_are_told(data: Make) -> None:
    settings = layer({"preprocessing_num_workers": 64, "dataloader_num_workers": 32})
    hardware = Hardware(gpus=2, gpu_memory_gb=80, bf16=True, cores=32)
    found = pipeline.examine("lora", find_project(data()), hardware, [settings]).findings
    assert [(finding.key, finding.severity) for finding in found] == [
        ("preprocessing_num_workers", "warning"),
        ("dataloader_num_workers", "warning"),
    ]
    assert "64 workers on 32 cores" in found[0].message
    assert "64 workers on 32 cores, 32 in each of 2 processes" in found[1].message
    assert json.dumps([str(finding) for finding in found])
