"""Every tensor of a model, and every trainable one, against transformers, LLaMA-Factory and PEFT."""

from __future__ import annotations

import json
import os
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

from qtune.errors import QtuneError
from qtune.predict.catalogue import find
from qtune.predict.composites import COMPOSITES
from qtune.predict.models import Model, from_config
from qtune.predict.trainable import trainable

HERE = Path(__file__).parent
DRAWS = 15  # of each model_type
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
)
METHODS: tuple[dict[str, Any], ...] = (
    {"finetuning_type": "lora"},
    {"finetuning_type": "lora", "use_dora": True, "additional_target": "embed_tokens,lm_head"},
    {"finetuning_type": "full"},
    {"finetuning_type": "freeze", "freeze_extra_modules": "norm"},
    {"finetuning_type": "oft"},
)
Case = tuple[dict[str, Any], tuple[dict[str, Any], ...]]


def _cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for hub_id in REAL:
        entry = find(hub_id)
        assert entry is not None
        cases[hub_id] = dict(entry.config), METHODS
    for model_type, draw in CONFIGS.items():
        for number in range(DRAWS):
            random = Random(f"{model_type} {number}")
            cases[f"{model_type} {number}"] = draw(random), tuple(draw_arguments(random) for _ in range(3))
    return cases


CASES = _cases()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """The library's answers by case, and its table of models that see."""
    answers = tmp_path_factory.mktemp("counts") / "answers.json"
    done = subprocess.run(
        [sys.executable, str(HERE / "model_counts.py"), str(answers)],
        env=environment(
            LLAMAFACTORY_VERBOSITY="ERROR", HF_HUB_OFFLINE="1", PYTHONPATH=os.pathsep.join(sys.path)
        ),
        input=json.dumps(list(CASES.values())),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-8000:]
    results, composites = json.loads(answers.read_text(encoding="utf-8"))
    return dict(zip(CASES, results, strict=True)), composites


def _shapes(tensors: Any) -> dict[str, list[int]]:
    return {tensor.name: list(tensor.shape) for tensor in tensors}


def _model(name: str) -> Model:
    return from_config(name, CASES[name][0], source="config.json")


def _ours(model: Model, arguments: Mapping[str, Any]) -> dict[str, list[int]] | str:
    try:
        return _shapes(trainable(model, arguments).tensors)
    except QtuneError as error:
        return str(error)


@pytest.mark.parametrize("name", CASES)
def test_every_tensor_has_the_librarys_name_and_shape(name: str, library: Any) -> None:
    model = _model(name)
    shapes, _ = library[0][name]
    assert _shapes(model.tensors) == shapes
    assert model.parameters == sum(tensor.size for tensor in model.tensors)


@pytest.mark.parametrize("name", CASES)
def test_the_library_trains_the_same_tensors(name: str, library: Any) -> None:
    model = _model(name)
    for arguments, theirs in zip(CASES[name][1], library[0][name][1], strict=True):
        ours = _ours(model, arguments)
        if isinstance(theirs, str):  # refused there: nothing to count, whatever is said here
            continue
        assert ours == theirs, arguments


def test_most_drawn_arguments_train_something(library: Any) -> None:
    """The draws are worth something: the library itself refuses few, and each method is among the rest."""
    trained = Counter(
        arguments["finetuning_type"]
        for name, (_, drawn) in CASES.items()
        for arguments, theirs in zip(drawn, library[0][name][1], strict=True)
        if isinstance(theirs, dict) and theirs
    )
    assert set(trained) == {"lora", "oft", "freeze", "full"} and trained.total() > 400, trained


def test_what_is_frozen_of_models_that_see_is_the_librarys_table(library: Any) -> None:
    ours = {
        name: [list(part) for part in (found.projector, found.vision, found.language, found.conflicts)]
        for name, found in COMPOSITES.items()
    }
    assert ours == library[1]
