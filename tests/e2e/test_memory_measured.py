"""Host memory as predicted beside what real trainings on the CPU take at their peak.

Models of Qwen2's architecture with random weights; what Python and the libraries take is subtracted, as the
process has it after training a model of next to nothing. Every row is longer than cutoff_len, which is what
the estimate assumes.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from scratch import Project

TRAIN = "train.yaml"
CHECKOUT = Path(__file__).resolve().parents[2]
MEASURE = CHECKOUT / "bench" / "measured_training.py"
INTERPRETER = "Python and its libraries"
SHAPES: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 2560,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
    "tie_word_embeddings": True,
    "max_position_embeddings": 4096,
    "pad_token_id": 1277,
    "eos_token_id": 1279,
}
MODELS = {
    "floats": {**SHAPES, "dtype": "float32"},  # 114 million parameters
    "halves": {**SHAPES, "dtype": "bfloat16", "hidden_size": 1024, "num_attention_heads": 16},  # 163 million
}
COMMON = {
    "max_steps": 2,
    "gradient_accumulation_steps": 1,
    "eval_dataset": None,
    "save_strategy": "no",
    "preprocessing_num_workers": 1,
    "dataloader_num_workers": 0,
    "report_to": "none",
    "plot_loss": False,
}
SHORT = {"cutoff_len": 64, "per_device_train_batch_size": 1}
LONG = {"cutoff_len": 256, "per_device_train_batch_size": 4}
FULL = {"finetuning_type": "full"}
# preset, model, what is set beside: in each another part of memory is the largest
CASES = {
    "full": ("full", "floats", SHORT),
    "full from 16 bits": ("full", "halves", SHORT),
    "full, accumulating": ("full", "floats", {**SHORT, "gradient_accumulation_steps": 2}),
    "full, long rows": ("full", "floats", LONG),
    "lora": ("lora", "floats", LONG),
    "lora without gradient checkpointing": (
        "lora",
        "floats",
        {**LONG, "disable_gradient_checkpointing": True},
    ),
    "lora on 16 bits": ("lora", "halves", {"cutoff_len": 256, "per_device_train_batch_size": 2}),
    "qlora": ("qlora", "halves", {"cutoff_len": 256, "per_device_train_batch_size": 2}),
    "zero 2, offloaded": ("stage2_offload", "floats", {**SHORT, **FULL}),
    "zero 3, offloaded": ("stage3", "floats", {**SHORT, **FULL}),
    "zero 3, adapter": ("stage3", "halves", {"cutoff_len": 256, "per_device_train_batch_size": 2}),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the models."""
    root = tmp_path_factory.mktemp("measured")
    shutil.copy(CHECKOUT / "qtune.yaml", root)
    shutil.copytree(CHECKOUT / "data", root / "data")
    row = {"instruction": "say it", "input": "", "output": "a b c d e f g h " * 500}
    (root / "data" / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for _ in range(64)))
    with (root / "data" / "datasets.yaml").open("a") as registrations:
        registrations.write("\nlong: {file_name: long.jsonl}\n")
    project = Project(root)
    for name, shapes in MODELS.items():
        config, directory = root / f"{name}.json", root / "data" / name
        config.write_text(json.dumps(shapes))
        project.command(sys.executable, str(MEASURE), "--make", str(config), str(directory))
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(CHECKOUT / "data" / "tiny-qwen2" / file, directory)
    options = _settings({**COMMON, **SHORT})
    project.qtune("render", "full", "-n", "warm-up", "-m", "data/tiny-qwen2", "-d", "long", *options)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_predicted_host_memory_is_near_the_measured_peak(case: str, models: Path) -> None:
    preset, model, changes = CASES[case]
    project, name = Project(models), case.replace(",", "").replace(" ", "-")
    options = ["-m", f"data/{model}", "-d", "long"]
    project.qtune("render", preset, "-n", name, *options, *_settings({**COMMON, **changes}))
    estimate = project.qtune("estimate", preset, *options, *_settings({**COMMON, **changes}), "--json")
    predicted = json.loads(estimate.stdout)
    warm_up = f"rendered/warm-up/{TRAIN}"
    arguments = (f"rendered/{name}/{TRAIN}", f"runs/{name}", warm_up)
    own = next(part["bytes"] for part in predicted["parts"] if part["name"] == INTERPRETER)
    expected = predicted["host"]["expected"] - own
    for _ in range(2):  # what was freed may be given back late: then the peak is measured again
        done = project.command(sys.executable, str(MEASURE), *arguments, CUDA_VISIBLE_DEVICES="")
        measured = json.loads(done.stdout.splitlines()[-1])
        shutil.rmtree(models / "runs")
        taken = measured["peak"] - measured["own"]
        if expected == pytest.approx(taken, rel=0.15):
            break
    said = [
        f"{part['name']} {part['bytes'] >> 20}" for part in predicted["parts"] if part["name"] != INTERPRETER
    ]
    print(f"\n{case}: own {measured['own'] >> 20} MiB, taken {taken >> 20}, predicted {expected >> 20}")
    print(f"  ratio {expected / taken:.3f}, {predicted['peak']}: {', '.join(said)}")
    assert expected == pytest.approx(taken, rel=0.15)


def _settings(values: dict[str, Any]) -> list[str]:
    return [
        "--hardware",
        "cpu",
        *(word for key, value in values.items() for word in ("-s", f"{key}={json.dumps(value)}")),
    ]
