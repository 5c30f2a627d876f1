"""A larger `kl_beta` really ends nearer to the base model, with LoRA and with QLoRA.

Without `ref_model` the library crashes at the first step with LoRA (`TypeError: 'NoneType' object is not
callable`; llamafactory/train/trainer_utils.py, create_ref_model), which is why qtune renders one.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from scratch import Project

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).parent
WEIGHTS = (0.01, 0.1, 1)
# long enough, and at a rate, that the free ones go far
LONG = ("-s", "num_train_epochs=8", "-s", "max_samples=64", "-s", "learning_rate=1e-3", "--hardware", "cpu")


@pytest.fixture(scope="module")
def distances(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, float]]:
    """KL divergence from the base model on held-out rows, by run: one for each method and weight."""
    root = tmp_path_factory.mktemp("kl") / "project"
    root.mkdir()
    shutil.copy(CHECKOUT / "qtune.yaml", root)
    shutil.copytree(CHECKOUT / "data", root / "data")
    project = Project(root)
    runs = {f"{preset}-{weight}": (preset, weight) for preset in ("lora", "qlora") for weight in WEIGHTS}
    for name, (preset, weight) in runs.items():
        project.qtune("render", preset, "-n", name, "-s", f"kl_beta={weight}", *LONG)
    done = project.command(sys.executable, str(SCRIPTS / "train_rendered.py"), *runs)
    assert set(json.loads(done.stdout).values()) == {0}, done.stdout
    script = str(SCRIPTS / "kl_from_base.py")
    paths = [f"runs/{name}" for name in runs]
    measured = project.command(sys.executable, script, "data/tiny-qwen2", "data/demo_eval.jsonl", *paths)
    found = dict(zip(runs, json.loads(measured.stdout), strict=True))
    print(found)
    return project, found


@pytest.mark.parametrize("preset", ["lora", "qlora"])
def test_a_larger_weight_ends_nearer_to_the_base_model(
    distances: tuple[Project, dict[str, float]], preset: str
) -> None:
    _, found = distances
    loose, held, tight = (found[f"{preset}-{weight}"] for weight in WEIGHTS)
    assert loose > 2 * held > 0
    assert held > tight > 0


@pytest.mark.parametrize(("preset", "bits"), [("lora", None), ("qlora", 4)])
def test_the_reference_is_the_base_model_as_small_as_the_base_is(
    distances: tuple[Project, dict[str, float]], preset: str, bits: int | None
) -> None:
    project, _ = distances
    name = f"{preset}-1"
    rendered = yaml.safe_load(project.rendered(name, "train.yaml").read_text(encoding="utf-8"))
    assert (rendered["use_asft_loss"], rendered["asft_alpha"]) == (True, 1)
    assert rendered["ref_model"] == rendered["model_name_or_path"]
    assert rendered.get("ref_model_quantization_bit") == bits
    log = project.run(name).log
    assert "Created reference model from data/tiny-qwen2" in log
    # the model, and in 4 bits its reference too
    assert log.count("Quantizing model to 4 bit with bitsandbytes") == (2 if bits else 0)
