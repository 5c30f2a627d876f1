"""`eval` up to the library, for which a program stands in: what it is asked, kept, and refused."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from trees import REPOSITORY, ROWS, Result, write_tree

from qtune.config.project import find_project
from qtune.config.resolve import overrides
from qtune.errors import QtuneError
from qtune.machine.hardware import Hardware, parse_hardware
from qtune.machine.stack import Stack
from qtune.prepare import pipeline
from qtune.processes import process
from qtune.runs.record import start
from qtune.use.evaluation.harness import Benchmarks, command, figures
from qtune.use.evaluation.results import perplexity
from qtune.use.evaluation.tokens import count
from qtune.use.models import find

Make = Callable[..., Path]
Command = Callable[..., Result]

# Answers each row with its output, the adapter rightly and the base as a script that a page must not run.
STAND_IN = """
import json, os, pathlib, signal, sys, time
import yaml
asked = yaml.safe_load(pathlib.Path(sys.argv[2]).read_text())
print("the library speaks")
if asked.get("seed") == 13:
    print("RuntimeError: out of luck")
    sys.exit(1)
if asked.get("seed") == 14:
    import psutil
    os.kill(psutil.Process(os.getppid()).ppid(), signal.SIGINT)  # below its supervisor
    time.sleep(60)
output = pathlib.Path(asked["output_dir"])
output.mkdir()
tuned = "adapter_name_or_path" in asked
entries = json.loads((pathlib.Path(asked["dataset_dir"]) / "dataset_info.json").read_text())
if asked.get("do_eval"):
    metrics = {"eval_loss": 0.5 if tuned else 9e9, "eval_runtime": 1.0, "eval_samples_per_second": 3.0}
    (output / "eval_results.json").write_text(json.dumps(metrics))
else:
    metrics = {"predict_bleu-4": 90.0 if tuned else 1.0, "predict_rouge-1": float("nan")}
    (output / "predict_results.json").write_text(json.dumps(metrics))
    path = pathlib.Path(asked["dataset_dir"]) / entries[asked["eval_dataset"]]["file_name"]
    with open(output / "generated_predictions.jsonl", "w") as stream:
        for line in path.read_text().splitlines():
            row = json.loads(line)
            answer = row["output"] if tuned else "<script>alert(1)</script>\\u2028\\x07"
            said = {"prompt": row["instruction"], "predict": answer, "label": row["output"] + "\\n"}
            stream.write(json.dumps(said, ensure_ascii=False) + "\\n")
"""


def finished(
    root: Path, name: str = "one", preset: str = "lora", *settings: str, status: str = "finished"
) -> Path:
    """A run's directory as a training leaves it, with weights of one number."""
    prepared = pipeline.prepare(
        preset, find_project(root), Hardware(), [overrides(settings)] if settings else []
    )
    assert prepared.errors == (), prepared.errors
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    directory = write_tree(root / "runs" / name, {"adapter_config.json": "{}"})
    weights = struct.pack("<Q", len(header)) + header + bytes(4)
    (directory / "adapter_model.safetensors").write_bytes(weights)
    start(directory, prepared.manifest).end(status, 0, None)
    return directory


@pytest.fixture
def here(project: Make) -> Path:
    """A project whose run `one` has evaluation data of its own."""
    root = project(
        {
            "qtune.yaml": (
                "presets: [presets]\n"
                f"train: {{model_name_or_path: {REPOSITORY / 'data' / 'tiny-qwen2'},"
                " dataset: rows, eval_dataset: held}\n"
            ),
            "data/datasets.yaml": (
                "rows: {file_name: rows.jsonl}\n"
                "held: {file_name: held.jsonl}\n"
                "pairs: {file_name: pairs.jsonl, ranking: true, columns: {prompt: instruction,"
                " chosen: chosen, rejected: rejected}}\n"
                "texts: {file_name: texts.jsonl, columns: {prompt: text}}\n"
            ),
            "data/held.jsonl": ROWS[:3],
            "data/pairs.jsonl": [{"instruction": "a", "chosen": "b", "rejected": "c"}],
            "data/texts.jsonl": [{"text": "once upon a time"}],
        }
    )
    finished(root)
    return root


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a program in the place of llamafactory-cli, on a machine without GPUs that has all packages."""
    path = write_tree(tmp_path / "bin", {"llamafactory-cli": f"#!{sys.executable}\n{STAND_IN}"})
    program = path / "llamafactory-cli"
    program.chmod(0o755)
    monkeypatch.setattr(process, "find_program", lambda name, fix="": program)
    monkeypatch.setattr("qtune.machine.makers.this_machine", Hardware)
    monkeypatch.setattr("qtune.machine.stack.installed_stack", lambda: stack())


def stack(*lacking: str) -> Stack:
    return Stack(lambda name: name not in lacking, lambda name: "1.0", lambda: True, lambda name: True)


class Page(HTMLParser):
    """The texts of a page's cells, and every tag that opens."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["td"]:
            self.cells[-1] += data


def test_base_and_tuned_stand_in_one_table_and_in_files(here: Path, qtune: Command, stand_in: None) -> None:
    done = qtune("eval", directory=here)
    assert done.code == 0, done.err
    head, base, tuned = (line.split() for line in done.out.splitlines() if line.strip(" ─"))
    assert head[:4] == ["loss", "perplexity", "BLEU-4", "ROUGE-1"]
    assert base[0] == "base" and base[1] == "9e+09" and "not a number" in done.out
    assert tuned[:4] == ["tuned", "0.5000", "1.6487", "90.00"]
    results = here / "runs" / "one" / "eval" / "held"
    names = ["eval.log", "metrics.json", "page.html", "rows.jsonl"]
    assert sorted(path.name for path in results.iterdir()) == names
    metrics = json.loads((results / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["base"]["metrics"]["perplexity"] is None
    assert metrics["tuned"]["metrics"]["rouge-1"] is None
    assert (metrics["run"], metrics["dataset"], metrics["stage"]) == ("one", "held", "sft")
    lines = (results / "rows.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    rows = [json.loads(line) for line in lines]
    assert [row["row"] for row in rows] == [1, 2, 3]
    assert [row["prompt"] for row in rows] == [row["instruction"] for row in ROWS[:3]]
    assert [row["tuned"] for row in rows] == [row["output"] for row in ROWS[:3]]
    assert "the library speaks" in done.err and "page.html" in done.err


def test_the_page_shows_what_the_models_said_and_runs_none_of_it(
    here: Path, qtune: Command, stand_in: None
) -> None:
    assert qtune("eval", directory=here).code == 0
    text = (here / "runs" / "one" / "eval" / "held" / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags and "\x07" not in text
    assert sum("<script>alert(1)</script>" in cell for cell in page.cells) == 3
    assert text.count('class="same"') == 3  # the reference ends its turn with a line break


def test_what_each_child_is_asked(here: Path, qtune: Command, stand_in: None) -> None:
    done = qtune("eval", "one", "--json", "-s", "max_new_tokens=7", directory=here)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    loss, answers = told["tuned"]["arguments"]["loss"], told["tuned"]["arguments"]["answers"]
    assert loss["adapter_name_or_path"] == answers["adapter_name_or_path"] == "runs/one"
    assert "adapter_name_or_path" not in told["base"]["arguments"]["loss"]
    assert loss["do_eval"] is True and loss["do_train"] is False and loss["per_device_eval_batch_size"] == 1
    assert loss["cutoff_len"] == 2048 and loss["template"] == "qwen" and loss["use_cpu"] is True
    assert answers["do_predict"] is True and answers["predict_with_generate"] is True
    assert answers["do_sample"] is False and answers["max_new_tokens"] == 7
    assert not {"max_new_tokens", "do_sample", "predict_with_generate"} & loss.keys()
    training = {
        "learning_rate",
        "lora_rank",
        "deepspeed",
        "eval_strategy",
        "dataset",
        "load_best_model_at_end",
    }
    assert not training & (loss.keys() | answers.keys())
    assert not {"output_dir", "dataset_dir", "tokenized_path"} & loss.keys()


def test_a_failed_child_leaves_an_earlier_evaluation_as_it_was(
    here: Path, qtune: Command, stand_in: None
) -> None:
    assert qtune("eval", directory=here).code == 0
    results = here / "runs" / "one" / "eval" / "held"
    before = {name: (results / name).read_bytes() for name in ("metrics.json", "rows.jsonl", "page.html")}
    done = qtune("eval", "-s", "seed=13", directory=here)
    assert done.code == 1 and "the evaluation failed: RuntimeError: out of luck" in done.err
    assert str(results / "eval.log") in done.err and "out of luck" in (results / "eval.log").read_text()
    assert {name: (results / name).read_bytes() for name in before} == before


def test_an_interrupted_evaluation_leaves_no_results(here: Path, qtune: Command, stand_in: None) -> None:
    done = qtune("eval", "-s", "seed=14", directory=here)
    assert done.code == 130, done.err
    assert [path.name for path in (here / "runs" / "one" / "eval" / "held").iterdir()] == ["eval.log"]


def test_loss_alone_leaves_no_rows_of_an_earlier_evaluation(
    here: Path, qtune: Command, stand_in: None
) -> None:
    assert qtune("eval", directory=here).code == 0
    done = qtune("eval", "--loss-only", "--no-base", "--json", directory=here)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert "base" not in told and told["tuned"]["metrics"].keys() == {"loss", "perplexity"}
    left = {path.name for path in (here / "runs" / "one" / "eval" / "held").iterdir()}
    assert left == {"eval.log", "metrics.json"}


def test_the_base_alone_can_be_measured_of_a_run_that_did_not_finish(
    here: Path, qtune: Command, stand_in: None
) -> None:
    finished(here, "half", status="stopped")
    done = qtune("eval", "half", "--base", "--loss-only", "--json", directory=here)
    assert done.code == 0, done.err
    assert "tuned" not in json.loads(done.out)


def test_rows_that_were_held_back_are_drawn_again(here: Path, qtune: Command, stand_in: None) -> None:
    drawn = ("eval_dataset=null", "val_size=0.2", "seed=7", "max_samples=9")
    finished(here, "held-back", "lora", *drawn)
    done = qtune("eval", "held-back", "--loss-only", "--json", directory=here)
    assert done.code == 0, done.err
    loss = json.loads(done.out)["tuned"]["arguments"]["loss"]
    assert (loss["dataset"], loss["val_size"], loss["seed"], loss["max_samples"]) == ("rows", 0.2, 7, 9)
    assert (here / "runs" / "held-back" / "eval" / "val_size-0.2" / "metrics.json").is_file()
    refused = qtune("eval", "held-back", "--max-samples", "2", directory=here)
    assert refused.code == 2 and "fewer rows make another share" in refused.err
    refused = qtune("eval", "held-back", "-s", "seed=8", directory=here)
    assert refused.code == 2 and "decides which rows `held-back` held back" in refused.err


def test_a_text_of_its_own_measures_a_chat_model_without_answers(
    here: Path, qtune: Command, stand_in: None
) -> None:
    done = qtune("eval", "-d", "texts", "--json", directory=here)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["stage"] == "pt" and told["tuned"]["arguments"].keys() == {"loss"}
    assert told["tuned"]["arguments"]["loss"]["packing"] is False


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nothing",), "there is no run `nothing`"),
        (("half",), "is stopped"),
        (("bare",), "`bare` was trained without evaluation data"),
        (("one", "-d", "heldd"), "did you mean `held`?"),
        (("one", "-d", "pairs"), "this data is for stage dpo; `one` was trained at stage sft"),
        (("one", "-d", "rows,texts"), "for different stages: pt, sft"),
        (("one", "--checkpoint", "7"), "has no checkpoint 7"),
        (("one", "-s", "learning_rate=1.0"), "has no effect on what is trained already"),
        (("one", "-s", "max_new_token=1"), "did you mean `max_new_tokens`"),
        (("one", "-s", "infer_backend=vllm"), "has no effect"),
        (("prefers", "--base"), "has nothing to measure"),
        (("one", "--include-path", "."), "add --harness TASKS"),
        (("one", "--harness", "t", "-d", "held"), "-d: does not go with --harness"),
        (("one", "--harness", ","), "names no task"),
        (("one", "--harness", "t", "--include-path", "none"), "there is no directory none"),
    ],
)
def test_what_could_only_fail_is_refused_before_anything_starts(
    here: Path, qtune: Command, stand_in: None, words: tuple[str, ...], says: str
) -> None:
    finished(here, "half", status="stopped")
    finished(here, "bare", "lora", "eval_dataset=null")
    finished(here, "prefers", "dpo", "dataset=pairs", "eval_dataset=pairs")
    done = qtune("eval", *words, directory=here)
    assert done.code == 2 and says in done.err, done.err
    assert not list((here / "runs").glob("*/eval"))


def test_preferences_measure_the_run_against_its_base(here: Path, qtune: Command, stand_in: None) -> None:
    finished(here, "prefers", "dpo", "dataset=pairs", "eval_dataset=pairs", "pref_beta=0.3")
    done = qtune("eval", "prefers", "--json", directory=here)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    loss = told["tuned"]["arguments"]["loss"]
    assert "base" not in told and "perplexity" not in told["tuned"]["metrics"]
    assert loss["stage"] == "dpo" and loss["pref_beta"] == 0.3
    assert loss["ref_model"] == loss["model_name_or_path"]


def test_without_its_extra_the_loss_is_measured_all_the_same(
    here: Path, qtune: Command, stand_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qtune.machine.stack.installed_stack", lambda: stack("jieba", "nltk"))
    done = qtune("eval", directory=here)
    assert done.code == 2 and "pip install 'qtune[eval]'; or --loss-only" in done.err
    assert "jieba nltk" in done.err
    assert qtune("eval", "--loss-only", directory=here).code == 0


def test_without_the_harness_its_pip_line_is_told(
    here: Path, qtune: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    done = qtune("eval", "--harness", "hellaswag", directory=here)
    assert done.code == 2 and "pip install lm-eval" in done.err


def test_the_harness_gets_the_base_and_the_adapter(here: Path) -> None:
    project = find_project(here)
    benchmarks = Benchmarks(["a", "b"], here / "tasks", 5)
    model = REPOSITORY / "data" / "tiny-qwen2"
    plan = command(find(project, "one"), benchmarks, Hardware(), here, Path("/out"))
    assert plan.argv == (
        *("lm_eval", "--model", "hf", "--model_args", f"pretrained={model},peft={here}/runs/one"),
        *("--tasks", "a,b", "--output_path", "/out", "--device", "cpu", "--batch_size", "1"),
        *("--include_path", str(here / "tasks"), "--limit", "5"),
    )
    assert plan.environment == {"CUDA_VISIBLE_DEVICES": ""}
    gpu = command(
        find(project, "one", base=True), Benchmarks(["a"]), parse_hardware("1x24GB"), here, Path("/o")
    )
    assert f"pretrained={model}" in gpu.argv and gpu.argv[-4:] == ("--device", "cuda", "--batch_size", "auto")
    assert gpu.environment == {}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (("resize_vocab=true",), "`resize_vocab` changed its base"),
        (("rope_scaling=linear",), "`rope_scaling`"),
    ],
)
def test_the_harness_cannot_load_a_changed_base(here: Path, settings: tuple[str, ...], says: str) -> None:
    finished(here, "changed", "lora", *settings)
    with pytest.raises(QtuneError, match="qtune export changed") as raised:
        command(find(find_project(here), "changed"), Benchmarks(["a"]), Hardware(), here, Path("/o"))
    assert says in str(raised.value)


def test_the_harness_figures_of_both_models_side_by_side() -> None:
    task = {"alias": "t", "sample_len": 3, "acc,none": 0.5, "acc_stderr,none": 0.1, "em,strict": 1.0}
    other = {**task, "acc,none": 1.0, "acc_stderr,none": "N/A"}
    first, second = figures({"run": "x", "tasks": ["t"], "base": {"t": task}, "tuned": {"t": other}})
    assert (first.task, first.metric, first.values) == ("t", "acc", {"base": 0.5, "tuned": 1.0})
    assert first.errors == {"base": 0.1}
    assert (second.metric, second.values["base"]) == ("em (strict)", 1.0)


@pytest.mark.parametrize(
    ("columns", "rows", "tokens"),
    [
        ({"input_ids": [[1, 2, 3], [4, 5]], "labels": [[-100, 2, 3], [4, -100]]}, 2, 2),
        ({"input_ids": [[1, 2, 3], [4, 5]]}, 2, 3),
        ({"chosen_input_ids": [[1]], "rejected_input_ids": [[2]]}, 1, None),
        ({"input_ids": [[1]], "labels": [[1]], "kto_tags": [True]}, 1, None),
    ],
)
def test_tokens_are_those_that_the_loss_is_over(
    tmp_path: Path, columns: dict[str, Any], rows: int, tokens: int | None
) -> None:
    (tmp_path / "validation").mkdir()
    table = pa.table(columns)
    path = tmp_path / "validation" / "data-00000-of-00001.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    assert count(tmp_path) == (rows, tokens)


def test_a_perplexity_beyond_all_numbers_is_none() -> None:
    assert perplexity(1000.0) is None and perplexity(None) is None and perplexity(0.0) == 1.0
