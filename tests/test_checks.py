"""Findings: all at once, each with its place and fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qtune.config.project import find_project
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.values import Finding


def findings(root: Path, preset: str = "lora") -> list[Finding]:
    return list(pipeline.prepare(preset, find_project(root), Hardware()).findings)


def only(root: Path, preset: str = "lora") -> Finding:
    found = findings(root, preset)
    assert len(found) == 1, [str(finding) for finding in found]
    return found[0]


def test_a_good_project_has_no_findings(project: Callable[..., Path]) -> None:
    assert findings(project()) == []


def test_twelve_mistakes_give_twelve_findings_each_with_its_line(project: Callable[..., Path]) -> None:
    lines = [
        "lora_rnak: 8",
        "lora_rank: eight",
        "learning_rate: '1e-4'",
        "finetuning_type: loar",
        "eval_strategy: no",
        "output_dir: here",
        "deepspeed: ds.json",
        "hf_hub_token: abc",
        "evaluation_strategy: steps",
        "stage3_max_live_parameters: 1",
        "num_train_epochs: .inf",
        "template: qwen25",
    ]
    text = "extends: lora\ntrain:\n" + "".join(f"  {line}\n" for line in lines)
    found = findings(project({"presets/bad.yaml": text}), "bad")
    places = sorted((finding.origin.place, finding.key) for finding in found if finding.origin)
    assert places == sorted((f"presets/bad.yaml:{n}", line.split(":")[0]) for n, line in enumerate(lines, 3))
    assert all(finding.fix and finding.message for finding in found)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("lora_rnak: 8", "`lora_rank`"),
        ("lora_r: 8", "`lora_r` is `lora_rank` in LLaMA-Factory"),
        ("offload_optimizer: {device: cpu}", "under `zero:`"),
        ("nproc_per_node: 2", "under `launch:`"),
        ("template: qwen25", "`qwen"),
        ("per_device_train_batch_size: 0", "1 or more"),
    ],
)
def test_a_slip_is_told_its_right_name(project: Callable[..., Path], line: str, hint: str) -> None:
    finding = only(project({"presets/bad.yaml": f"extends: lora\ntrain:\n  {line}\n"}), "bad")
    assert hint in finding.fix


@pytest.mark.parametrize(
    ("block", "key"),
    [
        ("zero: {stage: 2, offload_optimizer: {devise: cpu}}", "zero.offload_optimizer.devise"),
        ("zero: {stage: 4}", "zero.stage"),
        ("zero: {stage: 2, learning_rate: 1.0}", "zero.learning_rate"),
        ("zero: {stage: 2, overlap_comm: auto}", "zero.overlap_comm"),
        ("zero: {stage: 2, reduce_bucket_size: 5e8, offload_optimizer: cpu}", "zero.offload_optimizer"),
        ("launch: {nproc: 2}", "launch.nproc"),
        ("launch: {nproc_per_node: two}", "launch.nproc_per_node"),
        ("launch: {nproc_per_node: 0}", "launch.nproc_per_node"),
    ],
)
def test_zero_and_launch_keys_are_checked_too(project: Callable[..., Path], block: str, key: str) -> None:
    finding = only(project({"presets/bad.yaml": f"extends: lora\n{block}\n"}), "bad")
    assert finding.key == key and finding.origin and finding.origin.line == 2


@pytest.mark.parametrize(
    "line",
    ["lr_scheduler_kwargs: {num_cycles: 2}", "report_to: [tensorboard]", "val_size: 2", "warmup_steps: 5"],
)
def test_what_the_library_takes_is_no_finding(project: Callable[..., Path], line: str) -> None:
    assert findings(project({"presets/good.yaml": f"extends: lora\ntrain:\n  {line}\n"}), "good") == []


@pytest.mark.parametrize("model", ["./nope", "/nope/nope", "data/nope", "a/b/c"])
def test_a_local_model_that_is_not_there_is_found(project: Callable[..., Path], model: str) -> None:
    text = f"train:\n  dataset: rows\n  model_name_or_path: {model}\n"
    finding = only(project({"qtune.yaml": text}))
    assert "no model directory" in finding.message
    assert finding.origin and finding.origin.place == "qtune.yaml:3"


def test_a_hubs_id_is_not_looked_for_on_disk(project: Callable[..., Path]) -> None:
    text = "train: {dataset: rows, model_name_or_path: Qwen/Qwen2.5-0.5B-Instruct}\n"
    assert findings(project({"qtune.yaml": text})) == []


def test_a_model_without_config_json_is_found(project: Callable[..., Path]) -> None:
    root = project({"qtune.yaml": "train: {dataset: rows, model_name_or_path: ./data}\n"})
    assert "config.json" in only(root).message


def test_an_unknown_models_template_is_asked_for_once(project: Callable[..., Path]) -> None:
    root = project({"qtune.yaml": "train: {dataset: rows, model_name_or_path: some/thing}\n"})
    assert only(root).key == "template"


def test_no_model_and_no_dataset_are_two_findings(project: Callable[..., Path]) -> None:
    assert {finding.key for finding in findings(project({"qtune.yaml": ""}))} == {
        "model_name_or_path",
        "dataset",
    }


def registered(
    project: Callable[..., Path], entry: str, rows: Any = None, stage: str = "sft"
) -> list[Finding]:
    """Findings where `rows` is registered as `entry` over a file of `rows`."""
    tree: dict[str, Any] = {"data/datasets.yaml": f"rows:\n  {entry}\n"}
    if rows is not None:
        tree["data/rows.jsonl"] = rows
    tree["presets/p.yaml"] = f"extends: lora\ntrain: {{stage: {stage}}}\n"
    return findings(project(tree), "p") if stage != "sft" else findings(project(tree))


CHAT = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}]
SHAREGPT = [{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}]
MESSAGES = "file_name: rows.jsonl\n  formatting: sharegpt\n  columns: {messages: messages}"
OPENAI_TAGS = "tags: {role_tag: role, content_tag: content, user_tag: user, assistant_tag: assistant}"


@pytest.mark.parametrize(
    ("entry", "rows", "stage"),
    [
        ("file_name: rows.jsonl", [{"instruction": "a", "output": "b"}], "sft"),
        ("file_name: rows.jsonl\n  columns: {prompt: q, response: a}", [{"q": "a", "a": "b"}], "sft"),
        ("file_name: rows.jsonl\n  formatting: sharegpt", SHAREGPT, "sft"),
        (f"{MESSAGES}\n  {OPENAI_TAGS}", CHAT, "sft"),
        ("file_name: rows.jsonl\n  columns: {prompt: text}", [{"text": "a"}], "pt"),
        ("hf_hub_url: owner/name\n  ms_hub_url: owner/name", None, "sft"),
        ("file_name: rows.jsonl\n  num_samples: 2", [{"instruction": "a", "output": "b"}] * 2, "sft"),
    ],
)
def test_good_registrations(project: Callable[..., Path], entry: str, rows: Any, stage: str) -> None:
    assert registered(project, entry, rows, stage) == []


@pytest.mark.parametrize(
    ("entry", "rows", "line", "says"),
    [
        ("file_name: nope.jsonl", None, 2, "no file"),
        ("file_name: rows.jsonl\n  format: sharegpt", None, 3, "would ignore it"),
        ("file_name: rows.jsonl\n  formatting: sharegtp", None, 3, "sharegpt"),
        ("file_name: rows.jsonl\n  columns: {promt: a}", None, 3, "would ignore it"),
        (
            "file_name: rows.jsonl\n  columns: {prompt: question}",
            None,
            3,
            "no row of rows.jsonl has `question`",
        ),
        ("file_name: rows.jsonl", [{"question": "a", "answer": "b"}], 1, "`question`, `answer`"),
        ("file_name: rows.jsonl", [{"instruction": "a"}], 1, "`output`"),
        ("file_name: rows.jsonl\n  formatting: sharegpt", CHAT, 1, "`conversations`"),
        (MESSAGES, CHAT, 1, "no `from` and `value` but `role`, `content`"),
        (
            "file_name: rows.jsonl\n  formatting: sharegpt",
            [{"conversations": [{"from": "user", "value": "a"}]}],
            1,
            "role is `user`",
        ),
        ("file_name: rows.jsonl\n  hf_hub_url: a/b", None, 1, "twice"),
        ("ranking: false", None, 1, "names no data"),
        ("file_name: rows.jsonl", "", 2, "no rows"),
        ("file_name: rows.jsonl", "{'instruction': 1}\n", 2, "rows.jsonl:1"),
        ("file_name: rows.jsonl", "[1, 2]", 2, "not a JSON object"),
        ("file_name: datasets.yaml", None, 2, "does not read `.yaml` files"),
        (
            "file_name: rows.jsonl\n  num_samples: 50",
            [{"instruction": "a", "output": "b"}] * 20,
            3,
            "is 50 and there are 20 rows: 30 are drawn again",
        ),
    ],
)
def test_bad_registrations_name_their_line(
    project: Callable[..., Path], entry: str, rows: Any, line: int, says: str
) -> None:
    (finding,) = registered(project, entry, rows)
    assert says in finding.message
    assert finding.origin and finding.origin.place == f"data/datasets.yaml:{line}"
    assert finding.fix


def test_an_unregistered_name_gets_the_nearest_one_and_a_path_is_taken_for_one(
    project: Callable[..., Path],
) -> None:
    text = "train:\n  model_name_or_path: Qwen/Qwen2.5-7B\n  dataset: rosw,my/own.jsonl\n"
    first, second = findings(project({"qtune.yaml": text}))
    assert "`rows`" in first.fix
    assert "`qtune data add my/own.jsonl`" in second.fix
