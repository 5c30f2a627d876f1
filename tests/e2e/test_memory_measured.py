"""Host memory as predicted beside what real trainings on the CPU take at their peak.

Models of Qwen2's architecture with random weights; what Python and the libraries take is subtracted, as the
process has it after its imports. Every row is longer than cutoff_len, which is what the estimate assumes.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from scratch import Project

CHECKOUT = Path(__file__).resolve().parents[2]
MEASURE = Path(__file__).with_name("measure_memory.py")
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
    "medium": {**SHAPES, "dtype": "float32"},  # 112 million parameters
    "halves": {
        **SHAPES,
        "dtype": "bfloat16",
        "num_hidden_layers": 20,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
    },
}
# preset, model, what is set beside: each a training that another part of memory dominates
CASES = [
    ("full", "medium", {"cutoff_len": 128, "per_device_train_batch_size": 1}),
    ("full", "medium", {"cutoff_len": 512, "per_device_train_batch_size": 4}),
    ("full", "halves", {"cutoff_len": 128, "per_device_train_batch_size": 1}),
    ("lora", "medium", {"cutoff_len": 512, "per_device_train_batch_size": 4}),
    (
        "lora",
        "medium",
        {"cutoff_len": 512, "per_device_train_batch_size": 2, "disable_gradient_checkpointing": True},
    ),
    ("lora", "halves", {"cutoff_len": 512, "per_device_train_batch_size": 2}),
    ("qlora", "halves", {"cutoff_len": 512, "per_device_train_batch_size": 2}),
    (
        "stage2_offload",
        "medium",
        {"cutoff_len": 256, "per_device_train_batch_size": 2, "finetuning_type": "full"},
    ),
    ("stage3", "medium", {"cutoff_len": 256, "per_device_train_batch_size": 2, "finetuning_type": "full"}),
    ("stage3", "halves", {"cutoff_len": 256, "per_device_train_batch_size": 2}),
]


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
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "model", "changes"),
    CASES,
    ids=lambda case: case if isinstance(case, str) else "-".join(str(value) for value in case.values()),
)
def test_predicted_host_memory_is_near_the_measured_peak(
    preset: str, model: str, changes: dict[str, Any], models: Path
) -> None:
    project = Project(models)
    settings = {
        **changes,
        "max_steps": 3,
        "gradient_accumulation_steps": 2,
        "eval_dataset": None,
        "save_strategy": "no",
        "preprocessing_num_workers": 1,
        "dataloader_num_workers": 0,
        "report_to": "none",
        "plot_loss": False,
    }
    options = ["-m", f"data/{model}", "-d", "long", "--hardware", "cpu"]
    for key, value in settings.items():
        options += ["-s", f"{key}={json.dumps(value)}"]
    name = f"{preset}-{model}-" + "-".join(str(value) for value in changes.values())
    project.qtune("render", preset, "-n", name, *options)
    predicted = json.loads(project.qtune("estimate", preset, *options, "--json").stdout)
    done = project.command(
        sys.executable, str(MEASURE), f"rendered/{name}/train.yaml", f"runs/{name}", CUDA_VISIBLE_DEVICES=""
    )
    measured = json.loads(done.stdout.splitlines()[-1])
    shutil.rmtree(models / "runs" / name)
    own = next(part["bytes"] for part in predicted["parts"] if part["name"] == INTERPRETER)
    taken, expected = measured["peak"] - measured["own"], predicted["host"]["expected"] - own
    print(
        f"\n{name}: own {measured['own'] >> 20} MiB, taken {taken >> 20}, predicted {expected >> 20}, ratio {expected / taken:.3f}, at the peak {predicted['peak']}"
    )
    for part in predicted["parts"]:
        print(f"    {part['name']}: {part['bytes'] >> 20}")
    assert expected == pytest.approx(taken, rel=0.15)
