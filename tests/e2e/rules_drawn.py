"""Draw configs from the schema and the rules' cases; what qtune passes, LLaMA-Factory's parser must accept.

Run as `python rules_drawn.py DIRECTORY ANSWERS COUNT SEED [--refused]`. ANSWERS gets how many were drawn,
passed and accepted, and each config that only qtune accepted. With --refused the configs that qtune refuses
are parsed too, and those that the library accepts are counted by what qtune said.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import rules_library
from rule_cases import CASES, hardware_of, rules_project, settings_layer
from trees import TINY_MODEL

from qtune.machine.hardware import Hardware
from qtune.machine.stack import installed_stack
from qtune.prepare import pipeline
from qtune.schema import Argument, arguments, zero_keys

PRESETS = ("full", "lora", "qlora", "deepspeed", "stage2_offload", "stage3", "minimal")
HARDWARE = ("cpu", "cpu", "1x24GB", "1x24GB", "2x24GB", "8x80GB", Hardware(1, 16.0, False, 8))
NUMBERS: dict[str, tuple[Any, ...]] = {
    "int": (-1, 0, 1, 2, 3, 4, 8, 16, 50, 100),
    "float": (-0.1, 0.0, 1e-6, 0.05, 0.1, 0.3, 0.5, 1.0, 1, 1.5, 2.5, 10.0, 20),
}
WORDS = ("", "x", "one", "one,two", "auto", "{}", '{"a": 1}', "{broken")
# What must be there, or be one of a few, for anything else to be looked at.
OF_THE_PROJECT = {
    "model_name_or_path": (str(TINY_MODEL), "gptq", "fp8", "Qwen/Qwen2.5-0.5B-Instruct"),
    "dataset": ("rows", "texts", "pairs", "chats", "judged", "rows,texts", ["rows", "texts"]),
    "eval_dataset": ("rows", "pairs", "rows,texts"),
    "template": ("qwen", "glm4", "auto"),
    "report_to": ("none", "all", "tensorboard", "wandb", "mlflow", ["tensorboard"]),
    "interleave_probs": ("0.5,0.5", "0.5", [0.3, 0.7], ["a", "b"]),
    "fsdp": ("", "full_shard", "full_shard offload", "offload", True, False, "other"),
    "debug": ("", "underflow_overflow", "other", ["underflow_overflow"]),
}
# Not a combination's matter: qtune writes them, or refuses them as secrets.
NOT_DRAWN = ("output_dir", "dataset_dir", "deepspeed")
# This machine has no NCCL, which a config for GPUs may name.
ABSENT_HERE = "Your assigned backend nccl is not available"


def draw(dice: random.Random) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for case in dice.sample(CASES, dice.choice((0, 1, 1, 2, 3))):
        settings |= dice.choice((case.fires, case.near, case.also_near))
    known = [key for key in arguments() if key not in NOT_DRAWN and not key.endswith(("_token", "_key"))]
    for key in dice.sample(known, dice.choice((0, 1, 2, 3, 5, 8))):
        settings[key] = _value(dice, arguments()[key])
    if dice.random() < 0.4:
        settings["zero.stage"] = dice.choice((0, 1, 2, 3))
        for key in dice.sample([key for key, known in zero_keys().items() if not known.keys], 2):
            settings[f"zero.{key}"] = _value(dice, zero_keys()[key])
    if dice.random() < 0.2:
        settings["launch.nproc_per_node"] = dice.choice((1, 2, 4))
    return settings


def _value(dice: random.Random, argument: Argument) -> Any:
    if argument.name in OF_THE_PROJECT:
        return dice.choice(OF_THE_PROJECT[argument.name])
    if argument.choices and dice.random() < 0.8:
        return dice.choice(argument.choices)
    kind = dice.choice(argument.types) if argument.types else "str"
    if kind == "bool":
        return dice.random() < 0.5
    if kind in NUMBERS:
        return dice.choice(NUMBERS[kind])
    if kind == "list":
        return [dice.choice(WORDS)]
    return (
        {dice.choice(("a", "min_num_params", "split_batches")): 1} if kind == "dict" else dice.choice(WORDS)
    )


def main() -> None:
    arguments_ = argparse.ArgumentParser()
    for name, kind in (("directory", Path), ("answers", Path), ("count", int), ("seed", int)):
        arguments_.add_argument(name, type=kind)
    arguments_.add_argument("--refused", action="store_true")
    options = arguments_.parse_args()
    dice, project, stack = random.Random(options.seed), rules_project(options.directory), installed_stack()
    drawn = []
    for _ in range(options.count):
        preset, hardware = dice.choice(PRESETS), hardware_of(dice.choice(HARDWARE))
        settings = draw(dice)
        layers = [settings_layer(settings)]
        prepared = pipeline.examine(preset, project, hardware, layers, stack=stack)
        drawn.append((preset, settings, prepared))
    passed = [item for item in drawn if not item[2].errors]
    start = time.perf_counter()
    gaps = []
    for preset, settings, prepared in sorted(passed, key=lambda item: rules_library.distributed(item[2])):
        error = rules_library.refusal(prepared)
        if error is not None and ABSENT_HERE not in str(error):
            words = f"{type(error).__name__}: {error}"
            gaps.append(
                {"preset": preset, "hardware": str(prepared.hardware), "settings": settings, "error": words}
            )
    result: dict[str, Any] = {
        "drawn": len(drawn),
        "passed": len(passed),
        "gaps": gaps,
        "seconds": time.perf_counter() - start,
        "said": Counter(
            finding.rule or "schema" for item in drawn for finding in item[2].errors
        ).most_common(),
    }
    if options.refused:
        result["accepted_by_the_library"] = _refused_by_qtune_alone(drawn)
    options.answers.write_text(json.dumps(result, default=str), encoding="utf-8")


def _refused_by_qtune_alone(
    drawn: list[tuple[str, dict[str, Any], pipeline.Prepared]],
) -> list[tuple[str, int]]:
    """What qtune said, alone, about configs that the library's parser accepts."""
    counts: Counter[str] = Counter()
    refused = [prepared for _, _, prepared in drawn if prepared.errors]
    for prepared in sorted(refused, key=rules_library.distributed):
        said = {finding.rule or f"schema: {finding.key}" for finding in prepared.errors}
        if len(said) == 1 and rules_library.refusal(prepared) is None:
            counts[said.pop()] += 1
    return counts.most_common()


if __name__ == "__main__":
    main()
