"""Nested configs of no toolkit in particular, and the habits of the toolkits that people come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from trees import Result, write_tree

from qtune.cli.old_habits import in_qtunes_words
from qtune.config.blocks import argument_of, blocks
from qtune.config.project import find_project
from qtune.errors import QtuneError
from qtune.importing.read import Imported, read_import
from qtune.importing.toolkits import nested
from qtune.schema import arguments

CHAT = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}

Qtune = Callable[..., Result]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "project", {"qtune.yaml": "runs: runs\n", "notes/answers.jsonl": [CHAT]})


def imported(root: Path, text: str) -> Imported:
    write_tree(root, {"theirs.yaml": text})
    return read_import(root / "theirs.yaml", root, find_project(root))


def preset(result: Imported) -> dict[str, Any]:
    assert result.errors == (), [str(error) for error in result.errors]
    return dict(yaml.safe_load(result.text))


BLOCKS = """\
model:
  path: Qwen/Qwen3-8B
  torch_dtype: bfloat16
  attn_implementation: flash_attention_2
quantization:
  load_in_4bit: true
  bnb_4bit_quant_type: nf4
  double_quant: true
peft:
  enabled: true
  rank: 32
  alpha: 64
  dropout: 0.1
  target_modules: [q_proj, v_proj]
  bias: none
  task_type: CAUSAL_LM
data:
  train_path: notes/answers.jsonl
  val_split: 0.1
  max_length: 2048
  num_workers: 4
optimizer:
  name: adamw_torch
  lr: 0.0002
  weight_decay: 0.01
scheduler:
  type: cosine
  warmup_ratio: 0.03
training:
  epochs: 2
  batch_size: 4
  grad_accum: 8
  grad_clip: 0.5
  precision: bf16
  gradient_checkpointing: true
  log_every: 20
  save_every: 500
  seed: 3
deepspeed:
  stage: 2
output:
  dir: runs/one
"""
WITHIN = """\
model:
  name: google/gemma-2-2b
  lora: {r: 8, alpha: 8, target: all}
dataset:
  id: yahma/alpaca-cleaned
  split: train
  seq_len: 1024
training:
  lr: 3.0e-5
  steps: 500
  warmup: 50
  scheduler: {name: linear}
  optimizer: {type: adamw_torch, lr: 3.0e-5, beta2: 0.95}
kl: {beta: 0.2}
"""


def test_blocks_of_every_kind(root: Path) -> None:
    result = imported(root, BLOCKS)
    found = preset(result)
    expected = {
        **{"model_name_or_path": "Qwen/Qwen3-8B", "flash_attn": "fa2", "quantization_bit": 4},
        **{"lora_rank": 32, "lora_alpha": 64, "lora_dropout": 0.1, "dataset": "answers", "val_size": 0.1},
        **{"learning_rate": 0.0002, "weight_decay": 0.01, "warmup_steps": 0.03, "num_train_epochs": 2},
        **{"per_device_train_batch_size": 4, "gradient_accumulation_steps": 8, "max_grad_norm": 0.5},
        **{"bf16": True, "logging_steps": 20, "save_steps": 500, "preprocessing_num_workers": 4, "seed": 3},
    }
    assert {key: found["train"].get(key) for key in expected} == expected
    assert found["zero"] == {"stage": 2} and result.findings == ()
    assert result.datasets["answers"]["formatting"] == "sharegpt"


def test_blocks_within_blocks_and_what_holds_it_near_base(root: Path) -> None:
    result = imported(root, WITHIN)
    found = preset(result)["train"]
    expected = {
        **{"model_name_or_path": "google/gemma-2-2b", "lora_alpha": 8, "max_steps": 500, "asft_alpha": 0.2},
        **{"dataset": "alpaca-cleaned", "cutoff_len": 1024, "learning_rate": 3e-5, "adam_beta2": 0.95},
        **{"warmup_steps": 50, "lr_scheduler_type": "linear", "optim": "adamw_torch"},
    }
    assert {key: found.get(key) for key in expected} == expected
    assert result.datasets["alpaca-cleaned"] == {"hf_hub_url": "yahma/alpaca-cleaned"}


@pytest.mark.parametrize(
    "names", ["{r: 16, alpha: 32, dropout: 0.1}", "{rank: 16, lora_alpha: 32, dropout: 0.1}"]
)
def test_the_short_names_of_a_lora(root: Path, names: str) -> None:
    text = f"model: {{name: a/b}}\nlora: {names}\ntraining: {{lr: 3.0e-4, batch: 16, warmup: 20}}\n"
    found = preset(imported(root, text))["train"]
    assert (found["lora_rank"], found["lora_alpha"], found["lora_dropout"]) == (16, 32, 0.1)
    assert (found["learning_rate"], found["per_device_train_batch_size"], found["warmup_steps"]) == (
        3e-4,
        16,
        20,
    )


def test_no_name_of_two_blocks_is_lost(root: Path) -> None:
    result = imported(root, "model: {name: a/b}\ntraining: {lr: 1.0e-4}\noptimizer: {lr: 2.0e-4}\n")
    assert [(error.key, error.origin and error.origin.line) for error in result.errors] == [
        ("optimizer.lr", 3)
    ]


def test_a_value_that_the_table_does_not_tell_is_refused(root: Path) -> None:
    result = imported(root, "model: {name: a/b}\nlora: {bias: all}\n")
    assert [error.key for error in result.errors] == ["lora.bias"]


def test_the_method_by_one_word(root: Path) -> None:
    found = preset(imported(root, "model: {name: a/b}\ntraining: {method: qlora}\npeft: {r: 4}\n"))["train"]
    assert (found["quantization_bit"], found["lora_rank"]) == (4, 4)
    assert (
        preset(imported(root, "model: {name: a/b}\ntrain: {task: dpo, lr: 1.0}\n"))["train"]["stage"] == "dpo"
    )


def test_the_table_of_blocks_leads_to_what_there_is() -> None:
    further = {*nested._OWN, nested._NAME}
    for block, names in blocks().items():
        for name, meant in names.items():
            says = {meant} if isinstance(meant, str) else {key for says in meant.values() for key in says}
            assert says <= {*arguments(), *further}, f"{block}.{name}"


# ── the same names in presets, and after --set ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("key", "argument"),
    [
        ("lora.r", "lora_rank"),
        ("model.name", "model_name_or_path"),
        ("training.lr", "learning_rate"),
        ("quantization.bits", "quantization_bit"),
        ("data.path", "dataset"),
        ("r", "lora_rank"),
        ("alpha", "lora_alpha"),
        ("name", "model_name_or_path"),
    ],
)
def test_the_right_argument_is_suggested(
    project: Callable[..., Path], qtune: Qtune, key: str, argument: str
) -> None:
    result = qtune("check", "lora", "-s", f"{key}=1", directory=project())
    assert result.code == 2 and f"--set {key}: LLaMA-Factory" in result.err, result.err
    assert f"`{argument}`" in result.err


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("extends: lora\nlora: {r: 8, alpha: 16}\n", "`lora.r` is `lora_rank`, `lora.alpha` is `lora_alpha`"),
        ("extends: lora\nmodel.name: a/b\n", "`model.name` is `model_name_or_path`"),
        ("extends: lora\ntrain:\n  lora: {r: 8}\n", "`lora.r` is `lora_rank`"),
        ("extends: lora\ntrain:\n  model.name: a/b\n", "`model.name` is `model_name_or_path`"),
        ("extends: lora\ntrain:\n  training: {kl_beta: 0.1, kl: 0.1}\n", "use_asft_loss"),
    ],
)
def test_blocks_in_a_preset_are_told_their_arguments(
    project: Callable[..., Path], qtune: Qtune, text: str, where: str
) -> None:
    result = qtune("check", "theirs", directory=project({"presets/theirs.yaml": text}))
    assert result.code == 2 and where in result.err and "run_name" not in result.err, result.err


def test_blocks_in_qtune_yaml_are_told_theirs(project: Callable[..., Path], qtune: Qtune) -> None:
    result = qtune("check", "lora", directory=project({"qtune.yaml": "model: {path: a/b}\n"}))
    assert result.code == 2 and "`model.path` is `model_name_or_path`" in result.err, result.err


def test_a_name_without_a_block_is_the_first_blocks() -> None:
    assert argument_of(("dropout",)) == "lora_dropout" and argument_of(("deepspeed", "stage")) == "zero.stage"
    assert argument_of(("lora", "nothing")) is None and argument_of(("nothing",)) is None


# ── the command line of before ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("train -t stage2_offload", "`qtune train stage2_offload` does it"),
        ("-t stage2_offload", "`qtune train stage2_offload` does it"),
        ("check --type=lora", "`qtune check lora` does it"),
        ("train -c a/my.yaml", "`qtune import a/my.yaml -n my` and then `qtune train my`"),
        (
            "run_train.sh -t stage2_offload -c x.yaml",
            "`qtune import x.yaml -n x`, write `extends: stage2_offload` into it, and then `qtune train x`",
        ),
        ("bash run_train.sh", "`qtune train PRESET` does it"),
        ("./scripts/finetune_lora.sh -t lora", "`qtune train lora` does it"),
    ],
)
def test_the_old_command_line_is_answered(root: Path, qtune: Qtune, line: str, answer: str) -> None:
    result = qtune(*line.split(), directory=root)
    assert result.code == 2 and f"fix: {answer}" in result.err, result.err


@pytest.mark.parametrize("line", ["train --bogus", "data add -t x", "trian lora", "import -c x"])
def test_other_slips_are_answered_as_before(line: str) -> None:
    assert in_qtunes_words(line.split()) is None


def test_a_model_block_alone_is_no_training(root: Path) -> None:
    with pytest.raises(QtuneError, match="is not a training config"):
        imported(root, '{"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0}}}')


def test_lmflow_is_named(root: Path) -> None:
    write_tree(
        root,
        {"run.sh": "deepspeed examples/finetune.py --dataset_path data --disable_group_texts 1\n"},
    )
    with pytest.raises(QtuneError, match="starts LMFlow"):
        read_import(root / "run.sh", root, find_project(root))
