"""Every tensor of a model, and every trainable one, against transformers, LLaMA-Factory and PEFT."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from models_drawn import CONFIGS, draw_arguments
from scratch import environment

from qtune.predict.models.catalogue import find
from qtune.predict.models.find import from_config
from qtune.predict.parameters.trainable import trainable
from qtune.schema import library

HERE = Path(__file__).parent
REAL = (
    "Qwen/Qwen2.5-0.5B",
    "Qwen/Qwen2.5-7B",
    "Qwen/Qwen3-0.6B",
    "Qwen/Qwen3-30B-A3B",
    "Qwen/Qwen1.5-MoE-A2.7B",
    "Qwen/Qwen2.5-VL-3B",
    "Qwen/Qwen2-VL-2B",
    "meta-llama/Llama-2-7b",
    "meta-llama/Llama-3.2-1B",
    "mistralai/Mistral-Nemo-Base-2407",
    "mistralai/Mixtral-8x7B-v0.1",
    "google/gemma-2b",
    "google/gemma-2-2b",
    "google/gemma-3-1b",
    "google/gemma-3-4b",
    "microsoft/Phi-3-mini-4k-instruct",
    "THUDM/glm-4-9b-chat-hf",
    "THUDM/GLM-4-9B-0414",
    "Qwen/Qwen3-Next-80B-A3B",
    "Qwen/Qwen3-VL-2B",
    "Qwen/Qwen3-VL-30B-A3B",
    "openai/gpt-oss-20b",
    "zai-org/GLM-4.5-Air",
    "deepseek-ai/DeepSeek-V3",
    "ByteDance-Seed/Seed-OSS-36B-Instruct",
    "baidu/ERNIE-4.5-0.3B-PT",
    "tencent/Hunyuan-4B-Instruct",
    "allenai/OLMoE-1B-7B-0924",
    "deepseek-ai/DeepSeek-V2-Lite",
    "microsoft/Phi-3.5-MoE-instruct",
    "baidu/ERNIE-4.5-21B-A3B-PT",
    "zai-org/GLM-4.7-Flash",
    "HuggingFaceTB/SmolLM3-3B",
    "LiquidAI/LFM2-1.2B",
    "llava-hf/llava-1.5-7b-hf",
    "OpenGVLab/InternVL3-2B-hf",
    "meta-llama/Llama-3.2-11B-Vision",
    "meta-llama/Llama-4-Scout-17B-16E",
    "mistralai/Mistral-Small-3.1-24B-Base-2503",
)
METHODS: list[dict[str, Any]] = [
    {"finetuning_type": "lora"},
    {"finetuning_type": "full"},
    {"finetuning_type": "freeze", "freeze_extra_modules": "norm"},
]
Case = tuple[dict[str, Any], list[dict[str, Any]]]


def _drawn(draws: range) -> dict[str, Case]:
    cases = {}
    for model_type, draw in CONFIGS.items():
        for number in draws:
            random = Random(f"{model_type} {number}")
            cases[f"{model_type} {number}"] = draw(random), [draw_arguments(random) for _ in range(3)]
    return cases


def _real() -> dict[str, Case]:
    entries = {hub_id: find(hub_id) for hub_id in REAL}
    return {hub_id: (dict(entry.config), METHODS) for hub_id, entry in entries.items() if entry}


def _library(cases: Mapping[str, Case], answers: Path) -> tuple[list[Any], dict[str, Any]]:
    """The library's answers, case by case, and its table of models that see."""
    done = subprocess.run(
        [sys.executable, str(HERE / "model_counts.py"), str(answers)],
        env=environment(LLAMAFACTORY_VERBOSITY="ERROR", HF_HUB_OFFLINE="1"),
        input=json.dumps(list(cases.values())),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-8000:]
    results, composites = json.loads(answers.read_text(encoding="utf-8"))
    return results, composites


def _shapes(tensors: Any) -> dict[str, list[int]]:
    return {tensor.name: list(tensor.shape) for tensor in tensors}


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param(_real(), id="real sizes"),
        pytest.param(_drawn(range(3)), id="drawn"),
        pytest.param(_drawn(range(3, 8)), id="many drawn", marks=pytest.mark.slow),
    ],
)
def test_names_and_shapes_and_what_is_trained_are_the_librarys(
    cases: dict[str, Case], tmp_path: Path
) -> None:
    results, composites = _library(cases, tmp_path / "answers.json")
    trained: Counter[str] = Counter()
    for (name, (config, methods)), (shapes, tuned) in zip(cases.items(), results, strict=True):
        model = from_config(name, config, source="config.json")
        assert _shapes(model.tensors) == shapes, name
        assert model.parameters == sum(tensor.size for tensor in model.tensors), name
        for arguments, theirs in zip(methods, tuned, strict=True):
            if isinstance(theirs, dict):  # else refused there, and there is nothing to count
                assert _shapes(trainable(model, arguments).tensors) == theirs, (name, arguments)
                trained[arguments["finetuning_type"]] += bool(theirs)
    assert set(trained) >= {"lora", "freeze", "full"}
    assert trained.total() > 0.6 * sum(len(methods) for _, methods in cases.values()), trained
    assert composites == {
        name: [list(part) for part in (found.projector, found.vision, found.language, found.conflicts)]
        for name, found in library.composites().items()
    }
