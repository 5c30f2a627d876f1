"""Every preset trains, and what the libraries wrote says that it was trained as the preset has it."""

from __future__ import annotations

import math
import pickle
import re
import types
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from scratch import EPOCHS, ROWS, SHORT, Project, RunDirectory


@dataclass(frozen=True)
class Expected:
    """A preset in numbers, written down apart from its file."""

    batch: int
    accumulation: int = 4
    lora_rank: int | None = 64
    bits: int | None = None
    zero_stage: int | None = None
    offload: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        # the last batch of an epoch may be short, and so may its last step
        return EPOCHS * math.ceil(math.ceil(ROWS / self.batch) / self.accumulation)


PRESETS = {
    "full": Expected(batch=2, lora_rank=None),
    "lora": Expected(batch=2),
    "qlora": Expected(batch=2, bits=4),
    "deepspeed": Expected(batch=4, zero_stage=2),
    "stage2_offload": Expected(batch=3, zero_stage=2, offload=("optimizer",)),
    "stage3": Expected(batch=2, zero_stage=3, offload=("optimizer", "param")),
    "zero3": Expected(batch=2, zero_stage=3),
    "zero3_full": Expected(batch=2, lora_rank=None, zero_stage=3),
    "minimal": Expected(batch=1, accumulation=8, lora_rank=8, zero_stage=3, offload=("optimizer", "param")),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_trains_as_it_says(project: Project, preset: str) -> None:
    expected = PRESETS[preset]
    result = project.qtune("train", preset, *SHORT)
    run = project.run(preset)

    assert result.stdout == f"{run.path}\n"
    assert (run.record["status"], run.record["exit_code"]) == ("finished", 0)
    assert f"finished: {expected.steps} steps" in result.stderr
    check_method(run, expected)
    check_zero(run, expected)
    check_steps(run, expected)
    check_evaluation(run)
    check_files(run)


def check_method(run: RunDirectory, expected: Expected) -> None:
    trainable, total = (
        int(number.replace(",", ""))
        for number in found(r"trainable params: ([\d,]+) \|\| all params: ([\d,]+)", run.log)
    )
    if expected.lora_rank is None:
        assert "Fine-tuning method: Full" in run.log
        assert trainable == total
        assert (run.path / "model.safetensors").is_file()
        assert not (run.path / "adapter_config.json").exists()
    else:
        adapter = run.json("adapter_config.json")
        assert "Fine-tuning method: LoRA" in run.log
        assert trainable < total
        assert (adapter["peft_type"], adapter["r"]) == ("LORA", expected.lora_rank)
        assert adapter["base_model_name_or_path"] == "data/tiny-qwen2"
        assert (run.path / "adapter_model.safetensors").is_file()
        assert not (run.path / "model.safetensors").exists()
    quantized = re.findall(r"Quantizing model to (\d+) bit with bitsandbytes", run.log)
    assert quantized == ([str(expected.bits)] if expected.bits else [])


def check_zero(run: RunDirectory, expected: Expected) -> None:
    # DeepSpeed tells its log nothing of stage 2 and of offload at its fixed level, WARNING, but writes both
    # into its checkpoints.
    states = sorted(run.path.glob("checkpoint-*/global_step*/*_optim_states.pt"))
    assert ("Detected DeepSpeed ZeRO-3: activating zero.init()" in run.log) == (expected.zero_stage == 3)
    assert ("DeepSpeedZeRoOffload initialize [end]" in run.log) == (expected.zero_stage == 3)
    assert ("Detected ZeRO Offload" in run.log) == bool(expected.offload)
    if expected.zero_stage is None:
        assert not states
        return
    state = load_deepspeed(states[-1])
    assert state["optimizer_state_dict"]["zero_stage"] == expected.zero_stage
    config = state["ds_config"]
    zero = config["zero_optimization"]
    assert zero["stage"] == expected.zero_stage
    for what in ("optimizer", "param"):
        assert (zero.get(f"offload_{what}", {}).get("device") == "cpu") == (what in expected.offload)
    assert config["train_micro_batch_size_per_gpu"] == expected.batch
    assert config["gradient_accumulation_steps"] == expected.accumulation


def check_steps(run: RunDirectory, expected: Expected) -> None:
    [logged] = found(r"Total optimization steps = ([\d,]+)", run.log)
    assert int(logged.replace(",", "")) == expected.steps
    assert run.state["global_step"] == expected.steps
    assert run.record["predicted_steps"] == expected.steps
    assert run.record["global_step"] == expected.steps


def check_evaluation(run: RunDirectory) -> None:
    evaluated = {entry["step"] for entry in run.state["log_history"] if "eval_loss" in entry}
    saved = {int(step) for step in re.findall(r"Saving model checkpoint to \S+/checkpoint-(\d+)", run.log)}
    assert evaluated == saved
    assert len(saved) >= 4
    best = run.state["best_model_checkpoint"]
    assert best.startswith(f"runs/{run.path.name}/checkpoint-")
    assert (run.path / best.rpartition("/")[2]).is_dir()


def check_files(run: RunDirectory) -> None:
    assert run.losses and all(math.isfinite(loss) and loss > 0 for loss in run.losses)
    assert all(line["throughput"] > 0 for line in run.progress if "loss" in line)
    assert run.json("all_results.json")["train_loss"] == run.record["metrics"]["train_loss"]
    for pattern in ("training_loss.png", "training_eval_loss.png", "runs/*/events.out.tfevents.*"):
        assert list(run.path.glob(pattern)), pattern


def found(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    assert match, pattern
    return match.groups()


class _Opaque:
    """Stands for DeepSpeed's own classes, whose module takes seconds to import."""

    def __init__(self, *arguments: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if not module.startswith("deepspeed."):
            return super().find_class(module, name)
        return int if name == "ZeroStageEnum" else _Opaque


def load_deepspeed(path: Any) -> dict[str, Any]:
    reader = types.SimpleNamespace(__name__="reader", Unpickler=_Unpickler, load=pickle.load)
    return torch.load(path, pickle_module=reader, weights_only=False)
