"""`kl_beta`: each stage's own arguments, and what `ref_model: auto` comes to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trees import REPOSITORY, Result

from qtune.config.kl import KL_BETA, kl_arguments
from qtune.config.project import find_project
from qtune.config.resolve import overrides
from qtune.machine.hardware import parse_hardware
from qtune.prepare import pipeline
from qtune.values import Config

MODEL = "data/tiny-qwen2"


def resolved(preset: str, *assignments: str) -> Config:
    project = find_project(REPOSITORY)
    return pipeline.resolve(preset, project, parse_hardware("1x24GB"), [overrides(assignments)])


def train(preset: str, *assignments: str) -> dict[str, Any]:
    return resolved(preset, *assignments).block("train")


def test_with_lora_it_is_the_anchored_loss_and_the_base_model_as_reference() -> None:
    values = train("lora", "kl_beta=0.3")
    assert (values["use_asft_loss"], values["asft_alpha"], values["ref_model"]) == (True, 0.3, MODEL)
    assert KL_BETA not in values and "ref_model_quantization_bit" not in values


def test_its_values_say_where_they_come_from() -> None:
    config = resolved("lora", "kl_beta=0.3")
    assert str(config.origin("train", "asft_alpha")) == "--set kl_beta"
    assert str(config.origin("train", "ref_model")) == "auto from model"


def test_a_4_bit_base_has_a_4_bit_reference() -> None:
    assert train("qlora", "kl_beta=0.3")["ref_model_quantization_bit"] == 4


@pytest.mark.parametrize("preset", ["full", "freeze"])
def test_without_lora_the_library_loads_the_reference_by_itself(preset: str) -> None:
    values = train(preset, "kl_beta=0.3")
    assert values["asft_alpha"] == 0.3 and "ref_model" not in values


@pytest.mark.parametrize("preset", ["dpo", "kto"])
def test_with_preferences_it_is_pref_beta(preset: str) -> None:
    values = train(preset, "kl_beta=0.3")
    assert values["pref_beta"] == 0.3 and "use_asft_loss" not in values


def test_the_projects_stage_decides_not_the_presets() -> None:
    assert train("lora", "stage=dpo", "kl_beta=0.3")["pref_beta"] == 0.3


def test_a_named_reference_model_stays() -> None:
    assert train("lora", "ref_model=./other", "kl_beta=0.3")["ref_model"] == "./other"


def test_in_a_style_preset_it_replaces_the_weight_and_null_takes_all_of_it_away() -> None:
    assert train("style_quick", "kl_beta=0.5")["asft_alpha"] == 0.5
    off = train("style_quick", "kl_beta=null")
    assert not {"use_asft_loss", "asft_alpha", "ref_model", KL_BETA} & off.keys()


@pytest.mark.parametrize("other", [["stage=rm"], ["stage=pt"], ["stage=dpo", "pref_loss=orpo"]])
def test_elsewhere_it_is_a_finding_that_says_where_it_works(
    qtune: Callable[..., Result], project: Callable[..., Path], other: list[str]
) -> None:
    settings = [word for assignment in (*other, "kl_beta=0.3") for word in ("-s", assignment)]
    result = qtune("check", "lora", *settings, directory=project())
    assert result.code == 2
    assert "--set kl_beta:" in result.err and "`asft_alpha`" in result.err and "`pref_beta`" in result.err


def test_in_a_preset_it_is_a_finding_too(qtune: Callable[..., Result], project: Callable[..., Path]) -> None:
    root = project({"presets/x.yaml": "extends: lora\ntrain:\n  kl_beta: 0.3\n"})
    result = qtune("check", "x", directory=root)
    assert (
        result.code == 2 and "presets/x.yaml:3 kl_beta" in result.err and "use_asft_loss: true" in result.err
    )


def test_an_import_gets_the_same_arguments() -> None:
    assert kl_arguments({"stage": "dpo"}, 0.2) == {"pref_beta": 0.2}
    assert kl_arguments({"finetuning_type": "full"}, 0.2) == {"use_asft_loss": True, "asft_alpha": 0.2}
    assert kl_arguments({}, 0.2)["ref_model"] == "auto"
    assert kl_arguments({"stage": "rm"}, 0.2) == {}


def test_a_wrong_weight_is_told_by_the_argument_that_takes_it(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    result = qtune("check", "lora", "-s", "kl_beta=strong", directory=project())
    assert "--set kl_beta asft_alpha: is text ('strong')" in result.err


def test_the_reference_is_off_with_the_loss(project: Callable[..., Path]) -> None:
    values = train("style_quick", "use_asft_loss=false")
    assert "ref_model" not in values and values["eval_strategy"] == "steps"


def test_evaluation_is_off_with_the_loss_and_says_why() -> None:
    config = resolved("style_quick")
    assert config.get("train", "eval_strategy") == "no"
    assert "load_best_model_at_end" not in config.block("train")
    assert str(config.origin("train", "eval_strategy")).startswith("auto from use_asft_loss, with which")
