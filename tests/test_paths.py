"""What a config loads beside its model: a path that is not there, or of another model, is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rule_cases import examine, rules_project, settings_layer
from trees import TINY_MODEL, Result, write_tree

from qtune.config.project import Project, find_project
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline, renderings

TRAINED = {"base_model_name_or_path": str(TINY_MODEL)}
SAVED = {
    "runs/lora/checkpoint-20/adapter_config.json": TRAINED,
    "runs/lora/checkpoint-20/trainer_state.json": {},
    "runs/whole/config.json": {"model_type": "qwen2"},
    "runs/other/adapter_config.json": {"base_model_name_or_path": "meta-llama/Llama-3.1-8B"},
    "runs/other/trainer_state.json": {},
    "parts/inside/adapter_config.json": TRAINED,
    "a-file": "",
}
_DPO = {"stage": "dpo", "dataset": "pairs"}
_PPO = {"stage": "ppo"}


@pytest.fixture
def saved(tmp_path: Path) -> Project:
    project = rules_project(tmp_path)
    write_tree(tmp_path, SAVED)
    return project


@pytest.mark.parametrize(
    ("settings", "severity", "message", "fix"),
    [
        (
            {"adapter_name_or_path": "runs/lora/checkpoint-200"},
            "error",
            "there is no adapter directory runs/lora/checkpoint-200",
            "did you mean `runs/lora/checkpoint-20`?",
        ),
        (
            {"adapter_name_or_path": "runs/lara/checkpoint-20"},
            "error",
            "there is no adapter directory runs/lara/checkpoint-20",
            "did you mean `runs/lora/checkpoint-20`?",
        ),
        (
            {"adapter_name_or_path": "runs/lora/checkpoint-20, ./gone"},
            "error",
            "there is no adapter directory gone",
            "correct the path",
        ),
        (
            {"adapter_name_or_path": "runs/lora"},
            "error",
            "runs/lora holds no adapter_config.json",
            "did you mean `runs/lora/checkpoint-20`?",
        ),
        (
            {"adapter_name_or_path": "runs/whole"},
            "error",
            "runs/whole holds no adapter_config.json",
            "it is a whole model: name it as `model_name_or_path`",
        ),
        (
            {"adapter_name_or_path": "runs/other"},
            "warning",
            f"was trained on meta-llama/Llama-3.1-8B, and is put on {TINY_MODEL}",
            "name the model that it was trained on",
        ),
        (
            {"resume_from_checkpoint": "runs/lora/checkpoint-2"},
            "error",
            "there is no checkpoint runs/lora/checkpoint-2",
            "did you mean `runs/lora/checkpoint-20`?",
        ),
        (
            {"resume_from_checkpoint": "runs/lora"},
            "error",
            "runs/lora holds no trainer_state.json",
            "did you mean `runs/lora/checkpoint-20`?",
        ),
        (
            {"resume_from_checkpoint": "runs/other"},
            "warning",
            "was trained on meta-llama/Llama-3.1-8B",
            "name the model that it was trained on",
        ),
        ({**_DPO, "ref_model": "runs/whale"}, "error", "no model directory runs/whale", "`runs/whole`?"),
        (
            {**_DPO, "ref_model": "runs/other"},
            "error",
            "runs/other holds no config.json",
            "it is an adapter: name its base model here, and it as `ref_model_adapters`",
        ),
        (
            {**_DPO, "ref_model": str(TINY_MODEL), "ref_model_adapters": "runs/none"},
            "error",
            "there is no adapter directory runs/none",
            "correct the path",
        ),
        (
            {**_DPO, "ref_model": "Qwen/Qwen3-8B", "ref_model_adapters": "runs/lora/checkpoint-20"},
            "warning",
            "and is put on Qwen/Qwen3-8B",
            "name the model",
        ),
        ({**_PPO, "reward_model": "runs/none"}, "error", "no adapter directory runs/none", "correct"),
        (
            {**_PPO, "reward_model_type": "full", "reward_model": "runs/none"},
            "error",
            "there is no model directory runs/none",
            "correct",
        ),
        (
            {
                **_PPO,
                "reward_model_type": "full",
                "reward_model": "runs/whole",
                "reward_model_adapters": "runs/none",
            },
            "error",
            "there is no adapter directory runs/none",
            "correct",
        ),
        ({"media_dir": "dota"}, "warning", "there is no media directory dota", "did you mean `data`?"),
        ({"dataset": "pictures", "media_dir": "dota"}, "error", "there is no media directory dota", "`data`"),
        ({"tokenized_path": "a-file/tokens"}, "error", "a-file is a file", "name a directory"),
    ],
    ids=str,
)
def test_a_wrong_path_is_one_finding(
    saved: Project, settings: dict[str, object], severity: str, message: str, fix: str
) -> None:
    [finding] = examine(saved, settings, "1x24GB").findings
    assert (finding.severity, finding.key) == (severity, [*settings][-1])
    assert message in finding.message and fix in finding.fix


@pytest.mark.parametrize(
    "settings",
    [
        {"adapter_name_or_path": "runs/lora/checkpoint-20"},
        {"adapter_name_or_path": "owner/adapter"},  # a hub's id
        {"adapter_name_or_path": "parts", "adapter_folder": "inside"},
        {"resume_from_checkpoint": "runs/lora/checkpoint-20"},
        {"resume_from_checkpoint": True},
        {"media_dir": "data", "dataset": "pictures"},
        {"tokenized_path": "new/place/tokens"},
        {**_DPO, "ref_model": "owner/model", "ref_model_adapters": "owner/adapter"},
        {**_PPO, "reward_model": "http://localhost:8000/reward", "reward_model_type": "api"},
    ],
    ids=str,
)
def test_what_is_there_or_on_the_hub_is_no_finding(saved: Project, settings: dict[str, object]) -> None:
    assert examine(saved, settings, "1x24GB").findings == ()


@pytest.mark.parametrize(
    ("trained_on", "model", "same"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct", True),
        ("qwen/qwen2.5-7b-instruct", "Qwen/Qwen2.5-7B-Instruct", True),
        ("/models/Qwen2.5-7B-Instruct/", "Qwen/Qwen2.5-7B-Instruct", True),
        ("unsloth/Qwen2.5-7B-Instruct-unsloth-bnb-4bit", "Qwen/Qwen2.5-7B-Instruct", True),
        ("/c/models--Qwen--Qwen2.5-7B-Instruct/snapshots/a1", "Qwen/Qwen2.5-7B-Instruct", True),
        ("/c/Qwen/Qwen2___5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct", True),
        ("Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B-Instruct", False),
        ("Qwen/Qwen3-8B", "Qwen/Qwen2.5-7B-Instruct", False),
        ("linked", str(TINY_MODEL), True),
        ("", "Qwen/Qwen2.5-7B-Instruct", True),
    ],
)
def test_an_adapters_base_is_compared_by_the_models_name(
    saved: Project, trained_on: str, model: str, same: bool
) -> None:
    (saved.root / "linked").symlink_to(TINY_MODEL)
    write_tree(saved.root, {"runs/one/adapter_config.json": {"base_model_name_or_path": trained_on}})
    settings = {"adapter_name_or_path": "runs/one", "model_name_or_path": model}
    found = examine(saved, settings, "1x24GB").findings
    assert [finding.key for finding in found] == ([] if same else ["adapter_name_or_path"])


def test_a_wrong_path_stands_at_its_line(qtune: Callable[..., Result], project: Callable[..., Path]) -> None:
    root = project({"presets/x.yaml": "extends: lora\ntrain:\n  adapter_name_or_path: ./saves/lora\n"})
    found = qtune("check", "x", directory=root)
    assert found.code == 2
    assert "presets/x.yaml:3 adapter_name_or_path: there is no adapter directory saves/lora" in found.err


@pytest.mark.parametrize(
    "settings",
    [
        {"model_name_or_path": "~/base"},
        {"adapter_name_or_path": "~/one"},
        {"resume_from_checkpoint": "~/one"},
        {"dataset": "pictures", "media_dir": "~/one"},
    ],
    ids=str,
)
def test_the_library_does_not_know_the_home_directory(
    saved: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    shutil.copytree(TINY_MODEL, tmp_path / "home/base")
    write_tree(tmp_path, {"home/one/adapter_config.json": TRAINED, "home/one/trainer_state.json": {}})
    [finding] = examine(saved, settings, "1x24GB").findings
    assert (finding.severity, finding.key) == ("error", [*settings][-1])
    assert finding.fix.startswith(f"write it in full: {tmp_path}/home/")


def test_no_such_user_is_a_missing_directory(saved: Project) -> None:
    [finding] = examine(saved, {"model_name_or_path": "~nobody-of-this-name/model"}, "1x24GB").findings
    assert "there is no model directory" in finding.message


def test_a_quantised_model_in_a_cache_is_refused_before_it_trains(
    saved: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    kept = "hub/models--owner--Model/snapshots/main/config.json"
    config = {"model_type": "qwen2", "quantization_config": {"quant_method": "awq"}}
    write_tree(tmp_path, {kept: config})
    full = {"finetuning_type": "full", "lora_rank": None, "lora_target": None}
    [finding] = examine(saved, {**full, "model_name_or_path": "owner/Model"}, "1x24GB").findings
    assert (finding.severity, finding.rule) == ("error", "quantized-model-needs-adapter")


# ── arguments that nothing reads ───────────────────────────────────────────────────────────────────────


def test_what_a_higher_layer_turned_off_is_silent(saved: Project) -> None:
    """`-s` over a preset, and qtune.yaml for the presets that read it."""
    assert examine(saved, {"quantization_bit": None}, "1x24GB", preset="qlora").findings == ()
    assert examine(saved, {"finetuning_type": "full"}, "1x24GB").findings == ()
    path = saved.root / "qtune.yaml"
    more = "template: qwen, lora_rank: 16, pref_beta: 0.3"
    path.write_text(path.read_text(encoding="utf-8").replace("template: qwen", more), encoding="utf-8")
    project = find_project(saved.root)
    for preset in ("full", "lora"):
        assert pipeline.examine(preset, project, Hardware()).findings == ()


def test_idle_arguments_are_one_warning_at_their_line(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    text = "extends: lora\ntrain:\n  quantization_type: nf4\n  double_quantization: true\n"
    found = qtune("check", "x", directory=project({"presets/x.yaml": text}))
    assert found.code == 0 and found.err.count("warning") == 1
    assert "presets/x.yaml:3 quantization_type: `quantization_type`, `double_quantization`" in found.err


def test_a_rendered_directory_says_the_same(saved: Project) -> None:
    """Its record keeps each value's layer, so that lower ones stay silent there too."""
    for settings, rules in (
        ({"galore_rank": 4}, ["galore-settings-need-galore"]),
        ({"finetuning_type": "full"}, []),
    ):
        prepared = pipeline.prepare("lora", saved, Hardware(), [settings_layer(settings)])
        pipeline.write(prepared)
        found = renderings.read(saved, "lora").findings
        assert [finding.rule for finding in found] == rules
        shutil.rmtree(saved.root / "rendered")
