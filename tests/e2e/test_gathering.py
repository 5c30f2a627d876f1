"""What a ZeRO-3 training leaves that does not gather its weights, as the rules about it say."""

from __future__ import annotations

import pytest
from safetensors import safe_open
from scratch import Project

pytestmark = pytest.mark.slow

ZERO3 = ("-s", "zero.stage=3", "-s", "zero.stage3_gather_16bit_weights_on_model_save=false")
STEPS = ("-s", "max_steps=1", "-s", "save_steps=1", "-s", "eval_dataset=null")
SAYS = "ends with shards, not with a model"


def test_an_adapter_is_whole(project: Project) -> None:
    assert SAYS not in project.qtune("train", "lora", *ZERO3, *STEPS).stderr
    with safe_open(project.run("lora").path / "adapter_model.safetensors", "pt") as adapter:
        shapes = [adapter.get_slice(name).get_shape() for name in adapter.keys()]  # noqa: SIM118
    # 2 layers of 7 linear modules, each with an A and a B of rank 64; a shard would be empty
    assert len(shapes) == 28 and all(64 in shape for shape in shapes)


def test_of_full_tuning_there_are_shards(project: Project) -> None:
    assert SAYS in project.qtune("train", "full", *ZERO3, *STEPS).stderr
    run = project.run("full").path
    assert list(run.glob("*.safetensors")) == []
    assert (run / "zero_to_fp32.py").is_file() and list(run.glob("global_step1/*_model_states.pt"))
