"""torchtune's configs: what their keys become, and what is said of those that become nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from trees import write_tree

from qtune.config.project import find_project
from qtune.errors import QtuneError
from qtune.importing.original import Original
from qtune.importing.read import Imported, read_import
from qtune.importing.recognise import recognise
from qtune.importing.source import read_source
from qtune.importing.toolkits.references import resolved
from qtune.values import Origin, Value

SHAPES = Path(__file__).parent / "import_toolkits" / "torchtune"
BUILDER = "torchtune.models.qwen2_5.lora_qwen2_5_7b_instruct"
LEAST: dict[str, Any] = {
    "model": {"_component_": BUILDER, "lora_attn_modules": ["q_proj"]},
    "checkpointer": {"checkpoint_dir": "/tmp/Qwen2.5-7B-Instruct"},
    "tokenizer": {"max_seq_len": 1024},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "project", {"qtune.yaml": ""})


def imported(root: Path, keys: Mapping[str, Any]) -> Imported:
    write_tree(root, {"tt.yaml": yaml.safe_dump({**LEAST, **keys})})
    return read_import(root / "tt.yaml", root, find_project(root))


def read(root: Path, text: str) -> Original:
    write_tree(root, {"tt.yaml": text})
    return recognise(read_source(root / "tt.yaml", root), find_project(root))


def said(root: Path, text: str) -> dict[str, Any]:
    """LLaMA-Factory's arguments, before base's own are taken out."""
    return {name: value.value for name, value in read(root, text).keys.items()}


SHAPE_CASES: dict[str, Mapping[str, Any]] = {
    "8B_lora_single_device.yaml": {
        "model_name_or_path": "meta-llama/Meta-Llama-3.1-8B-Instruct",
        "finetuning_type": "lora",
        "lora_target": "q_proj,v_proj,o_proj,gate_proj,up_proj,down_proj",
        "cutoff_len": 4096,
        "dataset": "alpaca-cleaned",
        "neat_packing": True,
        "train_on_prompt": None,
        "optim": "adamw_torch_fused",
        "learning_rate": 0.0003,
        "adam_beta2": 0.95,
        "max_grad_norm": 1.0,
        "pure_bf16": True,
        "lr_scheduler_type": "cosine",
    },
    "7B_full_low_memory.yaml": {
        "model_name_or_path": "Qwen/Qwen2.5-7B-Instruct",
        "finetuning_type": "full",
        "optim": "paged_adamw_8bit",
        "max_steps": 250,
        "train_on_prompt": True,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0,
        "weight_decay": 0.01,
        "report_to": "wandb",
    },
    "1B_qlora_chat.yaml": {
        "model_name_or_path": "meta-llama/Llama-3.2-1B-Instruct",
        "quantization_bit": 4,
        "dataset": "support",
        "default_system": "You answer briefly.",
        "disable_shuffling": True,
        "torch_compile": True,
        "report_to": "tensorboard",
    },
    "8B_lora_dpo.yaml": {
        "stage": "dpo",
        "pref_beta": 0.05,
        "dpo_label_smoothing": 0.1,
        "use_dora": True,
        "lora_target": "q_proj,v_proj,o_proj,gate_proj,up_proj,down_proj,lm_head",
    },
    "11B_vision_lora.yaml": {
        "freeze_language_model": True,
        "freeze_vision_tower": False,
        "freeze_multi_modal_projector": False,
        "dataset": "the_cauldron_ocrvqa",
    },
    "phi3_mini_lora_distributed.yaml": {
        "lora_target": "qkv_proj,o_proj,gate_up_proj,down_proj",
        "bf16": False,
        "enable_torch_profiler": True,
        "profiler_output_dir": "out/phi3/profiling_outputs",
    },
    "gemma_text_completion.yaml": {"stage": "pt", "packing": True, "dataset": "TinyStories_train_5"},
}


@pytest.mark.parametrize("name", SHAPE_CASES)
def test_a_whole_config_becomes_these_arguments(root: Path, name: str) -> None:
    found = said(root, (SHAPES / name).read_text(encoding="utf-8"))
    assert {key: found.get(key) for key in SHAPE_CASES[name]} == SHAPE_CASES[name]


CASES: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...] = (
    ({"optimizer": {"_component_": "torch.optim.SGD", "lr": 0.1}}, {"optim": "sgd"}),
    ({"dtype": "fp16"}, {"fp16": True, "bf16": False}),
    ({"compile": {"model": True, "loss": False}}, {"torch_compile": True}),
    ({"epochs": 3, "max_steps_per_epoch": 20}, {"max_steps": 60, "num_train_epochs": 3}),
    ({"loss": {"_component_": "torchtune.rlhf.loss.RSOLoss"}}, {"stage": "dpo", "pref_loss": "hinge"}),
    ({"loss": {"_component_": "torchtune.modules.loss.LinearCrossEntropyLoss"}}, {"stage": None}),
    ({"device": "cpu"}, {"use_cpu": True}),
    ({"run_val_every_n_steps": 50}, {"eval_strategy": "steps", "eval_steps": 50}),
    ({"enable_activation_checkpointing": False}, {"disable_gradient_checkpointing": True}),
    ({"ref_checkpointer": {"checkpoint_dir": "/models/other"}}, {"ref_model": "/models/other"}),
    ({"seed": 5, "clip_grad_norm": None}, {"seed": 5, "max_grad_norm": 0}),
    ({"model": {"_component_": BUILDER, "quantize_base": True}}, {"quantization_bit": 4}),
)


@pytest.mark.parametrize(("keys", "expected"), CASES, ids=lambda case: "-".join(case))
def test_a_key_becomes(root: Path, keys: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    found = said(root, yaml.safe_dump({**LEAST, **keys}))
    assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("directory", "header", "model"),
    [
        ("/tmp/Qwen2.5-7B-Instruct/", "", "Qwen/Qwen2.5-7B-Instruct"),
        ("/tmp/q", "# tune download Qwen/Qwen2.5-7B --output-dir /tmp/q", "Qwen/Qwen2.5-7B"),
        ("/tmp/Other-7B", "# tune download team/Other-7B", "team/Other-7B"),
        ("/models/ours-sft", "", "/models/ours-sft"),
        ("weights/original/", "", "weights"),
    ],
)
def test_the_model_is_the_hubs_only_where_the_directory_is_named_for_it(
    root: Path, directory: str, header: str, model: str
) -> None:
    (root / "weights").mkdir()
    text = yaml.safe_dump({**LEAST, "checkpointer": {"checkpoint_dir": directory}})
    assert said(root, f"{header}\n{text}")["model_name_or_path"] == model


DATA_CASES: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...] = (
    ({"_component_": "alpaca_dataset"}, {"hf_hub_url": "tatsu-lab/alpaca"}),
    ({"_component_": "samsum_dataset"}, {"columns": {"prompt": "dialogue", "response": "summary"}}),
    ({"_component_": "wikitext_dataset"}, {"subset": "wikitext-103-v1", "columns": {"prompt": "page"}}),
    (
        {"_component_": "instruct_dataset", "source": "team/rows", "column_map": {"input": "q"}},
        {"columns": {"prompt": "q", "response": "output"}},
    ),
    (
        {
            "_component_": "chat_dataset",
            "source": "team/rows",
            "conversation_column": "turns",
            "conversation_style": "openai",
        },
        {"formatting": "sharegpt", "columns": {"messages": "turns"}},
    ),
    ({"_component_": "stack_exchange_paired_dataset"}, {"ranking": True}),
)


@pytest.mark.parametrize(("keys", "expected"), DATA_CASES, ids=lambda case: case.get("_component_", ""))
def test_a_data_set_becomes_a_registration(
    root: Path, keys: Mapping[str, Any], expected: Mapping[str, Any]
) -> None:
    component = f"torchtune.datasets.{keys['_component_']}"
    (registered,) = imported(root, {"dataset": {**keys, "_component_": component}}).datasets.values()
    assert {key: registered.get(key) for key in expected} == expected


def test_several_data_sets_are_named_together(root: Path) -> None:
    sets = [{"_component_": f"torchtune.datasets.{name}_dataset"} for name in ("alpaca", "grammar")]
    assert yaml.safe_load(imported(root, {"dataset": sets}).text)["train"]["dataset"] == "alpaca,c4_200m"


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"optimizer": {"_component_": "heavyball.ForeachSOAP"}}, "optimizer._component_"),
        ({"lr_scheduler": {"_component_": "torch.optim.lr_scheduler.StepLR"}}, "lr_scheduler._component_"),
        ({"quantizer": {"_component_": "x"}, "optimizer": {"_component_": "torch.optim.AdamW"}}, "quantizer"),
        ({"fsdp_cpu_offload": True}, "fsdp_cpu_offload"),
        ({"tensor_parallel_dim": 4}, "tensor_parallel_dim"),
        ({"loss": {"_component_": "ours.Loss"}}, "loss._component_"),
        ({"model": {"_component_": "ours.models.big"}}, "model._component_"),
        ({"model": {"_component_": BUILDER, "vocab_size": 9}}, "model.vocab_size"),
        ({"dataset": {"_component_": "ours.data"}}, "dataset"),
        ({"dataset": {"_component_": "torchtune.datasets.hh_rlhf_helpful_dataset"}}, "dataset"),
        ({"no_such_key": 1}, "no_such_key"),
        ({"resume_from_checkpoint": True}, "resume_from_checkpoint"),
    ],
    ids=str,
)
def test_what_has_no_counterpart_is_one_warning(root: Path, keys: Mapping[str, Any], key: str) -> None:
    given = {"checkpointer": {"_component_": "torchtune.training.FullModelHFCheckpointer"}, **keys}
    result = imported(root, given)
    assert [finding.key for finding in result.findings] == [key] and not result.errors


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"tasks": ["truthfulqa_mc2"]}, "evaluates, no training"),
        ({"prompt": {"user": "a"}}, "generates, no training"),
        ({"quantizer": {"_component_": "x"}}, "quantises, no training"),
        ({"teacher_model": {"_component_": BUILDER}}, "distils from a teacher"),
        ({"grpo_size": 4}, "trains by GRPO"),
        ({"policy_model": {"_component_": BUILDER}}, "trains by PPO"),
    ],
)
def test_what_is_no_training_of_llamafactorys_is_an_error(
    root: Path, keys: Mapping[str, Any], says: str
) -> None:
    with pytest.raises(QtuneError, match=says):
        imported(root, keys)


def test_a_key_for_others_alone_is_said_to_be_in_them(root: Path) -> None:
    checkpointer = {"checkpoint_dir": "${base}/ours", "output_dir": "${base}/out"}
    result = imported(root, {"base": "/disk", "checkpointer": checkpointer})
    assert yaml.safe_load(result.text)["train"]["model_name_or_path"] == "/disk/ours"
    assert "base: left out: other keys have it in" in " ".join(map(str, result.notes))


def test_references_are_resolved_within_blocks_and_through_each_other() -> None:
    keys = {"a": "1", "b": "${a}/${c.d}", "e": ["${b}", {"f": "${missing}"}], "g": "${a}${g}", "h": "${i}"}
    values = {(key,): Value(value, Origin("x")) for key, value in keys.items()}
    values |= {("c", "d"): Value(7, Origin("x")), ("i",): Value(2.5, Origin("x"))}
    found = {path[0]: value.value for path, value in resolved(values).items()}
    assert found["e"] == ["1/7", {"f": "${missing}"}] and found["h"] == 2.5
    assert found["g"].startswith("1111")  # a circle ends
