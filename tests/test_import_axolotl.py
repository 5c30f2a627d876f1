"""axolotl's configs: what their keys become, and what is said of those that become nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from trees import Result, write_tree

from qtune.config.project import find_project
from qtune.errors import QtuneError
from qtune.files import table_beside
from qtune.importing.original import Original
from qtune.importing.read import Imported, read_import
from qtune.importing.recognise import recognise
from qtune.importing.source import read_source
from qtune.importing.toolkits import axolotl
from qtune.importing.toolkits import recognise as toolkits
from qtune.schema import arguments
from qtune.schema.chat_templates import chat_template

SHAPES = Path(__file__).parent / "import_toolkits" / "axolotl"
LEAST = "base_model: Qwen/Qwen3-4B\nmicro_batch_size: 1\n"
SETS = LEAST + "datasets:\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "project", {"qtune.yaml": ""})


def imported(root: Path, text: str) -> Imported:
    write_tree(root, {"axolotl.yml": text})
    return read_import(root / "axolotl.yml", root, find_project(root))


def read(root: Path, text: str) -> Original:
    write_tree(root, {"axolotl.yml": text})
    return recognise(read_source(root / "axolotl.yml", root), find_project(root))


def said(root: Path, text: str) -> dict[str, Any]:
    """LLaMA-Factory's arguments, before base's own are taken out."""
    return {name: value.value for name, value in read(root, text).keys.items()}


def findings(result: Imported) -> dict[str, str]:
    return {finding.key: finding.message for finding in result.findings}


SHAPE_CASES: dict[str, Mapping[str, Any]] = {
    "lora_alpaca.yml": {
        "model_name_or_path": "NousResearch/Llama-3.2-1B",
        "quantization_bit": 8,
        "finetuning_type": "lora",
        "lora_target": "gate_proj,down_proj,up_proj,q_proj,v_proj,k_proj,o_proj",
        "template": "alpaca",
        "dataset": "GPT4-LLM-Cleaned",
        "val_size": 0.1,
        "neat_packing": True,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 4,
        "eval_steps": 0.25,
        "save_steps": 0.5,
        "warmup_steps": 10,
    },
    "qlora_chat_local.yml": {
        "quantization_bit": 4,
        "lora_target": "all",
        "additional_target": "embed_tokens,lm_head",
        "use_rslora": True,
        "template": "qwen",
        "dataset": "support",
        "eval_dataset": "support_eval",
        "enable_liger_kernel": True,
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        "use_reentrant_gc": False,
        "report_to": "wandb",
        "run_name": "qlora-7b",
        "push_to_hub": True,
        "eval_strategy": "steps",
    },
    "dpo_intel.yaml": {"stage": "dpo", "pref_beta": 0.2, "template": "llama3", "flash_attn": "sdpa"},
    "kto_own_columns.yaml": {
        "stage": "kto",
        "kto_chosen_weight": 0.2,
        "gradient_accumulation_steps": 4,
        "fp16": True,
        "bf16": False,
        "use_unsloth_gc": True,
        "preprocessing_num_workers": 4,
        "eval_steps": 50,
        "load_best_model_at_end": True,
    },
    "full_fsdp2.yaml": {
        "finetuning_type": "full",
        "max_steps": 500,
        "lr_scheduler_type": "constant_with_warmup",
        "disable_gradient_checkpointing": False,
        "report_to": "tensorboard",
        "save_strategy": "epoch",
    },
    "vision_lora.yaml": {
        "lora_target": "up_proj,down_proj,gate_proj,q_proj,k_proj,v_proj,o_proj",
        "image_max_pixels": 262144,
        "packing": False,
        "flash_attn": "disabled",
    },
    "pretrain_stream.yaml": {"stage": "pt", "streaming": True, "packing": True, "dataset": "c4_en"},
    "reward_model.yaml": {"stage": "rm", "template": "gemma", "eval_steps": 0.25},
    "../axolotl-older/sharegpt_2024.yml": {
        "template": "chatml",
        "dataset": "support,databricks-dolly-15k",
        "add_tokens": "<|im_start|>,<|im_end|>",
        "eval_strategy": "no",
        "gradient_accumulation_steps": 8,
    },
}


@pytest.mark.parametrize("name", SHAPE_CASES)
def test_a_whole_config_becomes_these_arguments(root: Path, name: str) -> None:
    found = said(root, (SHAPES / name).read_text(encoding="utf-8"))
    assert {key: found.get(key) for key in SHAPE_CASES[name]} == SHAPE_CASES[name]


def test_the_kind_and_the_share_are_named(root: Path, qtune: Callable[..., Result]) -> None:
    write_tree(root, {"a.yml": (SHAPES / "dpo_intel.yaml").read_text(encoding="utf-8")})
    result = qtune("import", "a.yml", "-n", "ours", directory=root)
    assert (
        result.code == 0
        and "read as an axolotl config (27 of 32 keys translated, nothing to do for 5)" in result.err
    )
    registered = yaml.safe_load((root / "data/datasets.yaml").read_text(encoding="utf-8"))
    columns = registered["distilabel-intel-orca-dpo-pairs"]["columns"]
    assert columns == {"prompt": "question", "chosen": "chosen", "rejected": "rejected", "system": "system"}


def test_axolotls_defaults_hold_where_it_is_silent(root: Path) -> None:
    found = said(root, LEAST)
    assert (found["cutoff_len"], found["num_train_epochs"], found["warmup_steps"]) == (512, 1, 0.03)
    assert found["gradient_accumulation_steps"] == 1 and found["disable_gradient_checkpointing"] is True
    of_fsdp = "fsdp_config: {fsdp_activation_checkpointing: true}"
    assert "disable_gradient_checkpointing" not in said(root, LEAST + of_fsdp)
    notes = [note for note in read(root, LEAST).part.notes if "own defaults" in note.message]
    assert len(notes) == 1


CASES: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("lora_target_modules: [q_proj]\nlora_target_linear: true", {"lora_target": "all"}),
    ("lora_target_modules: 'layers.[0-9]+.self_attn.(q|k)_proj'", {"lora_target": "q_proj,k_proj"}),
    ("cosine_min_lr_ratio: 0.1", {"lr_scheduler_kwargs": {"min_lr_rate": 0.1}}),
    ("rl: ipo", {"stage": "dpo", "pref_loss": "ipo"}),
    ("rl: orpo\norpo_alpha: 0.3", {"pref_loss": "orpo", "pref_beta": 0.3}),
    ("rl: simpo\nsimpo_gamma: 1.2", {"pref_loss": "simpo", "simpo_gamma": 1.2}),
    ("rl: dpo\nsample_packing: true", {"stage": "dpo", "packing": None}),
    ("rl: dpo\ntrl: {beta: 0.4}", {"pref_beta": 0.4}),
    ("dpo_loss_type: [hinge]", {"pref_loss": "hinge"}),
    ("saves_per_epoch: 4\nnum_epochs: 2", {"save_strategy": "steps", "save_steps": 0.125}),
    ("evals_per_epoch: 4", {"eval_strategy": None}),
    ("warmup_ratio: 0.2", {"warmup_steps": 0.2}),
    ("warmup_ratio: 0.2\nwarmup_steps: 7", {"warmup_steps": 7}),
    ("batch_size: 12\nmicro_batch_size: 3", {"gradient_accumulation_steps": 4}),
    ("bf16: full", {"bf16": True, "bf16_full_eval": True}),
    ("bf16: auto", {"bf16": None}),
    ("optimizer: ao_adamw_8bit", {"optim": "adamw_torch_8bit"}),
    ("optimizer: muon", {"use_muon": True}),
    ("optim_args: {rank: 8, scale: 2}", {"optim_args": "rank=8,scale=2"}),
    ("peft_init_lora_weights: pissa_niter_16", {"pissa_init": True}),
    ("shuffle_merged_datasets: false", {"disable_shuffling": True}),
    ("chat_template_kwargs: {enable_thinking: false}", {"enable_thinking": False}),
    ("freeze_mm_modules: false", {"freeze_vision_tower": False, "freeze_multi_modal_projector": False}),
    ("unfrozen_parameters: ['^model.language_model.*']", {"freeze_vision_tower": True}),
    ("use_mlflow: true\nuse_tensorboard: true", {"report_to": "mlflow,tensorboard"}),
    ("gradient_checkpointing: offload", {"use_unsloth_gc": True}),
    ("train_on_inputs: true", {"train_on_prompt": True}),
    ("image_size: [512, 256]", {"image_max_pixels": 131072}),
    ("special_tokens: {additional_special_tokens: [<a>, <b>]}", {"add_special_tokens": "<a>,<b>"}),
    ("early_stopping_patience: 2", {"early_stopping_steps": 2, "load_best_model_at_end": True}),
)


@pytest.mark.parametrize(("text", "expected"), CASES, ids=lambda case: str(case).split("\n")[0])
def test_a_key_becomes(root: Path, text: str, expected: Mapping[str, Any]) -> None:
    given = {**yaml.safe_load(LEAST), **yaml.safe_load(text)}
    found = said(root, yaml.safe_dump(given))
    assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("lora_target_modules: 'model.*'", "lora_target_modules"),
        ("lr_scheduler: rex", "lr_scheduler"),
        ("optimizer: came_pytorch", "optimizer"),
        ("chat_template: jamba", "chat_template"),
        ("attn_implementation: xformers", "attn_implementation"),
        ("plugins: [axolotl.integrations.diffusion.DiffusionPlugin]", "plugins"),
        ("deepspeed: configs/mine.json", "deepspeed"),
        ("context_parallel_size: 4", "context_parallel_size"),
        ("wandb_project: ours", "wandb_project"),
        ("unfrozen_parameters: ['model.layers.3[0-9]']", "unfrozen_parameters"),
        ("no_such_key: 1", "no_such_key"),
        ("tokenizer_config: other/model", "tokenizer_config"),
        ("dpo_loss_type: [sigmoid, sft]", "dpo_loss_type"),
        ("tokens: {bos_token: <s>}", "tokens"),
    ],
)
def test_what_has_no_counterpart_is_one_warning(root: Path, text: str, key: str) -> None:
    result = imported(root, LEAST + text)
    assert list(findings(result)) == [key] and not result.errors


@pytest.mark.parametrize("text", ["rl: grpo", "rl: ebft", "process_reward_model: true"])
def test_a_training_that_llamafactory_does_not_have_is_an_error(root: Path, text: str) -> None:
    with pytest.raises(QtuneError, match="has no training of the kind"):
        imported(root, LEAST + text)


def test_fsdp_is_accelerates_launcher(root: Path) -> None:
    part = read(root, LEAST + "fsdp_version: 2\nfsdp_config: {offload_params: false}").part
    assert part.values["launch", "launcher"].value == "accelerate" and part.findings == ()
    offloaded = imported(root, LEAST + "fsdp: [full_shard]\nfsdp_config: {fsdp_offload_params: true}")
    assert offloaded.errors == ()
    assert yaml.safe_load(offloaded.text)["train"]["fsdp_config"] == {"fsdp_offload_params": True}


def test_deepspeeds_files_of_axolotl_are_known_by_name_and_one_here_is_read(root: Path) -> None:
    text = LEAST + "deepspeed: deepspeed_configs/zero2.json"
    assert read(root, text).part.values["zero", "offload_optimizer", "device"].value == "cpu"
    write_tree(root, {"deepspeed_configs/zero2.json": '{"zero_optimization": {"stage": 1}}'})
    assert yaml.safe_load(imported(root, text).text)["zero"] == {"stage": 1}


# What a registration says, by the entry under `datasets`.
DATA_CASES: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("", "{path: team/rows, type: alpaca}", {"hf_hub_url": "team/rows", "formatting": "alpaca"}),
    (
        "",
        "{path: team/rows, name: en, split: 'train[:9]', type: alpaca}",
        {"subset": "en", "split": "train[:9]"},
    ),
    ("", "{path: team/rows, type: completion, field: body}", {"columns": {"prompt": "body"}}),
    ("", "{path: team/rows, type: sharegpt}", {"columns": {"messages": "conversations"}}),
    ("", "{path: 's3://x/y.json', type: alpaca}", {"cloud_file_name": "s3://x/y.json"}),
    (
        "rl: dpo",
        "{path: team/rows, type: chat_template.default, field_chosen: good}",
        {"ranking": True, "formatting": "sharegpt"},
    ),
    (
        "rl: dpo",
        "{path: team/rows, type: {field_prompt: q, field_chosen: c, field_rejected: r}}",
        {"ranking": True, "columns": {"prompt": "q", "chosen": "c", "rejected": "r"}},
    ),
    (
        "",
        "{path: team/rows, type: chat_template, message_property_mappings: {role: from, content: value}}",
        {
            "tags": {
                "role_tag": "from",
                "content_tag": "value",
                "user_tag": "human",
                "assistant_tag": "gpt",
                "system_tag": "system",
            }
        },
    ),
)


@pytest.mark.parametrize(("beside", "entry", "expected"), DATA_CASES)
def test_a_data_set_becomes_a_registration(
    root: Path, beside: str, entry: str, expected: Mapping[str, Any]
) -> None:
    (registered,) = imported(root, f"{SETS}  - {entry}\n{beside}").datasets.values()
    assert {key: registered.get(key) for key in expected} == expected


def test_a_local_file_is_looked_at(root: Path) -> None:
    rows = [{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}]
    write_tree(root, {"data/x.json": json.dumps(rows)})
    result = imported(root, SETS + "  - {path: data/x.json, type: alpaca}")
    assert result.datasets == {"x": {"file_name": "x.json", "formatting": "sharegpt"}}


def test_data_files_of_a_loader_are_a_set_each(root: Path) -> None:
    write_tree(root, {"a.jsonl": '{"instruction": "a", "output": "b"}\n', "b.jsonl": '{"text": "c"}\n'})
    result = imported(root, SETS + "  - {path: json, data_files: [a.jsonl, b.jsonl], type: alpaca}")
    assert list(result.datasets) == ["a", "b"]


def test_two_sets_of_one_name_get_two(root: Path) -> None:
    result = imported(root, SETS + "  - {path: a/x, type: alpaca}\n  - {path: b/x, type: alpaca}")
    assert (
        list(result.datasets) == ["x", "x_2"] and yaml.safe_load(result.text)["train"]["dataset"] == "x,x_2"
    )


def test_what_is_registered_is_used_as_it_is(root: Path) -> None:
    write_tree(root, {"data/datasets.yaml": "ours: {file_name: o.jsonl}\nx: {hf_hub_url: a/x}\n"})
    result = imported(root, SETS + "  - {path: ours, type: alpaca}\n  - {path: a/x, type: alpaca}")
    assert list(result.datasets) == ["x_2"]
    assert yaml.safe_load(result.text)["train"]["dataset"] == "ours,x_2"


def test_importing_twice_registers_once(root: Path, qtune: Callable[..., Result]) -> None:
    write_tree(root, {"a.yml": SETS + "  - {path: a/x, type: alpaca}"})
    assert [qtune("import", "a.yml", "-n", name, directory=root).code for name in ("one", "two")] == [0, 0]


def test_a_dataset_info_beside_it_is_used(root: Path) -> None:
    write_tree(root, {"dataset_info.json": '{"ours": {"file_name": "o.jsonl"}}'})
    assert imported(root, SETS + "  - {path: ours, type: alpaca}").datasets == {
        "ours": {"file_name": "../o.jsonl"}
    }


def test_keys_of_a_data_set_that_a_registration_cannot_say_are_one_warning(root: Path) -> None:
    result = imported(
        root, SETS + "  - {path: a/x, type: alpaca, shards: 4, revision: abc, train_on_eos: last}"
    )
    (finding,) = result.findings
    assert finding.message.startswith("revision, train_on_eos, shards of a/x")


def test_prompts_of_several_forms_are_one_warning(root: Path) -> None:
    text = SETS + "  - {path: a/x, type: alpaca}\n  - {path: a/y, type: 'alpaca:chat'}"
    assert "prompts of several forms (alpaca, vicuna)" in findings(imported(root, text))["datasets"]


def test_every_template_and_argument_of_the_tables_is_llamafactorys() -> None:
    tables = table_beside(axolotl.__file__, "axolotl_data.yaml")
    named = [row.get("template") for kind in ("sft", "pairs", "kto") for row in tables[kind].values()]
    for name in (*named, *tables["templates"].values()):
        assert not name or chat_template(name)
    for _, toolkit in toolkits._CONFIGS:
        rows = toolkit().rows.values()
        values = [said for row in rows for said in (row.values or {}).values()]
        names = {name for said in values if isinstance(said, dict) for name in said}
        assert names | {row.becomes for row in rows if row.becomes} <= set(arguments())
        assert {row.by for row in rows if row.by} <= set(toolkit().readers)
