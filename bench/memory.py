"""Predicted and measured peaks of memory: every preset for one GPU, at the real shapes of Qwen2.5.

On a GPU what torch allocated at most; without one, resident memory of the process beside the libraries'.
Nothing is downloaded: models are made with random weights, rows are longer than any cutoff_len. Prints a line
for each training, and the share within 10%; exits with 1 where one is predicted more than 5% under.

    python bench/memory.py                              # all that this machine has memory for
    python bench/memory.py --models 0.5B --presets lora full --set cutoff_len=128
    python bench/memory.py --write                      # and save bench/memory.json, with the versions
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from qtune.machine.hardware import Hardware, detect_hardware
from qtune.predict.models.find import load
from qtune.units import size_text

CHECKOUT = Path(__file__).resolve().parents[1]
MEASURE = Path(__file__).with_name("measured_training.py")
TABLE = Path(__file__).with_suffix(".json")
MODELS = ("0.5B", "1.5B", "7B")
# several GPUs, or a disk of their own
LEFT_OUT = {"fsdp_qlora", "zero3_nvme", "sft_small", "sft_fast", "sft_standard"}
PACKAGES = ("llamafactory", "torch", "transformers", "peft", "deepspeed", "bitsandbytes", "accelerate")
LONG = "a b c d e f g h " * 2000
ROWS: dict[str, dict[str, Any]] = {
    "long": {"instruction": "say it", "input": "", "output": LONG},
    "pairs": {"instruction": "say it", "input": "", "chosen": LONG, "rejected": LONG[::-1]},
    "judged": {"instruction": "say it", "input": "", "output": LONG, "label": True},
    "plain": {"text": LONG},
}
REGISTRATIONS = """\
long: {file_name: long.jsonl}
pairs:
  file_name: pairs.jsonl
  ranking: true
  columns: {prompt: instruction, query: input, chosen: chosen, rejected: rejected}
judged:
  file_name: judged.jsonl
  columns: {prompt: instruction, query: input, response: output, kto_tag: label}
plain: {file_name: plain.jsonl, columns: {prompt: text}}
"""
DATA = {"dpo": "pairs", "reward": "pairs", "kto": "judged", "pretrain": "plain"}
COMMON = {
    "max_steps": 2,
    "gradient_accumulation_steps": 2,
    "save_strategy": "no",
    "eval_strategy": "no",
    "preprocessing_num_workers": 1,
    "dataloader_num_workers": 0,
    "report_to": "none",
    "plot_loss": False,
}
# feasible, and such that something besides the weights is seen
ON_CPU = {"cutoff_len": 128, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}


def main() -> int:
    arguments = parse()
    machine = detect_hardware()
    with tempfile.TemporaryDirectory(prefix="qtune-memory-") as directory:
        root = Path(directory)
        make_project(root)
        rows = []
        for model in arguments.models:
            make_model(root, model)
            for preset in arguments.presets or presets(root):
                row = measure(root, model, preset, machine, arguments.set)
                rows.append(row)
                print(said(row), flush=True)
            shutil.rmtree(root / "data" / model)
    return report(rows, machine, arguments.write)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--presets", nargs="+", help="these alone")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as qtune's own")
    parser.add_argument("--write", action="store_true", help=f"save {TABLE.name}")
    return parser.parse_args()


def make_project(root: Path) -> None:
    (root / "data").mkdir()
    (root / "qtune.yaml").write_text("train: {eval_dataset: null}\n")
    (root / "data" / "datasets.yaml").write_text(REGISTRATIONS)
    for name, row in ROWS.items():
        judged = "label" in row
        lines = [json.dumps({**row, "label": bool(number % 2)} if judged else row) for number in range(64)]
        (root / "data" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    shutil.copytree(CHECKOUT / "data" / "tiny-qwen2", root / "data" / "tiny-qwen2")
    render(root, "full", "data/tiny-qwen2", "warm-up", assigned({**COMMON, **ON_CPU}))


def make_model(root: Path, size: str) -> None:
    """A checkpoint of that size's shapes, random, in bfloat16 as the real ones are."""
    model = load(f"Qwen/Qwen2.5-{size}", root)
    keys = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    more = ("num_key_value_heads", "vocab_size", "tie_word_embeddings", "max_position_embeddings")
    shapes = {key: getattr(model, key) for key in (*keys, *more)}
    config = root / f"{size}.json"
    config.write_text(json.dumps({**shapes, "dtype": "bfloat16", "pad_token_id": 1277, "eos_token_id": 1279}))
    run(root, [sys.executable, str(MEASURE), "--make", str(config), f"data/{size}"])
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(CHECKOUT / "data" / "tiny-qwen2" / file, root / "data" / size)


def presets(root: Path) -> list[str]:
    listed = json.loads(run(root, [sys.executable, "-m", "qtune", "presets", "--json"]))
    return [preset["name"] for preset in listed if preset["name"] not in LEFT_OUT]


def measure(root: Path, size: str, preset: str, machine: Hardware, assignments: list[str]) -> dict[str, Any]:
    """One training: what was predicted for it and what it took, or why it failed."""
    settings = {**COMMON, **(ON_CPU if machine.is_cpu else {})}
    given = [*assigned(settings), *assignments]
    name = f"{preset}-{size}"
    row: dict[str, Any] = {"model": f"Qwen2.5-{size}", "preset": preset, "set": assignments}
    try:
        estimated = render(root, preset, f"data/{size}", name, given)
        predicted = json.loads(estimated)
        command = [sys.executable, str(MEASURE), f"rendered/{name}/train.yaml", f"runs/{name}"]
        measured = json.loads(run(root, [*command, "rendered/warm-up/train.yaml"]).splitlines()[-1])
    except subprocess.CalledProcessError as error:
        return {**row, "failed": (error.stderr or "").strip().splitlines()[-1:]}
    finally:
        shutil.rmtree(root / "runs", ignore_errors=True)
    if machine.is_cpu:
        own = [part["bytes"] for part in predicted["parts"] if part["name"] == "Python and its libraries"]
        taken = measured["peak"] - measured["own"]
        return {**row, "predicted": predicted["host"]["expected"] - sum(own), "measured": taken}
    outside = ("CUDA context", "NCCL buffers", "allocator's slack")
    parts = [part for part in predicted["parts"] if part["where"] == "gpu" and part["name"] not in outside]
    return {**row, "predicted": sum(part["bytes"] for part in parts), "measured": measured["allocated"]}


def render(root: Path, preset: str, model: str, name: str, assignments: list[str]) -> str:
    """Render a training, and return its estimate as JSON."""
    options = ["-m", model, "-d", DATA.get(preset, "long")]
    options += [word for assignment in assignments for word in ("-s", assignment)]
    run(root, [sys.executable, "-m", "qtune", "render", preset, "-n", name, *options])
    return run(root, [sys.executable, "-m", "qtune", "estimate", preset, *options, "--json"])


def assigned(values: dict[str, Any]) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def run(root: Path, command: list[str]) -> str:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True, text=True)
    return done.stdout


def said(row: dict[str, Any]) -> str:
    name = f"{row['model']:14} {row['preset']:16}"
    if "failed" in row:
        return f"{name} failed: {' '.join(row['failed'])}"
    predicted, measured = row["predicted"], row["measured"]
    ratio = f"ratio {predicted / measured:.3f}"
    return f"{name} predicted {size_text(predicted):>8}  measured {size_text(measured):>8}  {ratio}"


def report(rows: list[dict[str, Any]], machine: Hardware, write: bool) -> int:
    ratios = [row["predicted"] / row["measured"] for row in rows if "measured" in row]
    near = sum(0.9 <= ratio <= 1.1 for ratio in ratios)
    print(f"within 10%: {near} of {len(ratios)} (goal: nine of ten); failed: {len(rows) - len(ratios)}")
    if write:
        made = {
            "hardware": str(machine),
            "device": device(),
            "versions": {name: version(name) for name in PACKAGES},
        }
        TABLE.write_text(json.dumps({**made, "rows": rows}, indent=1) + "\n")
        print(f"wrote {TABLE.relative_to(CHECKOUT)}")
    return int(any(ratio < 0.95 for ratio in ratios))


def device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    sys.exit(main())
