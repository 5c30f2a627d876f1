"""`eval` with the real library: its figures hold, and what was tuned on the rows is better than its base."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from scratch import BIN, SHORT, UNTIL_KNOWN, Project, environment

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
MODEL = "data/tiny-qwen2"


def rows_of(project: Project, file: str, count: int | None = None) -> list[dict[str, str]]:
    text = (project.root / "data" / file).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()[:count]]


def as_chat(row: dict[str, str]) -> tuple[str, str]:
    """A row's prompt and answer as the template `qwen` has them."""
    question = "\n".join(part for part in (row["instruction"], row["input"]) if part)
    prompt = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n"
    return f"{prompt}<|im_start|>assistant\n", f"{row['output']}<|im_end|>\n"


def by_hand(
    project: Project, model: str, adapter: str | None, sequences: list[tuple[str, str]]
) -> dict[str, float]:
    request = {"model": model, "adapter": adapter, "sequences": sequences}
    done = subprocess.run(
        [sys.executable, str(HERE / "loss_by_hand.py")],
        cwd=project.root,
        env=environment(CUDA_VISIBLE_DEVICES=""),
        input=json.dumps(request),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def evaluated(project: Project, *words: str) -> dict[str, Any]:
    return json.loads(project.qtune("eval", *words, "--json").stdout)


class Cells(HTMLParser):
    """The texts of a page's table cells; fails where a tag is closed that is not open."""

    OPEN_ENDED = ("meta", "p")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in self.OPEN_ENDED:
            self.open.append(tag)
        if tag == "td":
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.OPEN_ENDED:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["td"]:
            self.texts[-1] += data


def test_tuned_is_better_than_its_base_by_every_measure(project: Project) -> None:
    """Trained on four rows until it knows them: it gives their answers, in order, and its base does not."""
    project.qtune("train", "full", "-n", "knows", *UNTIL_KNOWN)
    options = ("-d", "demo", "--max-samples", "4", "-s", "max_new_tokens=90")
    told = evaluated(project, "knows", *options)
    base, tuned = told["base"]["metrics"], told["tuned"]["metrics"]
    for name in ("loss", "perplexity"):
        assert tuned[name] < base[name]
    for name in ("bleu-4", "rouge-1", "rouge-2", "rouge-l"):
        assert tuned[name] > base[name]
    assert tuned["loss"] < 0.1 and tuned["bleu-4"] > 70 and tuned["rouge-l"] > 95

    rows = rows_of(project, "demo.jsonl", 4)
    directory = project.root / "runs" / "knows" / "eval" / "demo"
    lines = (directory / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    answered = [json.loads(line) for line in lines]
    assert [row["row"] for row in answered] == [1, 2, 3, 4]
    assert [row["prompt"] for row in answered] == [as_chat(row)[0] for row in rows]
    assert [row["reference"] for row in answered] == [row["output"] + "\n" for row in rows]
    assert [row["tuned"] for row in answered] == [row["output"] for row in rows]
    assert all(row["base"] != row["tuned"] for row in answered)

    cells = Cells((directory / "page.html").read_text(encoding="utf-8"))
    assert cells.open == []
    for row in answered:
        start = cells.texts.index(row["prompt"])
        assert cells.texts[start - 1 : start + 2] == [str(row["row"]), row["prompt"], row["reference"]]
        assert cells.texts[start + 3] == row["tuned"]

    sequences = [as_chat(row) for row in rows]
    for whose, model in (("base", MODEL), ("tuned", "runs/knows")):
        found = by_hand(project, model, None, sequences)
        assert told[whose]["metrics"]["loss"] == pytest.approx(found["loss"], abs=1e-3)
        assert (told["rows"], told["tokens"]) == (4, found["tokens"])
    shutil.rmtree(directory)


def test_an_adapter_is_measured_on_the_runs_own_evaluation_data(project: Project) -> None:
    """Its loss is the one by hand, and the one that the training itself ended with."""
    project.qtune("train", "lora", "-n", "short", "-s", "learning_rate=5e-3", *SHORT)
    told = evaluated(project, "--loss-only")
    assert (told["run"], told["dataset"], told["rows"]) == ("short", "demo_eval", 20)
    sequences = [as_chat(row) for row in rows_of(project, "demo_eval.jsonl")]
    for whose, adapter in (("base", None), ("tuned", "runs/short")):
        metrics, found = told[whose]["metrics"], by_hand(project, MODEL, adapter, sequences)
        assert metrics["loss"] == pytest.approx(found["loss"], abs=1e-3)
        assert metrics["perplexity"] == pytest.approx(math.exp(metrics["loss"]))
        assert told["tokens"] == found["tokens"]
    best = min(project.run("short").evaluations)  # the training keeps its best model
    assert told["tuned"]["metrics"]["loss"] == pytest.approx(best, abs=1e-3)
    step = next(path for path in sorted(project.run("short").path.glob("checkpoint-*")))
    number = step.name.removeprefix("checkpoint-")
    at_step = evaluated(project, "short", "--loss-only", "--no-base", "--checkpoint", number)
    assert at_step["checkpoint"] == int(number)
    arguments = at_step["tuned"]["arguments"]["loss"]
    assert arguments["adapter_name_or_path"] == f"runs/short/checkpoint-{number}"


def test_a_4_bit_adapter_is_measured_on_what_was_held_back(project: Project) -> None:
    held_back = ("-s", "eval_dataset=null", "-s", "val_size=0.2", "-s", "max_samples=40")
    project.qtune("train", "qlora", "-n", "q", "-s", "num_train_epochs=1", *held_back)
    told = evaluated(project, "q", "--loss-only", "--no-base")
    assert told["rows"] == 8
    best = min(project.run("q").evaluations)
    assert told["tuned"]["metrics"]["loss"] == pytest.approx(best, abs=1e-3)


def test_a_4_bit_adapter_of_zero_3_is_measured_without_deepspeed(project: Project) -> None:
    """On the CPU bitsandbytes cannot evaluate under ZeRO-3."""
    project.qtune("train", "zero3_qlora", "-n", "sharded", "-s", "eval_dataset=null", *SHORT)
    told = evaluated(project, "sharded", "-d", "demo_eval", "--loss-only", "--no-base")
    sequences = [as_chat(row) for row in rows_of(project, "demo_eval.jsonl")]
    assert told["tuned"]["metrics"]["loss"] < by_hand(project, MODEL, None, sequences)["loss"]


def test_plain_texts_are_measured_whole(project: Project) -> None:
    texts = ("-s", "dataset=demo_text", "-s", "eval_dataset=demo_text")
    project.qtune("train", "pretrain", "-n", "texts", "-s", "learning_rate=5e-3", *texts)
    told = evaluated(project, "texts", "--no-base")
    sequences = [("", f"{row['text']}<|im_end|>") for row in rows_of(project, "demo_text.jsonl")]
    found = by_hand(project, MODEL, "runs/texts", sequences)
    assert told["stage"] == "pt" and (told["rows"], told["tokens"]) == (40, found["tokens"])
    assert told["tuned"]["metrics"]["loss"] == pytest.approx(found["loss"], abs=1e-3)


@pytest.mark.parametrize(
    ("preset", "dataset", "measures"),
    [
        ("dpo", "demo_dpo", {"loss", "rewards/accuracies", "rewards/margins"}),
        ("kto", "demo_kto", {"loss", "rewards/margins"}),
        ("reward", "demo_dpo", {"loss", "accuracy"}),
    ],
)
def test_preferences_have_measures_of_their_own(
    project: Project, preset: str, dataset: str, measures: set[str]
) -> None:
    data = ("-s", f"dataset={dataset}", "-s", f"eval_dataset={dataset}")
    project.qtune("train", preset, "-n", "p", "-s", "learning_rate=5e-3", "-s", "num_train_epochs=2", *data)
    told = evaluated(project, "p")
    metrics = told["tuned"]["metrics"]
    assert measures <= metrics.keys() and "base" not in told and told["rows"] == 30
    for name in measures & {"rewards/accuracies", "accuracy"}:
        assert metrics[name] > 0.6  # it was trained on these
    if "rewards/margins" in measures:
        assert metrics["rewards/margins"] > 0.1


@pytest.mark.skipif(
    shutil.which("lm_eval", path=str(BIN)) is None and shutil.which("lm_eval") is None,
    reason="lm-evaluation-harness is not installed (pip install lm-eval)",
)
def test_the_harness_runs_a_task_of_ones_own(project: Project) -> None:
    """How likely a row's answer is to the base, and to the base with the adapter: as by hand."""
    project.qtune(
        "train", "lora", "-n", "adapter", "-s", "learning_rate=5e-3", "-s", "eval_dataset=null", *SHORT
    )
    prompt, answer = as_chat(rows_of(project, "demo.jsonl", 1)[0])
    answer = answer[:3]  # the harness fails to print what a whole answer's perplexity is to such a model
    tasks = project.root / "tasks"
    tasks.mkdir()
    (tasks / "own.jsonl").write_text(json.dumps({"prompt": prompt, "answer": answer}), encoding="utf-8")
    (tasks / "own.yaml").write_text(
        "task: own\n"
        "dataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: {tasks / 'own.jsonl'}}}}}\n"
        "test_split: test\n"
        "output_type: loglikelihood\n"
        'doc_to_text: "{{prompt}}"\n'
        'doc_to_target: "{{answer}}"\n'
        'target_delimiter: ""\n'
        "metric_list: [{metric: perplexity}]\n",
        encoding="utf-8",
    )
    told = evaluated(project, "adapter", "--harness", "own", "--include-path", "tasks")
    for whose, adapter in (("base", None), ("tuned", "runs/adapter")):
        # the harness counts what white space ends the prompt to the answer (lm_eval/api/model.py)
        found = by_hand(project, MODEL, adapter, [(prompt.rstrip(), f"\n{answer}")])
        unlikely = math.log(told[whose]["own"]["perplexity,none"])  # of all its tokens together
        assert unlikely == pytest.approx(found["loss"] * found["tokens"], rel=1e-3)
    assert told["tuned"]["own"]["perplexity,none"] < told["base"]["own"]["perplexity,none"]
