"""ms-swift's commands, configs and args.json, and the commands of other toolkits in scripts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from trees import REPOSITORY, write_tree

from qtune.config.project import find_project
from qtune.errors import QtuneError
from qtune.files import leaves
from qtune.importing.original import Coverage
from qtune.importing.read import Imported, read_import
from qtune.importing.toolkits.starts import start

CASES = REPOSITORY / "tests" / "import_toolkits"

EXPECTED: dict[str, dict[str, Any]] = yaml.safe_load("""
ms-swift/lora_two_cards.sh:
  {model_name_or_path: Qwen/Qwen3-4B-Instruct-2507, lora_rank: 16, lora_alpha: 32, lora_dropout: 0.05,
   use_rslora: true, dataset: 'alpaca-gpt4-data-en,answers', val_size: 0.02, cutoff_len: 3072, bf16: true,
   learning_rate: 2.0e-4, weight_decay: 0.1, adam_beta2: 0.95, save_steps: 200, eval_steps: 200,
   warmup_steps: 0.03, default_system: You answer for a bicycle shop., preprocessing_num_workers: 4,
   zero.stage: 2, launch.nproc_per_node: 2}
ms-swift/full_zero3.sh:
  {finetuning_type: full, packing: true, neat_packing: true, flash_attn: fa2, learning_rate: 8.0e-6,
   lr_scheduler_type: cosine_with_min_lr, lr_scheduler_kwargs: {min_lr: 1.0e-6}, max_grad_norm: 0.5,
   use_reentrant_gc: false, enable_liger_kernel: true, use_swanlab: true, swanlab_project: tulu,
   report_to: wandb, save_strategy: epoch, save_only_model: true, seed: 7, zero.stage: 3,
   zero.offload_param.device: cpu, launch.nproc_per_node: 8}
ms-swift/qlora_reasoning.sh:
  {quantization_bit: 4, pissa_init: true, pissa_iter: 4, lora_dropout: 0.1, loraplus_lr_ratio: 16,
   additional_target: [embed_tokens, lm_head], lora_target: 'q_proj,v_proj', dataset: thoughts,
   eval_dataset: held_out, mask_history: true, early_stopping_steps: 3, load_best_model_at_end: true,
   gradient_accumulation_steps: 16, launch.nproc_per_node: 1}
ms-swift/dpo_from_adapter.sh:
  {stage: dpo, pref_beta: 0.05, pref_ftx: 0.2, dpo_label_smoothing: 0.1,
   ref_model: mistralai/Mistral-7B-Instruct-v0.3, ref_model_adapters: out/sft/checkpoint-900,
   adapter_name_or_path: out/sft/checkpoint-900, lora_rank: 32, lora_alpha: 64,
   zero.offload_optimizer.device: cpu, dataloader_drop_last: true}
ms-swift/simpo_full.sh:
  {stage: dpo, pref_loss: simpo, pref_beta: 10, simpo_gamma: 5, finetuning_type: full,
   flash_attn: disabled, learning_rate: 8.0e-7}
ms-swift/pretrain_stream.sh:
  {stage: pt, streaming: true, buffer_size: 5000, max_steps: 20000, packing: true, finetuning_type: full,
   dataset: fineweb-edu_sample-10BT, lr_scheduler_type: constant_with_warmup, warmup_steps: 100}
ms-swift/vision_lora.sh:
  {image_max_pixels: 1003520, video_max_pixels: 50176, video_maxlen: 24, use_dora: true,
   freeze_vision_tower: false, freeze_multi_modal_projector: false, disable_gradient_checkpointing: true,
   neftune_noise_alpha: 5}
ms-swift/agent.yaml:
  {dataset: 'tools,alpaca', tool_format: qwen, eval_strategy: 'no', zero.stage: 1,
   launch.nproc_per_node: 2, gradient_accumulation_steps: 8}
qwen/lora_zero2.sh:
  {model_name_or_path: Qwen/Qwen-7B-Chat, finetuning_type: lora, lora_rank: 64, lora_alpha: 16,
   lora_target: 'c_attn,c_proj,w1,w2', cutoff_len: 1024, optim: adamw_torch, zero.stage: 2,
   launch.nproc_per_node: 4}
qwen/full_one.sh:
  {finetuning_type: full, eval_dataset: held_out, cutoff_len: 2048, lr_scheduler_type: linear,
   launch.nproc_per_node: 1}
openrlhf/sft_dotted.sh:
  {finetuning_type: full, cutoff_len: 4096, max_samples: 200000, per_device_train_batch_size: 1,
   gradient_accumulation_steps: 128, packing: true, lr_scheduler_kwargs: {min_lr_rate: 0.1}, zero.stage: 2,
   zero.offload_optimizer.device: cpu}
openrlhf/dpo_lora.sh:
  {stage: dpo, lora_rank: 16, lora_alpha: 32, pref_beta: 0.1, learning_rate: 5.0e-7, flash_attn: fa2,
   zero.stage: 3, launch.nproc_per_node: 4}
""")
# What base or LLaMA-Factory itself says, so that a preset need not.
ANYWAY = {
    **{"finetuning_type": "lora", "flash_attn": "auto", "pref_beta": 0.1, "pref_ftx": 0.0},
    **{"per_device_train_batch_size": 2, "max_grad_norm": 1.0, "lora_rank": 8, "cutoff_len": 2048},
}


def imported(tmp_path: Path, files: Mapping[str, Any], name: str = "run.sh") -> Imported:
    root = write_tree(tmp_path, {"qtune.yaml": "", **files})
    return read_import(root / name, root, find_project(root))


def values(found: Imported) -> dict[str, Any]:
    """The preset's arguments, and its other blocks' keys, dotted."""
    preset = yaml.safe_load(found.text)
    blocks = {block: preset.get(block, {}) for block in ("zero", "launch")}
    return {**preset["train"], **{".".join(path): value for path, value in leaves(blocks)}}


def findings(found: Imported) -> list[str]:
    return [f"{item.key}: {item.message}" for item in found.findings]


@pytest.mark.parametrize("case", EXPECTED)
def test_a_shape_becomes_what_it_trained(case: str, tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"qtune.yaml": ""})
    got = values(read_import(CASES / case, root, find_project(root)))
    differ = {
        key: (value, got.get(key))
        for key, value in EXPECTED[case].items()
        if got.get(key, ANYWAY.get(key)) != value
    }
    assert differ == {}


def test_the_shapes_of_ms_swift_translate_nine_keys_of_ten(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"qtune.yaml": ""})
    files = sorted((CASES / "ms-swift").iterdir())
    found = [read_import(path, root, find_project(root)).coverage or Coverage(0, 0, 0) for path in files]
    missing = sum(item.missing for item in found)
    assert missing <= 0.1 * (missing + sum(item.translated + item.needless for item in found))


ROWS = [{"instruction": "a", "input": "", "output": "b"}]
SWIFT = "swift sft --model Qwen/Qwen3-4B --use_hf true --max_length 1024"


@pytest.mark.parametrize(
    ("words", "entry"),
    [
        ("rows.jsonl#50", {"file_name": "../rows.jsonl", "num_samples": 50}),
        ("rows.jsonl", {"file_name": "../rows.jsonl"}),
        ("hf::team/rows:c#5", {"hf_hub_url": "team/rows", "subset": "c", "num_samples": 5}),
        ("MS::team/rows", {"ms_hub_url": "team/rows"}),
        ("team/rows:default", {"hf_hub_url": "team/rows"}),
    ],
)
def test_a_data_set_is_named_with_hub_subset_and_rows(
    words: str, entry: dict[str, Any], tmp_path: Path
) -> None:
    found = imported(tmp_path, {"run.sh": f"{SWIFT} --dataset '{words}'\n", "rows.jsonl": ROWS})
    assert list(found.datasets.values()) == [entry]


def test_two_subsets_are_two_registrations(tmp_path: Path) -> None:
    found = imported(tmp_path, {"run.sh": f"{SWIFT} --dataset team/rows:x/y\n"})
    assert [entry["subset"] for entry in found.datasets.values()] == ["x", "y"]


def test_columns_are_those_of_the_registration(tmp_path: Path) -> None:
    columns = '{"ask": "query", "say": "response"}'
    found = imported(tmp_path, {"run.sh": f"{SWIFT} --dataset team/rows --columns '{columns}'\n"})
    assert found.datasets["rows"]["columns"] == {"prompt": "ask", "response": "say"}
    assert findings(found) == []


@pytest.mark.parametrize(
    ("project", "model", "said"),
    [
        ("", "Qwen/Qwen3-4B", "note"),
        ("", "LLM-Research/Meta-Llama-3.1-8B", "warning"),
        ("hub: {name: modelscope}\n", "LLM-Research/Meta-Llama-3.1-8B", "nothing"),
        ("", "./here", "nothing"),
    ],
)
def test_the_hub_of_the_model_is_said(project: str, model: str, said: str, tmp_path: Path) -> None:
    files = {"run.sh": f"swift sft --model {model} --max_length 8 --dataset hf::team/rows\n", "here/x": "y"}
    found = imported(tmp_path, {**files, "qtune.yaml": project})
    notes = [str(note) for note in found.notes if "from ModelScope" in note.message]
    warnings = [line for line in findings(found) if "from ModelScope" in line]
    assert [said == "note", said == "warning"] == [bool(notes), bool(warnings)]


def test_what_ms_swift_takes_by_itself_is_written(tmp_path: Path) -> None:
    got = values(imported(tmp_path, {"run.sh": f"{SWIFT} --dataset team/rows --train_type full\n"}))
    assert got["learning_rate"] == 1e-5
    assert (got["weight_decay"], got["adam_beta2"], got["warmup_steps"]) == (0.1, 0.95, 0)
    assert got["gradient_accumulation_steps"] == 16
    got = values(imported(tmp_path, {"run.sh": f"NPROC_PER_NODE=4 {SWIFT} --dataset team/rows\n"}))
    assert (got["learning_rate"], got["lora_alpha"]) == (1e-4, 32)
    assert got.get("gradient_accumulation_steps", 4) == 4  # as base


@pytest.mark.parametrize(
    ("command", "packing"),
    [
        ("swift sft --packing true", (True, True)),
        ("swift pt --packing true", (True, None)),
        ("swift pt", (False, None)),
        ("swift rlhf --rlhf_type kto --packing true", (True, None)),
    ],
)
def test_rows_are_packed_as_the_stage_can(command: str, packing: Any, tmp_path: Path) -> None:
    line = f"{command} --model team/model --dataset hf::team/rows --max_length 8\n"
    got = values(imported(tmp_path, {"run.sh": line}))
    assert (got.get("packing"), got.get("neat_packing")) == packing


def test_a_length_that_is_not_set_is_a_warning(tmp_path: Path) -> None:
    found = imported(
        tmp_path, {"run.sh": "swift sft --model team/model --dataset team/other --use_hf true\n"}
    )
    assert [line.partition(":")[0] for line in findings(found)] == ["dataset", "max_length"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--rlhf_type grpo --reward_funcs accuracy", "trains with `grpo`, which LLaMA-Factory does not have"),
        ("--rlhf_type cpo", "trains with `cpo`"),
        ("--task_type embedding", "a model of the kind `embedding`"),
    ],
)
def test_a_method_that_is_not_here_is_no_preset(options: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(QtuneError, match=message):
        imported(tmp_path, {"run.sh": f"swift rlhf --model team/model --dataset team/other {options}\n"})


def test_one_process_over_two_devices_is_a_warning(tmp_path: Path) -> None:
    found = imported(tmp_path, {"run.sh": f"CUDA_VISIBLE_DEVICES=0,1 {SWIFT} --dataset team/rows\n"})
    assert values(found)["launch.nproc_per_node"] == 1
    assert any("splits one model over 2 devices" in line for line in findings(found))


def test_variables_are_arguments_and_tokens_are_pixels(tmp_path: Path) -> None:
    command = "swift sft --model Qwen/Qwen3-VL-4B --dataset hf::team/rows --max_length 8"
    line = f"IMAGE_MAX_TOKEN_NUM=1024 FPS=1.5 {command}"
    got = values(imported(tmp_path, {"run.sh": f"export VIDEO_MAX_PIXELS=4096\n{line}\n"}))
    assert got["image_max_pixels"] == 1024 * 32 * 32
    assert (got["video_max_pixels"], got["video_fps"]) == (4096, 1.5)


def test_flags_win_over_the_config_that_the_command_names(tmp_path: Path) -> None:
    config = {
        "model": "team/model",
        "tuner_type": "full",
        "dataset": ["hf::team/other"],
        "max_length": 512,
        "use_hf": True,
    }
    command = "swift sft run.yaml --tuner_type lora --max_length 1024\n"
    got = values(imported(tmp_path, {"run.sh": command, "run.yaml": yaml.safe_dump(config)}))
    assert (got["cutoff_len"], got["learning_rate"], got["model_name_or_path"]) == (1024, 1e-4, "team/model")


def test_one_finding_for_a_config_that_is_not_there(tmp_path: Path) -> None:
    found = imported(tmp_path, {"run.sh": "swift sft run.yaml --tuner_type lora\n"})
    assert findings(found) == [": there is no run.yaml"]
    assert [error.severity for error in found.errors] == ["error"]


ARGS = {
    **{"model": "Qwen/Qwen3-8B", "model_type": "qwen3", "task_type": "causal_lm", "torch_dtype": "bfloat16"},
    **{"template": "qwen3", "system": None, "max_length": 4096, "truncation_strategy": "delete"},
    **{"loss_scale": "default+ignore_empty_think", "use_chat_template": True, "template_backend": "swift"},
    **{"tuner_type": "lora", "tuner_backend": "peft", "train_type": None, "adapters": [], "seed": 42},
    **{"dataset": ["rows.jsonl#9"], "val_dataset": [], "split_dataset_ratio": 0.0, "data_seed": 42},
    **{"target_modules": ["all-linear"], "lora_rank": 32, "lora_alpha": 32.0, "lora_dropout": 0.05},
    **{"init_weights": True, "use_dora": False, "vera_rank": 256, "galore_rank": 128},
    **{"learning_rate": 0.0001, "weight_decay": 0.1, "adam_beta1": 0.9, "adam_beta2": 0.95},
    **{"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "num_train_epochs": 1.0},
    **{"warmup_ratio": 0.05, "lr_scheduler_type": "cosine", "optim": "adamw_torch_fused", "fp16": False},
    **{"bf16": True, "gradient_checkpointing": True, "report_to": ["tensorboard"], "save_steps": 250},
    **{"eval_strategy": "no", "evaluation_strategy": "no", "save_total_limit": None, "logging_steps": 5},
    **{"packing": True, "packing_length": 4096, "padding_free": True, "attn_impl": "flash_attn"},
    **{"output_dir": "/out/v0-20260801-101010", "logging_dir": "/out/v0/runs", "run_name": "/out/v0"},
    **{"swift_version": "4.6.0", "rank": 0, "local_rank": 0, "global_world_size": 8, "local_world_size": 4},
    **{"model_info": "ModelInfo(model_type='qwen3')", "hub": "<class 'HFHub'>", "use_hf": True},
    **{"model_kwargs": {}, "columns": {}, "fsdp": [], "swanlab_project": "ms-swift", "_n_gpu": 1},
    **{"deepspeed": {"zero_optimization": {"stage": 1}, "bf16": {"enabled": "auto"}}, "rope_scaling": None},
}


def test_args_json_says_what_is_not_the_default(tmp_path: Path) -> None:
    found = imported(tmp_path, {"args.json": ARGS, "rows.jsonl": ROWS}, "args.json")
    got = values(found)
    assert got["model_name_or_path"] == "Qwen/Qwen3-8B"
    assert (got["lora_rank"], got["packing"], got["zero.stage"]) == (32, True, 1)
    assert (got["launch.nproc_per_node"], got["launch.nnodes"]) == (4, 2)
    assert (got["learning_rate"], got["adam_beta2"], got["save_steps"]) == (1e-4, 0.95, 250)
    assert not {"galore_rank", "adam_beta1", "seed", "swanlab_project", "run_name"} & got.keys()
    assert [line for line in findings(found) if "nodes" not in line] == []
    quiet = next(note.key for note in found.notes if note.message.startswith("left out: ms-swift's defaults"))
    coverage = found.coverage or Coverage(0, 0, 0)
    counted = coverage.translated + coverage.needless + coverage.missing
    assert quiet == f"{len(ARGS) - counted} of {len(ARGS)} keys"


@pytest.mark.parametrize(
    ("command", "name", "method", "index"),
    [
        ("swift sft --model a", "ms-swift", "sft", 2),
        ("/opt/env/bin/swift pt --model a", "ms-swift", "pt", 2),
        ("torchrun --nproc_per_node 2 swift/cli/rlhf.py --model a", "ms-swift", "rlhf", 4),
        ("python -m swift.cli.sft --model a", "ms-swift", "sft", 3),
        ("trl dpo --config a.yaml", "TRL", "dpo", 2),
        ("accelerate launch trl/scripts/sft.py --dataset_name a", "TRL", "sft", 3),
        ("python sft_vlm.py --dataset_name a --model_name_or_path b", "TRL", "sft", 2),
        ("axolotl train a.yml", "axolotl", "", 2),
        ("accelerate launch -m axolotl.cli.train a.yml", "axolotl", "", 4),
        ("tune run --nproc_per_node 2 --standalone full_finetune --config a.yaml", "torchtune", "", 6),
        ("torchrun finetune.py --model_max_length 9", "Qwen's finetune.py", "", 2),
        ("deepspeed --module openrlhf.cli.train_rm --pretrain a", "OpenRLHF", "rm", 3),
        ("deepspeed --num_gpus=8 train.py --train_args_file a.json", "Firefly", "", 3),
        ("megatron sft --load a", "Megatron-SWIFT", "sft", 2),
        ("xtuner train a.py", "XTuner", "", 2),
    ],
)
def test_what_starts_a_toolkit(command: str, name: str, method: str, index: int) -> None:
    found = start(command.split())
    assert found is not None
    assert (found.starter.name, found.method, found.index) == (name, method, index)


@pytest.mark.parametrize(
    "command",
    [
        *("llamafactory-cli train a.yaml", "swift infer --model a", "trl vllm-serve --model a", "swift"),
        *("python src/train.py --stage sft", "python finetune.py --stage sft", "python sft.py --model a"),
    ],
)
def test_what_starts_none(command: str) -> None:
    assert start(command.split()) is None


@pytest.mark.parametrize(
    ("words", "value"),
    [("$(expr 32 / $n / 2)", 8), ("$(expr 3 \\* $n)", 6), ("$((18 / n))", 9), ("`expr $n + 1`", 3)],
)
def test_a_script_s_arithmetic_is_done(words: str, value: int, tmp_path: Path) -> None:
    command = f"{SWIFT} --dataset hf::team/rows --gradient_accumulation_steps {words}"
    found = imported(tmp_path, {"run.sh": f"n=2\n{command}\n"})
    assert values(found)["gradient_accumulation_steps"] == value


def test_what_only_the_script_knows_is_one_warning(tmp_path: Path) -> None:
    options = "--dataset hf::team/rows --seed $(cat seed) --output_dir out/$(date +%F)"
    found = imported(tmp_path, {"run.sh": f"{SWIFT} {options}\n"})
    assert findings(found)[0] == "seed: left out: `$(cat seed)` is known only when the script runs"
    assert [finding.key for finding in found.findings] == ["seed", "dataset"]


@pytest.mark.parametrize(
    ("command", "ours"), [("infer", "chat"), ("export", "export"), ("deploy", "api"), ("web-ui", "webchat")]
)
def test_what_trains_nothing_is_told_its_command(command: str, ours: str, tmp_path: Path) -> None:
    with pytest.raises(QtuneError, match=f"`swift {command}` trains nothing") as refusal:
        imported(tmp_path, {"run.sh": f"swift {command} --adapters out/checkpoint-9\n"})
    assert f"`qtune {ours} RUN`" in str(refusal.value)
    found = imported(tmp_path, {"run.sh": f"{SWIFT} --dataset hf::team/rows\nswift {command} --model a\n"})
    assert found.kind == "a command of ms-swift"


def test_a_program_that_makes_its_arguments(tmp_path: Path) -> None:
    text = """from swift import RLHFArguments, rlhf_main
rank = 16
rlhf_main(RLHFArguments(
    rlhf_type="kto", model="team/model", use_hf=True, dataset=["hf::team/rows#9"], max_length=512,
    lora_rank=rank, seed=len(open("x").read()),
))
"""
    found = imported(tmp_path, {"run.py": text}, "run.py")
    got = values(found)
    assert found.kind == "a Python program with ms-swift"
    assert (got["stage"], got["lora_rank"], got["cutoff_len"]) == ("kto", 16, 512)
    assert "known only when the program runs" in findings(found)[0]


def test_two_trainings_are_told_apart_by_their_lines(tmp_path: Path) -> None:
    with pytest.raises(QtuneError, match=r"starts 2 trainings \(lines 1, 2\)"):
        imported(tmp_path, {"run.sh": f"{SWIFT} --dataset team/rows\n{SWIFT} --dataset team/other\n"})


AXOLOTL = {
    **{"base_model": "Qwen/Qwen2.5-3B", "sequence_len": 1024, "micro_batch_size": 1, "adapter": "lora"},
    "datasets": [{"path": "rows.jsonl", "type": "alpaca"}],
}
TORCHTUNE = CASES / "torchtune" / "phi3_mini_lora_distributed.yaml"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("axolotl train a.yml --learning-rate 1e-5", {"learning_rate": 1e-5, "cutoff_len": 1024}),
        ("accelerate launch --num_processes 2 -m axolotl.cli.train a.yml", {"launch.nproc_per_node": 2}),
        ("trl sft --config b.yaml --learning_rate 3e-5", {"learning_rate": 3e-5, "lora_rank": 16}),
        (
            "tune run --nproc_per_node 2 lora_distributed --config c.yaml batch_size=4 optimizer.lr=1e-5",
            {"per_device_train_batch_size": 4, "learning_rate": 1e-5, "launch.nproc_per_node": 2},
        ),
        ("tune run lora_finetune_single_device --config c.yaml", {"launch.nproc_per_node": 1}),
        (
            "deepspeed --num_gpus=8 train.py --train_args_file d.json",
            {"quantization_bit": 4, "lora_rank": 64},
        ),
    ],
)
def test_other_toolkits_commands_read_their_config(
    command: str, expected: dict[str, Any], tmp_path: Path
) -> None:
    files = {
        "a.yml": yaml.safe_dump(AXOLOTL),
        "b.yaml": "{model_name_or_path: team/model, dataset_name: team/rows, use_peft: true}\n",
        "c.yaml": TORCHTUNE.read_text(encoding="utf-8"),
        "d.json": {
            **{"model_name_or_path": "team/model", "train_file": "rows.jsonl", "max_seq_length": 1024},
            **{"template_name": "qwen", "train_mode": "qlora"},
        },
        "rows.jsonl": ROWS,
    }
    got = values(imported(tmp_path, {"run.sh": f"{command}\n", **files}))
    assert {key: got.get(key, ANYWAY.get(key)) for key in expected} == expected


def test_torchtunes_own_config_is_copied_first(tmp_path: Path) -> None:
    found = imported(tmp_path, {"run.sh": "tune run lora_finetune_single_device --config llama3/8B_lora\n"})
    assert findings(found) == [": there is no llama3/8B_lora"]
    assert "tune cp NAME" in found.errors[0].fix


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("NPROC_PER_NODE=8 megatron sft --load a", "starts Megatron-SWIFT"),
        ("xtuner train a.py --deepspeed deepspeed_zero2", "starts XTuner"),
        ("python -m openrlhf.cli.train_ppo_ray --pretrain a", "starts OpenRLHF's train_ppo_ray"),
    ],
)
def test_what_is_named_and_not_read(command: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(QtuneError, match=message):
        imported(tmp_path, {"run.sh": f"{command}\n"})
