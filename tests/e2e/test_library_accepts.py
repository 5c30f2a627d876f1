"""What qtune renders, for any hardware, LLaMA-Factory's and DeepSpeed's own parsers take as it was meant."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from scratch import Project

SCRIPT = Path(__file__).with_name("accept_configs.py")
PRESETS = ("full", "lora", "qlora", "deepspeed", "stage2_offload", "stage3", "minimal")
GPUS = {"cpu": 0, "1x24GB": 1, "8x80GB": 8}

# What the parser turns into something else on purpose.
TRANSFORMS = {
    "dataset": lambda value: value.split(","),
    "eval_dataset": lambda value: value.split(","),
    "lora_target": lambda value: value.split(","),
    "report_to": lambda value: [value],
    "include_num_input_tokens_seen": lambda value: "all" if value else "no",
}


def test_every_preset_on_every_hardware(project: Project) -> None:
    names = [(preset, hardware) for hardware in GPUS for preset in PRESETS]
    for preset, hardware in names:
        project.qtune("render", preset, "--hardware", hardware, "--name", f"{preset}-{hardware}")
    results = accept(project, *((f"{preset}-{hardware}", GPUS[hardware]) for preset, hardware in names))
    problems = {}
    for preset, hardware in names:
        name = f"{preset}-{hardware}"
        if found := list(differences(project, name, results[name])):
            problems[name] = found
    assert problems == {}


def test_deepspeed_reads_its_other_keys_as_they_were_meant(project: Project) -> None:
    """With what the arguments say where the block says auto."""
    engine = {
        "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "torch_adam": True}},
        "scheduler": {
            "type": "WarmupDecayLR",
            "params": {"total_num_steps": "auto", "warmup_num_steps": "auto"},
        },
        "fp16": {"loss_scale_window": 50},
        "bf16": {"check_grad_overflow": True},
        "aio": {"block_size": 4096, "queue_depth": 4},
        "activation_checkpointing": {"partition_activations": True},
        "flops_profiler": {"enabled": True, "profile_step": 3},
        "csv_monitor": {"enabled": True, "output_path": "csv", "job_name": "a"},
        "tensor_parallel": {"autotp_size": 1},
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",
    }
    text = yaml.safe_dump({"extends": "lora", "zero": {"stage": 2}, "deepspeed": engine})
    (project.root / "presets").mkdir(exist_ok=True)
    (project.root / "presets" / "engine.yaml").write_text(text, encoding="utf-8")
    arguments = ("-s", "warmup_steps=3", "-s", "learning_rate=2e-4")
    project.qtune("render", "engine", *arguments, "--hardware", "1x24GB", "--name", "engine")
    result = accept(project, ("engine", 1))["engine"]
    assert result["error"] is None
    engine["optimizer"] = {
        "type": "adamw",
        "params": {"lr": 2e-4, "betas": [0.9, 0.999], "torch_adam": True},
    }
    engine["scheduler"]["params"] = {"total_num_steps": 10, "warmup_num_steps": 3}
    engine["communication_data_type"] = "torch.float32"
    for key, wanted in engine.items():
        parsed = result["zero"]["engine"][key]
        kept = {name: parsed.get(name) for name in wanted} if isinstance(wanted, dict) else parsed
        assert kept == wanted, key


def test_parsers_refuse_what_is_wrong(project: Project) -> None:
    """Without this, a parser that takes anything would pass the test above."""
    for name in ("good", "unknown", "choice", "zero"):
        project.qtune("render", "stage3", "--hardware", "1x24GB", "--name", name)
    edit(project.rendered("unknown", "train.yaml"), "lora_rank:", "lora_rnak:")
    edit(project.rendered("choice", "train.yaml"), "finetuning_type: lora", "finetuning_type: lorra")
    edit(project.rendered("zero", "zero.json"), '"offload_param"', '"offload_parm"')
    results = accept(project, *((name, 1) for name in ("good", "unknown", "choice", "zero")))
    assert results["good"]["error"] is None
    assert "lora_rnak" in results["unknown"]["error"]
    assert "Invalid fine-tuning method" in results["choice"]["error"]
    assert "offload_parm" in results["zero"]["error"]


def accept(project: Project, *names: tuple[str, int]) -> dict[str, dict[str, Any]]:
    requests = [
        {
            "root": str(project.root),
            "directory": f"rendered/{name}",
            "gpus": gpus,
            "environment": exports(project.rendered(name, "launch.sh")),
        }
        for name, gpus in names
    ]
    asked, answered = project.root / "requests.json", project.root / "answers.json"
    asked.write_text(json.dumps(requests), encoding="utf-8")
    project.command(sys.executable, str(SCRIPT), str(asked), str(answered))
    answers = json.loads(answered.read_text(encoding="utf-8"))
    return dict(zip((name for name, _ in names), answers, strict=True))


def differences(project: Project, name: str, result: dict[str, Any]):
    """What was rendered and is not what the parsers hold."""
    if result["error"]:
        yield result["error"]
        return
    rendered = yaml.safe_load(project.rendered(name, "train.yaml").read_text(encoding="utf-8"))
    for key, value in rendered.items():
        wanted = TRANSFORMS.get(key, lambda same: same)(value)
        parsed = result["parsed"].get(key, "nothing of that name")
        if parsed != wanted or type(parsed) is not type(wanted):
            yield f"{key}: rendered {value!r}, parsed {parsed!r}"
    if "deepspeed" not in rendered:
        return
    zero = result["zero"]
    batch, accumulation = (
        rendered[key] for key in ("per_device_train_batch_size", "gradient_accumulation_steps")
    )
    for key, wanted in {
        **json.loads(project.rendered(name, "zero.json").read_text(encoding="utf-8"))["zero_optimization"],
        "micro_batch_size": batch,
        "accumulation": accumulation,
        "train_batch_size": batch * accumulation,
        "bfloat16": rendered.get("bf16", False),
        "fp16": rendered.get("fp16", False),
    }.items():
        parsed = zero.get(READ_AS.get(key, key), "nothing of that name")
        if wanted == "auto":
            wanted = parsed if type(parsed) is int and parsed > 0 else "a number"
        if isinstance(wanted, dict):
            parsed = {name: parsed.get(name) for name in wanted} if isinstance(parsed, dict) else parsed
        if parsed != wanted:
            yield f"zero.json {key}: rendered {wanted!r}, parsed {parsed!r}"


# DeepSpeed's model knows these JSON keys by shorter names.
READ_AS = {
    "stage3_prefetch_bucket_size": "prefetch_bucket_size",
    "stage3_param_persistence_threshold": "param_persistence_threshold",
    "stage3_gather_16bit_weights_on_model_save": "gather_16bit_weights_on_model_save",
}


def exports(script: Path) -> dict[str, str]:
    """The variables that launch.sh sets, which are those that `qtune train` sets."""
    lines = script.read_text(encoding="utf-8").splitlines()
    pairs = (line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
    return {name: value.strip("'") for name, value in pairs}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
