"""Every preset beyond the everyday ones trains, and the library's own words say that it did what it says."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file, save_file
from scratch import BIN, Project, RunDirectory
from trees import PRESET_NEEDS

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).resolve().parents[2]
TRAIN = Path(__file__).with_name("train_rendered.py")
ROWS = 24
VOCABULARY = 8192
FEW = ("-s", f"max_samples={ROWS}", "-s", "logging_steps=1", "--hardware", "cpu")
ONCE = ("-s", "num_train_epochs=1")
HELD_OUT = ("-s", "val_size=0.25")
STYLE = {
    # rank, rows a step, epochs, weight
    "style_quick": (4, 8, 1, 0.1),
    "style_standard": (8, 16, 3, 0.1),
    "style_large": (16, 32, 5, 0.12),
}
SINGLE = (*STYLE, "pretrain", "reward", "dpo", "kto", "dora", "freeze", "packed")


def given(preset: str) -> list[str]:
    """The options that train `preset` briefly on the demo data."""
    needs = [word for assignment in PRESET_NEEDS.get(preset, ()) for word in ("-s", assignment)]
    epochs = () if preset in STYLE else ONCE
    # plain text is cut into blocks of this many tokens, and 24 rows of it are few
    short = ("-s", "cutoff_len=128") if preset == "pretrain" else ()
    return [*FEW, *epochs, *short, *(HELD_OUT if "eval_dataset=null" in needs else ()), *needs]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which every preset of one process was trained."""
    root = tmp_path_factory.mktemp("presets") / "project"
    root.mkdir()
    shutil.copy(CHECKOUT / "qtune.yaml", root)
    shutil.copytree(CHECKOUT / "data", root / "data")
    project = Project(root)
    for preset in SINGLE:
        project.qtune("render", preset, *given(preset))
    done = project.command(sys.executable, str(TRAIN), *SINGLE)
    failed = [name for name, code in json.loads(done.stdout).items() if code]
    assert failed == [], project.run(failed[0]).log[-4000:]
    return project


def batch_of(run: RunDirectory) -> int:
    return int(
        found(r"Total train batch size \(w\. parallel, distributed & accumulation\) = ([\d,]+)", run.log)
    )


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match, pattern
    return match[1]


def logged(run: RunDirectory) -> set[str]:
    return {key for entry in run.state["log_history"] for key in entry}


@pytest.mark.parametrize("preset", SINGLE)
def test_it_learns_something_finite(trained: Project, preset: str) -> None:
    losses = trained.run(preset).losses
    assert losses and all(math.isfinite(loss) and loss != 0 for loss in losses)


@pytest.mark.parametrize("preset", STYLE)
def test_a_style_is_held_near_the_base_model(trained: Project, preset: str) -> None:
    run = trained.run(preset)
    rank, rows_a_step, epochs, weight = STYLE[preset]
    assert "Created reference model from data/tiny-qwen2" in run.log
    assert run.json("adapter_config.json")["r"] == rank
    assert not run.evaluations  # on which the library would crash
    assert batch_of(run) == rows_a_step
    assert found(r"Num Epochs = (\d+)", run.log) == str(epochs)
    rendered = yaml.safe_load(trained.rendered(preset, "train.yaml").read_text(encoding="utf-8"))
    assert (rendered["asft_alpha"], rendered["cutoff_len"]) == (weight, 512)


def test_pre_training_takes_plain_text(trained: Project) -> None:
    run = trained.run("pretrain")
    assert "label_ids" not in run.log  # which the library shows of a question and its answer
    assert run.json("all_results.json")["eval_perplexity"] > 1


def test_a_reward_model_gets_a_value_head(trained: Project) -> None:
    run = trained.run("reward")
    assert (run.path / "value_head.safetensors").is_file()
    assert 0 <= run.json("all_results.json")["eval_accuracy"] <= 1


@pytest.mark.parametrize("preset", ["dpo", "kto"])
def test_preferences_are_learnt_from_both_kinds_of_answers(trained: Project, preset: str) -> None:
    run = trained.run(preset)
    assert {"rewards/chosen", "rewards/rejected", "eval_loss"} <= logged(run)
    assert run.json("adapter_config.json")["r"] == 64


def test_dora_is_in_the_adapter(trained: Project) -> None:
    assert trained.run("dora").json("adapter_config.json")["use_dora"] is True
    assert trained.run("style_quick").json("adapter_config.json")["use_dora"] is False


def test_freezing_trains_the_layers_alone(trained: Project) -> None:
    run = trained.run("freeze")
    assert "Fine-tuning method: Freeze" in run.log and "Set trainable layers: " in run.log
    assert 0 < float(found(r"trainable%: ([\d.]+)", run.log)) < 100
    assert (run.path / "model.safetensors").is_file()


def test_packing_puts_several_rows_into_a_sequence(trained: Project) -> None:
    run = trained.run("packed")
    rendered = yaml.safe_load(trained.rendered("packed", "train.yaml").read_text(encoding="utf-8"))
    assert rendered["neat_packing"] is True
    assert int(found(r"Num examples = ([\d,]+)", run.log)) < ROWS


@pytest.mark.parametrize(
    ("preset", "rows_a_step"), [("sft_small", 16), ("sft_fast", 32), ("sft_standard", 240)]
)
def test_sft_runs_two_processes_of_full_tuning(project: Project, preset: str, rows_a_step: int) -> None:
    project.qtune("train", preset, *given(preset))
    run = project.run(preset)
    assert "world size: 2" in run.log and "Fine-tuning method: Full" in run.log
    assert batch_of(run) == rows_a_step
    assert run.record["status"] == "finished" and run.record["predicted_steps"] == run.state["global_step"]


def test_zero3_qlora_trains_a_sharded_4_bit_model(project: Project) -> None:
    result = project.qtune("train", "zero3_qlora", *given("zero3_qlora"))
    run = project.run("zero3_qlora")
    adapter = run.json("adapter_config.json")
    assert (adapter["r"], adapter["lora_alpha"], adapter["lora_dropout"]) == (16, 32, 0.1)
    assert "DeepSpeedZeRoOffload initialize [end]" in run.log
    assert "Quantizing model to 4 bit with bitsandbytes" in run.log
    assert batch_of(run) == 16 and "finished" in result.stderr
    # which would fail in bitsandbytes' kernel for the CPU
    assert run.losses and not run.evaluations


@pytest.mark.skipif(not Path("/usr/include/libaio.h").is_file(), reason="libaio's headers (libaio-dev)")
def test_zero3_nvme_keeps_parameters_on_the_disk(project: Project) -> None:
    # the buffers of the preset, for real models, are larger than some test machines' memory
    small = ("-s", "zero.offload_param.buffer_size=1000000")
    # what is below a megabyte stays in memory, and so do all of the tiny model's parameters
    large = ("-m", enlarge_vocabulary(project), "-s", "template=qwen")
    project.qtune("train", "zero3_nvme", *given("zero3_nvme"), *small, *large)
    run = project.run("zero3_nvme")
    assert run.record["status"] == "finished" and run.losses
    written = (project.root / "nvme" / "zero_stage_3" / "float32params").rglob("*.swp")
    assert VOCABULARY * 64 * 4 in {path.stat().st_size for path in written}

    project.qtune("train", "stage3", *given("stage3"), *large)
    assert run.losses == pytest.approx(project.run("stage3").losses, rel=1e-3)


def enlarge_vocabulary(project: Project) -> str:
    """The tiny model with embeddings of two megabytes; its path in the project."""
    directory = project.root / "data" / "larger-qwen2"
    shutil.copytree(project.root / "data" / "tiny-qwen2", directory)
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    weights = load_file(directory / "model.safetensors")
    embeddings = weights["model.embed_tokens.weight"]
    weights["model.embed_tokens.weight"] = embeddings.repeat(VOCABULARY // len(embeddings) + 1, 1)[
        :VOCABULARY
    ].clone()
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "config.json").write_text(json.dumps({**config, "vocab_size": VOCABULARY}), encoding="utf-8")
    return "data/larger-qwen2"


def test_fsdp_qlora_shards_over_two_processes_and_trains_the_same_by_hand(project: Project) -> None:
    project.qtune("render", "fsdp_qlora", *given("fsdp_qlora"), "-s", "launch.nproc_per_node=2")
    project.qtune("train")
    run = project.run("fsdp_qlora")
    assert "You are using fsdp2" in run.log and "world size: 2" in run.log
    assert "Quantizing model to 4 bit with bitsandbytes" in run.log
    assert batch_of(run) == 16 and run.losses
    assert run.record["status"] == "finished"

    project.command("bash", "rendered/fsdp_qlora/launch.sh", PATH=f"{BIN}:/usr/bin:/bin")
    assert project.run("fsdp_qlora-by-hand").losses == run.losses
