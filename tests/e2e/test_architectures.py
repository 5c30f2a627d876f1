"""What qtune counts of any language model, from config.json or from headers, against the library."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scratch import environment

from qtune import architectures
from qtune.predict.models.find import Model, load
from qtune.predict.models.headers import Stored
from qtune.predict.parameters.trainable import trainable
from qtune.schema import snapshot

HERE = Path(__file__).parent
TOOLS = HERE.parents[1] / "adapter" / "tools"
# evolla: its config is saved under another model_type; pi0: it writes no text
EVERY = tuple(sorted(snapshot("architectures").keys() - {"evolla", "pi0"}))
# What patterns of names do not tell: one layer of many that differs, blocks that are shared whole, experts of
# two sizes in one row, and two names of one weight of which a checkpoint has the other.
NOT_BY_HEADERS = {"gemma3n_text", "git", "zamba", "ernie4_5_vl_moe"}
NOT_BY_HEADERS |= {"camembert", "xlm-roberta", "modernbert-decoder", "xlm"}
DOZEN = (
    "olmo2",
    "smollm3",
    "cohere2",
    "nemotron",
    "gpt2",
    "olmoe",
    "phimoe",
    "ernie4_5_moe",
    "deepseek_v2",
    "llama4",
    "falcon_h1",
    "granitemoehybrid",
    "idefics3",
    "glm46v",
)


@pytest.fixture(scope="module", params=[DOZEN, pytest.param(EVERY, marks=pytest.mark.slow)], ids=len)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the library makes of each."""
    directory = tmp_path_factory.mktemp("built")
    asked, answers = directory / "asked.json", directory / "answers.json"
    asked.write_text(json.dumps(request.param), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(HERE / "build_architectures.py"), str(asked), str(answers)],
        env=environment(PYTHONPATH=f"{TOOLS}:{TOOLS.parent}", LLAMAFACTORY_VERBOSITY="ERROR"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-8000:]
    return json.loads(answers.read_text(encoding="utf-8"))


def test_config_json_alone_tells_all_that_a_training_needs(built: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    wrong = []
    for model_type, library in built.items():
        (tmp_path / "m" / "config.json").write_text(json.dumps(library["config"]), encoding="utf-8")
        answer = library["answer"]
        model = load("./m", tmp_path, build=lambda content, told=answer: architectures.read(told))
        wrong += (f"{model_type}: {words}" for words in differences(model, library))
    assert wrong == []


def test_headers_tell_the_same_by_the_table(built: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("qtune.predict.models.find.family_of", lambda content: None)
    (tmp_path / "m").mkdir()
    wrong = []
    for model_type, library in built.items():
        if model_type in NOT_BY_HEADERS:
            continue
        (tmp_path / "m" / "config.json").write_text(json.dumps(library["config"]), encoding="utf-8")
        stored = [Stored(name, tuple(shape), "BF16", range(0)) for name, shape in library["stored"].items()]
        monkeypatch.setattr("qtune.predict.models.find.read_directory", lambda directory, found=stored: found)
        wrong += (f"{model_type}: {words}" for words in differences(load("./m", tmp_path), library))
    assert wrong == []


def differences(model: Model, library: dict[str, Any]) -> Iterator[str]:
    """What is not the library's: total, LoRA on all linear layers, full tuning, what 4 bits pack."""
    if model.parameters != library["parameters"]:
        yield f"{model.parameters:,} parameters, not {library['parameters']:,}"
    for method, theirs in (("lora", library["lora"]), ("full", library["trainable"])):
        if isinstance(theirs, dict):
            ours = {
                tensor.name: list(tensor.shape)
                for tensor in trainable(model, {"finetuning_type": method}).tensors
            }
            differing = sorted(
                name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)
            )
            if differing:
                yield f"{method} differs in {len(differing)}: {differing[:3]}"
        elif method == "lora":
            adapted = snapshot("architectures")[model.model_type].get("adapted")
            if not adapted:
                yield f"PEFT refuses it: {theirs[:200]}"
    if model.quantizable_parameters != library["packed"]:
        yield f"{model.quantizable_parameters:,} elements in 4 bits, not {library['packed']:,}"


@pytest.mark.slow
def test_the_table_is_that_of_the_installed_library() -> None:
    """A dozen of its rows; that all of them tell what the library builds is the test of headers above."""
    script = [sys.executable, str(TOOLS / "architecture_snapshot.py"), "--check", *DOZEN]
    done = subprocess.run(
        script, env=environment(LLAMAFACTORY_VERBOSITY="ERROR"), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr[-8000:]
