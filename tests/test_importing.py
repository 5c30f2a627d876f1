"""`qtune import`: configs of every shape to presets, each change named, no key lost without a word."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from import_cases import (
    DEEPSPEED,
    HEAD,
    LORA_SFT,
    PROCESSES,
    RENAMED_CASES,
    SCRIPTS,
    SFT,
    TREE,
    VALUE_CASES,
    YAMLS,
    older,
)
from trees import Result, files_below, write_tree

from qtune.config.aliases import aliases
from qtune.config.project import find_project
from qtune.config.renames import renamed, renamed_values
from qtune.importing.read import Imported, read_import
from qtune.importing.scripts.shell import commands
from qtune.schema import arguments

Qtune = Callable[..., Result]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "project", {**TREE, **DEEPSPEED})


def imported(root: Path, text: str, name: str = "original.yaml") -> Imported:
    write_tree(root, {name: text})
    return read_import(root / name, root, find_project(root))


def preset(result: Imported) -> dict[str, Any]:
    assert result.errors == (), [str(error) for error in result.errors]
    return yaml.safe_load(result.text)


def refused(qtune: Qtune, root: Path, text: str | bytes, *says: str, name: str = "original.yaml") -> str:
    """Exit code 2, the words, and nothing written, not even with a name."""
    path = root / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = files_below(root)
    result = qtune("import", name, "-n", "taken_over", directory=root)
    assert result.code == 2 and "Traceback" not in result.err and result.out == "", result
    assert "fix: " in result.err
    for words in says:
        assert words in result.err, result.err
    assert files_below(root) == before
    return result.err


# ── LLaMA-Factory's own YAML ───────────────────────────────────────────────────────────────────────────


def test_a_train_config_becomes_its_method_and_what_differs_from_base(qtune: Qtune, root: Path) -> None:
    write_tree(root, {"lora.yaml": LORA_SFT})
    before = files_below(root)
    result = qtune("import", "lora.yaml", directory=root)
    assert result.code == 0 and files_below(root) == before
    assert result.out == (
        "# Imported from lora.yaml, a LLaMA-Factory config. What it does not say comes from base.\n"
        "about: imported from lora.yaml\n"
        "train:\n"
        "  # model\n"
        "  model_name_or_path: Qwen/Qwen2.5-0.5B-Instruct\n"
        "  trust_remote_code: true\n"
        "  # method\n"
        "  stage: sft\n"
        "  do_train: true\n"
        "  finetuning_type: lora\n"
        "  lora_rank: 8\n"
        "  lora_target: all\n"
        "  # dataset\n"
        "  dataset: identity,alpaca_en_demo\n"
        "  template: qwen\n"
        "  cutoff_len: 2048\n"
        "  max_samples: 1000\n"
        "  preprocessing_num_workers: 16\n"
        "  # output\n"
        "  logging_steps: 10\n"
        "  save_steps: 500\n"
        "  report_to: none\n"
        "  # train\n"
        "  dataloader_num_workers: 4\n"
        "  per_device_train_batch_size: 1\n"
        "  gradient_accumulation_steps: 8\n"
        "  learning_rate: 0.0001\n"
        "  num_train_epochs: 3.0\n"
        "  bf16: true\n"
        "  # the original leaves these to LLaMA-Factory\n"
        "  fp16: null\n"
        "  use_cpu: null\n"
        "  ddp_backend: null\n"
        "  save_total_limit: null\n"
        "  include_num_input_tokens_seen: null\n"
        "  eval_strategy: null\n"
        "  eval_steps: null\n"
        "  per_device_eval_batch_size: null\n"
        "  load_best_model_at_end: null\n"
        "# data/datasets.yaml needs:\n"
        "# identity:\n"
        "#   file_name: identity.json\n"
        "# alpaca_en_demo:\n"
        "#   file_name: alpaca.jsonl\n"
        "#   columns:\n"
        "#     prompt: q\n"
        "#     response: a\n"
    )
    assert "lora.yaml:3 output_dir: left out" in result.err
    assert "lora.yaml:35 warmup_ratio: `warmup_ratio` became `warmup_steps`" in result.err
    assert "next: `qtune import lora.yaml -n NAME`" in result.err


@pytest.mark.parametrize("name", YAMLS)
def test_every_shape_is_taken_over_and_can_be_checked(qtune: Qtune, root: Path, name: str) -> None:
    write_tree(root, {f"{name}.yaml": YAMLS[name]})
    done = qtune("import", f"{name}.yaml", "-n", name, directory=root)
    assert done.code == 0, done.err
    assert f"presets/{name}.yaml" in done.out.splitlines()
    checked = qtune("check", name, "--hardware", "8x80GB", directory=root)
    assert checked.code == 0, checked.err


@pytest.mark.parametrize("file", DEEPSPEED)
def test_a_deepspeed_file_becomes_the_zero_block(root: Path, file: str) -> None:
    name = Path(file).stem
    content = DEEPSPEED[file]
    content = json.loads(content) if isinstance(content, str) else content
    assert preset(imported(root, YAMLS[name]))["zero"] == content["zero_optimization"]


def test_a_deepspeed_file_alone_becomes_a_preset_to_extend(root: Path) -> None:
    result = preset(imported(root, DEEPSPEED["examples/deepspeed/agrees.json"], "ds.json"))
    assert result["zero"] == {"stage": 2, "reduce_bucket_size": 200000000.0}
    assert result["train"] == {
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 8,
        "bf16": True,
        "fp16": False,
    }


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"train_micro_batch_size_per_gpu": 4}, "is 4, but `per_device_train_batch_size` is 8"),
        ({"train_batch_size": 3}, "train_batch_size: 3 does not follow"),
        ({"gradient_clipping": 0.5}, "`max_grad_norm` is 1.0"),
        ({"fp16": {"enabled": True}}, "`fp16` is false"),
        ({"optimizer": {"type": "AdamW", "params": {"lr": 3e-4}}}, "`learning_rate` is"),
        ({"zero_optimization": {"stage": 2, "offload_optimiser": {}}}, "did you mean `offload_optimizer`"),
        ({"zero_optimization": {"stage": 7}}, "stage: is 7"),
    ],
)
def test_what_the_trainer_would_refuse_is_refused(
    qtune: Qtune, root: Path, content: dict[str, Any], says: str
) -> None:
    write_tree(root, {"ds.json": {"zero_optimization": {"stage": 2}, "gradient_clipping": "auto", **content}})
    assert "ds.json:1 " in refused(qtune, root, f"{SFT}bf16: true\ndeepspeed: ds.json\n", says)


def test_a_deepspeed_file_that_is_missing_is_refused(qtune: Qtune, root: Path) -> None:
    refused(qtune, root, f"{SFT}deepspeed: ds_z3.json\n", "original.yaml:7 deepspeed: there is no ds_z3.json")


def test_quotes_around_numbers_go_and_are_named(root: Path) -> None:
    result = imported(root, f'{SFT}learning_rate: "2e-5"\nlora_rank: "16"\nsave_strategy: no\nbf16: "true"\n')
    train = preset(result)["train"]
    assert (train["learning_rate"], train["lora_rank"], train["bf16"]) == (2e-5, 16, True)
    assert train["save_strategy"] == "no"
    assert sum("which is what is meant" in note.message for note in result.notes) == 4


def test_a_null_that_a_preset_cannot_say_is_refused(qtune: Qtune, root: Path) -> None:
    refused(qtune, root, f"{SFT}trackio_space_id: null\n", "original.yaml:7 trackio_space_id: is null")


def test_a_null_that_is_a_value_is_taken_over(root: Path) -> None:
    result = imported(root, f"{SFT}enable_thinking: null\n")
    assert preset(result)["train"].get("enable_thinking", "left out") is None


def test_keys_of_forks_are_named_all_at_once_with_their_lines(qtune: Qtune, root: Path) -> None:
    text = f"{SFT}global_batch_size: 64\nmessages: conversations\nrole_tag: role\nlora_rnak: 3\n"
    err = refused(qtune, root, text, "original.yaml:7 global_batch_size", "original.yaml:9 role_tag")
    assert "original.yaml:10 lora_rnak" in err and "did you mean `lora_rank`" in err
    assert err.count("error: ") == 4


def test_secrets_are_not_copied(qtune: Qtune, root: Path) -> None:
    text = f"{SFT}hf_hub_token: hf_do_not_copy_me\nswanlab_api_key: do_not_copy_me\n"
    write_tree(root, {"original.yaml": text, "run.sh": SCRIPTS["variables"]})
    for arguments_ in (["original.yaml", "-n", "one"], ["run.sh", "-n", "two"], ["run.sh"]):
        result = qtune("import", *arguments_, directory=root)
        assert result.code == 0, result.err
        assert "copy" not in result.out and "copy_me" not in result.err and "copy-me" not in result.err
    everything = "".join((root / f"presets/{name}.yaml").read_text() for name in ("one", "two"))
    assert "hub_token" not in everything and "copy" not in everything


def test_two_words_for_one_argument_are_refused(qtune: Qtune, root: Path) -> None:
    refused(qtune, root, f"{SFT}pref_beta: 0.1\ndpo_beta: 0.2\n", "keep one of `dpo_beta` and `pref_beta`")


def test_the_ratio_wins_over_the_steps_as_in_the_library(root: Path) -> None:
    result = imported(root, YAMLS["warmup_both"])
    assert preset(result)["train"]["warmup_steps"] == 0.05
    assert [finding.key for finding in result.findings] == ["warmup_ratio"]


def test_media_stay_where_dataset_dir_was(root: Path) -> None:
    assert "media_dir" not in preset(imported(root, SFT))["train"]
    assert preset(imported(root, f"{SFT}dataset_dir: elsewhere\n"))["train"]["media_dir"] == "elsewhere"


def test_qtune_yaml_that_says_otherwise_is_named_with_the_command(qtune: Qtune, root: Path) -> None:
    write_tree(root, {"qtune.yaml": "train:\n  dataset: mine\n  cutoff_len: 99\n", "original.yaml": SFT})
    result = qtune("import", "original.yaml", directory=root)
    assert "qtune.yaml:3 dataset, cutoff_len: qtune.yaml says otherwise" in result.err
    assert "-d identity -s cutoff_len=" in result.err


# ── writing ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_name_writes_the_preset_and_keeps_comments(qtune: Qtune, root: Path) -> None:
    write_tree(root, {"qtune.yaml": "# ours\nruns: runs  # here\n", "data/datasets.yaml": "# data\n"})
    write_tree(root, {"sub/original.yaml": LORA_SFT})
    result = qtune("import", "sub/original.yaml", "-n", "house", directory=root)
    assert result.out.splitlines() == ["data/datasets.yaml", "presets/house.yaml"], result
    assert (root / "qtune.yaml").read_text() == "# ours\npresets: [presets]\nruns: runs  # here\n"
    registered = (root / "data/datasets.yaml").read_text()
    assert registered.startswith("# data\n") and "identity:\n  file_name: identity.json\n" in registered
    again = qtune("import", "sub/original.yaml", "-n", "house", directory=root)
    assert again.code == 2 and "is there already" in again.err


def test_registrations_that_cannot_be_added_stop_it(qtune: Qtune, root: Path) -> None:
    write_tree(root, {"data/datasets.yaml": "{mine: {file_name: mine.jsonl}}\n"})
    refused(qtune, root, SFT, "data/datasets.yaml: has no room at its end for `identity`")


def test_a_name_registered_otherwise_keeps_the_projects_own(root: Path) -> None:
    write_tree(root, {"data/datasets.yaml": "identity: {file_name: other.json}\n"})
    result = imported(root, SFT)
    assert result.datasets == {} and "other keys, which hold" in result.findings[0].message


def test_data_outside_the_project_is_registered_in_full(tmp_path: Path, root: Path) -> None:
    write_tree(tmp_path / "old", {"train.yaml": f"{SFT}dataset_dir: dd\n"})
    write_tree(tmp_path / "old", {"dd/dataset_info.json": {"identity": {"file_name": "identity.json"}}})
    result = read_import(tmp_path / "old/train.yaml", root, find_project(root))
    assert result.datasets == {"identity": {"file_name": str(tmp_path / "old/dd/identity.json")}}


def test_a_dataset_that_is_nowhere_is_a_warning(root: Path) -> None:
    result = imported(root, SFT.replace("identity", "nowhere,identity"))
    assert list(result.datasets) == ["identity"]
    assert "data/dataset_info.json does not have it" in result.findings[0].message


def test_hub_datasets_are_registered_by_their_id(root: Path) -> None:
    result = imported(root, SFT.replace("identity", "us/chats") + "dataset_dir: ONLINE\n")
    assert result.datasets == {"us/chats": {"hf_hub_url": "us/chats"}}


# ── scripts ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_read_with_its_processes(root: Path, name: str) -> None:
    write_tree(root, {"configs/lora_sft.yaml": LORA_SFT})
    result = preset(imported(root, SCRIPTS[name], f"{name}.sh"))
    assert result.get("launch", {}).get("nproc_per_node") == PROCESSES[name]


def test_variables_are_put_in_as_the_shell_would(root: Path) -> None:
    result = imported(root, SCRIPTS["variables"], "run.sh")
    train = preset(result)["train"]
    assert (train["learning_rate"], train["lora_rank"], train["lora_dropout"]) == (1e-4, 16, 0.1)
    assert train["default_system"] == 'costs $5, not "${MODEL}"' and train["enable_thinking"] is False
    notes = [str(note) for note in result.notes]
    assert any("run.sh:12 WANDB_API_KEY: is no part of a preset" in note for note in notes)
    assert any("left out: set, mkdir, tee" in note for note in notes)


def test_a_scripts_file_is_read_and_overridden(root: Path) -> None:
    write_tree(root, {"configs/lora_sft.yaml": LORA_SFT})
    train = preset(imported(root, SCRIPTS["file"], "run.sh"))["train"]
    assert (train["learning_rate"], train["lora_target"], train["val_size"]) == (2e-5, "q_proj,v_proj", 0.2)


def test_a_script_is_not_run(root: Path) -> None:
    command = SCRIPTS["python"].replace("Qwen/Qwen2.5-0.5B-Instruct", "$(touch ran)")
    assert imported(root, f"touch ran\n{command}", "run.sh").errors
    assert not (root / "ran").exists()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (
            "llamafactory-cli train --stage sft \\\n --learning_rate $LR",
            "run.sh:2 learning_rate: `LR` is not set",
        ),
        (
            "if [ -z $A ]; then\nX=1\nfi\nlmf train --lora_rank $X",
            "`X` is set only under a condition, on line 2",
        ),
        ("for r in 8 16; do\nlmf train --lora_rank $r\ndone", "starts LLaMA-Factory 2 times (lines 2, 2)"),
        ("NNODES=two llamafactory-cli train --stage sft", "nnodes: `two` is no number"),
        ("torchrun --nnodes=$N src/train.py --stage sft", "nnodes: `N` is not set"),
        (
            "accelerate launch --num_processes 3 --num_machines 2 src/train.py --stage sft",
            "num_processes: 3 processes on 2 nodes",
        ),
        (
            "deepspeed --hostfile hosts src/train.py --stage sft",
            "hostfile: qtune starts LLaMA-Factory itself",
        ),
        (
            "accelerate launch --config_file f.yaml src/train.py --stage sft",
            "config_file: there is no f.yaml",
        ),
        ("llamafactory-cli train --stage sft --frobnicate 3", "run.sh:1 frobnicate: neither"),
        ("llamafactory-cli train gone.yaml", "run.sh:1: there is no gone.yaml"),
        ("lmf train --stage sft\nlmf train --stage dpo", "starts LLaMA-Factory 2 times (lines 1, 2)"),
        (
            "llamafactory-cli export --export_dir x",
            "is an export config (`export_dir`), which trains nothing",
        ),
        ("torchrun $ARGS src/train.py --stage sft", "`ARGS` is not set"),
        ("lmf train --stage sft \\ # which\n  --lora_rank 8", "run.sh:2: `--lora_rank` starts a command"),
        ("lmf train --stage sft --dataset $1", "dataset: `$1` is known only when the script runs"),
    ],
)
def test_what_a_script_leaves_open_is_named(qtune: Qtune, root: Path, script: str, says: str) -> None:
    refused(qtune, root, script, says, name="run.sh")


@pytest.mark.parametrize(
    ("script", "processes"),
    [
        ("deepspeed --include localhost:0,2,3 src/train_bash.py", 3),
        ("accelerate launch --num_processes 8 --num_machines=1 src/train.py", 8),
        ("CUDA_VISIBLE_DEVICES=0,1 torchrun --standalone --nproc-per-node=2 src/train.py", 2),
        ("CUDA_VISIBLE_DEVICES=3 llamafactory-cli train", 1),
        ("torchrun --nproc_per_node gpu src/train.py", None),
        ("nohup llamafactory-cli train", None),
        ("CUDA_VISIBLE_DEVICES=$(seq -s, 0 3) accelerate launch src/train_bash.py", None),
        ("uv run accelerate launch --multi_gpu --num_processes 2 \\\n src/train_bash.py", 2),
    ],
)
def test_process_counts_become_the_launch_block(root: Path, script: str, processes: int | None) -> None:
    text = f"{script} --stage sft --model_name_or_path a/b --dataset identity > log 2>&1 &\n"
    result = preset(imported(root, text, "run.sh"))
    assert result.get("launch", {}).get("nproc_per_node") == processes


NODES = {"nnodes": 2, "master_addr": "10.0.0.1", "master_port": 29500}


@pytest.mark.parametrize(
    ("script", "launch"),
    [
        (
            "FORCE_TORCHRUN=1 NNODES=2 NODE_RANK=1 MASTER_ADDR=10.0.0.1 MASTER_PORT=29500 "
            "llamafactory-cli train",
            NODES,
        ),
        (
            "torchrun --nproc_per_node 4 --nnodes 2 --node_rank $RANK --master_addr 10.0.0.1 "
            "--master_port 29500 src/train.py",
            {**NODES, "nproc_per_node": 4},
        ),
        (
            "torchrun --nnodes 1:2 --rdzv-id job --rdzv-backend c10d --rdzv-endpoint 10.0.0.1:29500 "
            "--max-restarts 3 src/train.py",
            {**NODES, "min_nnodes": 1, "max_nnodes": 2, "rdzv_id": "job", "max_restarts": 3},
        ),
        (
            "accelerate launch --num_processes 8 --num_machines 2 --machine_rank 0 "
            "--main_process_ip 10.0.0.1 --main_process_port 29500 src/train.py",
            {**NODES, "nproc_per_node": 4},
        ),
        ("torchrun --nnodes 2 --master_addr $HEAD --master_port 29500 src/train.py", None),
        ("torchrun --nnodes 1 --node_rank 0 --master_addr 10.0.0.1 --master_port 1 src/train.py", {}),
    ],
)
def test_several_nodes_become_the_launch_block(
    root: Path, script: str, launch: dict[str, object] | None
) -> None:
    found = imported(root, f"{script} --stage sft --model_name_or_path a/b --dataset identity\n", "run.sh")
    result = preset(found).get("launch", {})
    if launch is None:  # what the script's own machine knows is asked for
        assert result == {"nnodes": 2, "master_port": 29500}
        assert "no launch.master_addr" in str(found.findings[0])
    else:
        assert result == launch


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("a 'b c' \"d e\" f\\ g", ["a", "b c", "d e", "f g"]),
        ("X='1 2'; a $X \"$X\"", ["a", "1", "2", "1 2"]),
        ("X=1 Y=2\na $X$Y ${X}y", ["a", "12", "1y"]),
        ("A=(x 'y z')\na ${A[@]} \"${A[*]}\"", ["a", "x", "y z", "x", "y z"]),
        ("A=(x)\nA+=(y)\na ${A[@]}", ["a", "x", "y"]),
        ('a ${X:-1} ${Y:-"2 3"} ${Z:-${X:-4}}', ["a", "1", "2", "3", "4"]),
        ("X=\na ${X:-d}", ["a", "d"]),
        ("a '' \"\" b", ["a", "", "", "b"]),
        ("a \\\n  b # c\n", ["a", "b"]),
        ('a "say \\"hi\\" for \\$5"', ["a", 'say "hi" for $5']),
        ('a $@ "$@" b#c >out 2>&1', ["a", "b#c"]),
        ("a --x='{\"k\": 1}'", ["a", '--x={"k": 1}']),
    ],
)
def test_words_are_those_of_a_shell(script: str, words: list[str]) -> None:
    (command,) = commands(script)
    assert [word.text for word in command.words] == words
    assert not any(word.hole for word in command.words)


# ── older releases ─────────────────────────────────────────────────────────────────────────────────────


def test_every_line_of_the_tables_has_its_case() -> None:
    assert set(RENAMED_CASES) == set(renamed())
    assert set(VALUE_CASES) == {(row.name, row.old) for row in renamed_values()}


@pytest.mark.parametrize(
    ("old", "new"), [*(case for cases in RENAMED_CASES.values() for case in cases), *VALUE_CASES.values()]
)
def test_an_older_config_comes_to_the_same_as_todays(
    qtune: Qtune, root: Path, old: str, new: str | None
) -> None:
    if new is None:
        refused(qtune, root, older(old), "original.yaml:")
        return
    result = imported(root, older(old))
    assert preset(result)["train"] == preset(imported(root, older(new)))["train"]
    key = old.splitlines()[-1].split(":")[0].strip()
    assert key in {note.key for note in result.notes} or key == "GPU"


@pytest.mark.parametrize("name", [name for name in renamed() if name not in arguments()])
def test_check_knows_the_older_names(qtune: Qtune, root: Path, name: str) -> None:
    write_tree(root, {"presets/old.yaml": f"train:\n  {name}: 1\n"})
    err = qtune("check", "old", directory=root).err
    assert f"presets/old.yaml:2 {name}: " in err and renamed()[name].last in err


def test_check_knows_the_older_values(qtune: Qtune, root: Path) -> None:
    write_tree(root, {"presets/old.yaml": "train: {quantization_method: bitsandbytes, flash_attn: true}\n"})
    err = qtune("check", "old", directory=root).err
    assert "`quantization_method: bnb`" in err and "`flash_attn: fa2`" in err


def test_names_lead_to_arguments_that_exist() -> None:
    assert set(aliases().values()) <= set(arguments())
    assert {row.successor for row in renamed().values() if row.successor} <= set(arguments())


# ── other toolkits ─────────────────────────────────────────────────────────────────────────────────────

QWEN: Mapping[str, Any] = {
    "model_name_or_path": "Qwen/Qwen2.5-1.5B-Instruct",
    "data_path": "data/chats.jsonl",
    "eval_data_path": "data/gone.jsonl",
    "output_dir": "output",
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 8,
    "learning_rate": 2e-5,
    "num_train_epochs": 2,
    "evaluation_strategy": "steps",
    "save_strategy": "steps",
    "eval_steps": 100,
    "save_steps": 100,
    "use_deepspeed": True,
    "deepspeed_stage": 2,
    "use_lora": True,
    "lora_r": 16,
}
CHAT = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


def test_the_flat_json_of_a_qwen_toolkit(root: Path) -> None:
    write_tree(root, {"data/chats.jsonl": [CHAT]})
    result = imported(root, json.dumps(QWEN), "train.json")
    content = preset(result)
    assert content["zero"] == {"stage": 2}
    assert content["train"] == {
        "model_name_or_path": "Qwen/Qwen2.5-1.5B-Instruct",
        "dataset": "chats",
        "eval_dataset": "gone",
        "finetuning_type": "lora",
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 8,
        "learning_rate": 2e-5,
        "num_train_epochs": 2,
        "eval_strategy": "steps",
        "eval_steps": 100,
        "save_steps": 100,
        "lora_rank": 16,
    }
    assert result.datasets["chats"]["formatting"] == "sharegpt"
    assert result.datasets["chats"]["tags"]["role_tag"] == "role"
    assert result.datasets["gone"] == {"file_name": "gone.jsonl"}
    assert [finding.key for finding in result.findings] == ["eval_data_path"]


def test_the_switches_of_a_qwen_toolkit_off(root: Path) -> None:
    config = {**QWEN, "use_lora": False, "use_deepspeed": False, "eval_strategy": "no"}
    del config["evaluation_strategy"]
    content = preset(imported(root, json.dumps(config), "train.json"))
    assert "zero" not in content and content["train"]["finetuning_type"] == "full"


NESTED = """\
model:
  model_name_or_path: Qwen/Qwen2.5-7B-Instruct
  use_peft: true
  lora_r: 16
  lora_alpha: 16
training:
  per_device_train_batch_size: 4
  gradient_accumulation_steps: 8
  num_train_epochs: 5
  learning_rate: 1e-4
  kl_beta: 0.12
  max_length: 512
"""


def test_nested_yaml_with_kl_beta(root: Path) -> None:
    train = preset(imported(root, NESTED))["train"]
    assert {key: train[key] for key in ("use_asft_loss", "asft_alpha", "ref_model", "cutoff_len")} == {
        "use_asft_loss": True,
        "asft_alpha": 0.12,
        "ref_model": "auto",
        "cutoff_len": 512,
    }
    assert "max_length" not in train and (train["lora_rank"], train["num_train_epochs"]) == (16, 5)
    full = preset(imported(root, NESTED.replace("use_peft: true", "use_peft: false")))["train"]
    assert "ref_model" not in full and full["finetuning_type"] == "full"
    assert preset(imported(root, f"{NESTED}  stage: dpo\n"))["train"]["pref_beta"] == 0.12


def test_kl_beta_where_nothing_can_hold_it_is_refused(qtune: Qtune, root: Path) -> None:
    refused(qtune, root, f"{NESTED}  stage: pt\n", "original.yaml:11 kl_beta: stage pt has no term")


def test_nested_yaml_with_data_and_its_deepspeed_json(root: Path) -> None:
    deepspeed = {
        "bf16": {"enabled": True},
        "zero_optimization": {"stage": 3, "offload_param": {"device": "cpu", "pin_memory": True}},
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": 2,
        "gradient_clipping": 0.3,
        "train_batch_size": 8,
        "steps_per_print": 10,
    }
    text = (
        "model: {base_model: Qwen/Qwen2.5-7B-Instruct, lora_r: 16, lora_alpha: 32, lora_dropout: 0.1}\n"
        "training: {num_epochs: 3, batch_size: 4, learning_rate: 2e-4, max_length: 512, deepspeed: ds.json}\n"
        "data: {train_file: data/style.jsonl, validation_split: 0.1}\n"
    )
    write_tree(root, {"ds.json": deepspeed, "data/style.jsonl": [{"instruction": "a", "output": "b"}]})
    result = imported(root, text)
    content = preset(result)
    assert content["zero"] == deepspeed["zero_optimization"]
    assert content["train"] == {
        "model_name_or_path": "Qwen/Qwen2.5-7B-Instruct",
        "lora_rank": 16,
        "lora_alpha": 32,
        "lora_dropout": 0.1,
        "dataset": "style",
        "cutoff_len": 512,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "learning_rate": 2e-4,
        "num_train_epochs": 3,
        "max_grad_norm": 0.3,
        "bf16": True,
        "fp16": False,
        "val_size": 0.1,
    }
    columns = {"prompt": "instruction", "response": "output"}
    assert result.datasets == {"style": {"file_name": "style.jsonl", "columns": columns}}
    assert result.findings == ()


@pytest.mark.parametrize(
    ("text", "argument", "value"),
    [
        ("base_model: a/b\nsequence_len: 512\nmicro_batch_size: 4\n", "cutoff_len", 512),
        ("base_model: a/b\nval_set_size: 0.05\nlora_target_modules: [q_proj]\n", "lora_target", ["q_proj"]),
        ("model: a/b\nlora_rank: 4\ntarget_modules: all-linear\ntrain_type: lora\n", "lora_rank", 4),
        ("model: a/b\nquant_bits: 4\nquant_method: bnb\nmax_length: 256\n", "quantization_bit", 4),
        ("model: a/b\nload_in_4bit: true\nepochs: 7\n", "num_train_epochs", 7),
    ],
)
def test_near_words_of_other_toolkits(root: Path, text: str, argument: str, value: Any) -> None:
    assert preset(imported(root, text))["train"][argument] == value


def test_keys_of_another_toolkit_that_mean_nothing_here_are_refused(qtune: Qtune, root: Path) -> None:
    err = refused(qtune, root, f"{NESTED}  style_weight: 3\nlogging: {{wandb: true}}\n", ":13 style_weight")
    assert "original.yaml:14 logging" in err


# ── bad input ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "original.yaml: is empty"),
        (b"\n  \n", "original.yaml: is empty"),
        (b"\x7fELF\x00\x00\x01", "is not a text file"),
        (b"stage: \xff\xfe\n", "original.yaml:1: is not UTF-8"),
        (b"a: 1\n" * 250_000, "is larger than"),
        (b"dear diary\n", "is not a training config"),
        (b"- a\n- b\n", "is not a training config"),
        (b"{}", "is not a training config"),
        (b"name: x\nversion: 1\nservices: {}\n", "is not a training config"),
        (b"stage: sft\n lora_rank: 1\n", "original.yaml:2: broken YAML"),
        (b'{"stage": "sft",, "x": 1}', "original.yaml:1: broken YAML"),
        (b"stage: sft\nstage: dpo\n", "original.yaml:2: `stage` is set twice"),
        (b"model_name_or_path: !!python/object/apply:os.system [id]\nstage: sft\n", "original.yaml:1"),
        (b"about: x\ntrain: {stage: sft}\n", "is a qtune preset already"),
        (f"{HEAD}stage: sfft\n".encode(), "original.yaml:3 stage: is 'sfft'; did you mean sft"),
        (f"{HEAD}stage: sft\nlora_rank: many\n".encode(), "original.yaml:4 lora_rank: is text"),
    ],
)
def test_bad_input_is_one_clear_message(qtune: Qtune, root: Path, content: bytes, says: str) -> None:
    assert refused(qtune, root, content, says).count("error: ") == 1


def test_a_file_that_is_not_there_or_is_a_directory(qtune: Qtune, root: Path) -> None:
    assert "gone.yaml: there is no such file" in qtune("import", "gone.yaml", directory=root).err
    result = qtune("import", "data", directory=root)
    assert result.code == 2 and "data: is not a file" in result.err


def test_a_name_outside_a_project_is_refused(qtune: Qtune, tmp_path: Path) -> None:
    write_tree(tmp_path, {"original.yaml": SFT})
    assert qtune("import", "original.yaml", directory=tmp_path).code == 0
    result = qtune("import", "original.yaml", "-n", "x", directory=tmp_path)
    assert result.code == 2 and "there is no qtune.yaml here" in result.err
    assert files_below(tmp_path) == {"original.yaml"}


# ── paths ──────────────────────────────────────────────────────────────────────────────────────────────


def test_paths_mean_the_same_places_from_the_project(root: Path) -> None:
    """A config that ran where it lies names its paths from there; a training starts in the project."""
    tree = {
        "old/base/config.json": {"model_type": "qwen2"},
        "old/saves/one/adapter_config.json": {},
        "old/saves/two/adapter_config.json": {},
        "old/pictures/1.png": "",
        "old/saves/full/checkpoint-5/trainer_state.json": {},
    }
    write_tree(root, tree)
    text = SFT.replace("Qwen/Qwen2.5-0.5B-Instruct", "base") + (
        "adapter_name_or_path: saves/one, saves/two\nmedia_dir: pictures\n"
        "resume_from_checkpoint: ./saves/full/checkpoint-5\ntokenized_path: tokens/sft\n"
    )
    found = imported(root, text, "old/original.yaml")
    train = preset(found)["train"]
    assert train["model_name_or_path"] == "old/base"
    assert train["adapter_name_or_path"] == "old/saves/one,old/saves/two"
    assert train["media_dir"] == "old/pictures"
    assert train["resume_from_checkpoint"] == "old/saves/full/checkpoint-5"
    assert train["tokenized_path"] == "tokens/sft"  # is made by a training
    assert [note.key for note in found.notes if "from the project's directory" in note.message] == [
        *("model_name_or_path", "adapter_name_or_path"),
        *("resume_from_checkpoint", "media_dir"),
    ]


def test_a_path_stays_where_the_project_has_it_too(root: Path) -> None:
    write_tree(root, {"saves/one/adapter_config.json": {}, "old/saves/one/adapter_config.json": {}})
    found = imported(root, f"{SFT}adapter_name_or_path: saves/one\n", "old/original.yaml")
    assert preset(found)["train"]["adapter_name_or_path"] == "saves/one"
    assert found.findings == ()


def test_media_lie_beside_the_registrations_of_the_original(root: Path) -> None:
    registry = {"ours": {"file_name": "ours.json"}}
    write_tree(root, {"old/mine/dataset_info.json": registry, "old/mine/ours.json": "[]", "mine/x": ""})
    text = SFT.replace("identity", "ours") + "dataset_dir: mine\n"
    assert preset(imported(root, text, "old/original.yaml"))["train"]["media_dir"] == "old/mine"


def test_a_path_from_home_is_written_in_full(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write_tree(tmp_path, {"home/saves/one/adapter_config.json": {}})
    train = preset(imported(root, f"{SFT}adapter_name_or_path: ~/saves/one\n"))["train"]
    assert train["adapter_name_or_path"] == f"{tmp_path}/home/saves/one"


def test_a_path_that_is_nowhere_is_said(root: Path) -> None:
    text = f"{SFT}adapter_name_or_path: us/one,../gone\nref_model: owner/model\nmedia_dir: gone\n"
    found = imported(root, text)
    assert [(item.key, item.severity) for item in found.findings] == [
        ("adapter_name_or_path", "warning"),
        ("media_dir", "warning"),
    ]
    assert "there is no ../gone" in found.findings[0].message
    [note] = [item for item in found.notes if item.key == "adapter_name_or_path"]
    assert "us/one is not here, so that it is taken for a hub's id" in note.message
