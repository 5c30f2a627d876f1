"""Rules: each fires on what it is for, alone, and on nothing else."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rule_cases import CASES, EVERYTHING, Case, examine, rules_project, settings_layer

from qtune.checks.rules import RULES
from qtune.config.project import Project, find_project
from qtune.machine.hardware import Hardware, parse_hardware
from qtune.machine.stack import installed_stack
from qtune.prepare import pipeline

# of every config with such an optimizer, beside what else is wrong with it
_OF_OPTIMIZERS = {"optimizer-state-not-loadable", "optimizer-state-not-saved"}
BUILT_IN = ("full", "lora", "qlora", "deepspeed", "stage2_offload", "stage3", "minimal")


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return rules_project(tmp_path_factory.mktemp("rules"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_fires_alone_on_its_config_and_not_on_the_near_one(rules: Project, case: Case) -> None:
    beside = _OF_OPTIMIZERS - {case.rule}
    found = examine(rules, case.fires, case.hardware, case.stack, case.preset).findings
    fired = [finding for finding in found if finding.rule not in beside]
    assert [finding.rule for finding in fired] == [case.rule], [str(finding) for finding in fired]
    (finding,) = fired
    assert finding.message and finding.fix and finding.source
    assert "{" not in finding.message + finding.fix.replace("{kto_tag", "")
    for near in (case.near, case.also_near):
        found = examine(
            rules,
            near,
            case.other_hardware or case.hardware,
            case.other_stack or case.stack,
            case.preset,
        ).findings
        fired = [finding for finding in found if finding.rule not in beside]
        assert fired == [], [str(finding) for finding in fired]


def test_every_rule_has_one_case_a_fix_and_a_source() -> None:
    assert sorted(case.rule for case in CASES) == sorted(rule.id for rule in RULES)
    assert len({rule.id for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert re.fullmatch(r"[a-z0-9-]+", rule.id), rule.id
        assert rule.keys and rule.message and rule.fix and rule.source, rule.id


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"optim": "galore_adamw"}, "optimizer-state-not-loadable"),
        ({"optim": "galore_adafactor"}, "optimizer-state-not-loadable"),
        ({"optim": "apollo_adamw"}, "optimizer-state-not-loadable"),
        ({"use_galore": True}, "optimizer-state-not-loadable"),
        ({"use_apollo": True}, "optimizer-state-not-loadable"),
        ({"optim": "galore_adamw_layerwise"}, "optimizer-state-not-saved"),
        ({"optim": "apollo_adamw_layerwise"}, "optimizer-state-not-saved"),
        ({"use_galore": True, "galore_layerwise": True}, "optimizer-state-not-saved"),
        ({"use_apollo": True, "apollo_layerwise": True}, "optimizer-state-not-saved"),
        ({"use_badam": True}, "optimizer-state-not-saved"),
        ({"optim": "grokadamw"}, "optimizer-state-not-saved"),
        ({"optim": "schedule_free_adamw"}, None),
        ({"optim": "lomo"}, None),
        ({"optim": "lion_8bit"}, None),
        ({"use_adam_mini": True}, None),
        ({"use_muon": True}, None),
    ],
    ids=str,
)
def test_optimizers_whose_trainings_cannot_go_on_are_known(
    rules: Project, settings: dict[str, object], rule: str | None
) -> None:
    """By twelve steps in one go, and six and six, on a CPU with torch 2.11.0 and transformers 5.5.4.

    The first kind raised UnpicklingError, the second ended with weights that differ by 0.03 to 0.25, and all
    others, bitsandbytes' and torchao's too, with the same to the last bit.
    """
    found = examine(rules, {"finetuning_type": "full", **settings}, "1x24GB").findings
    assert [finding.rule for finding in found if finding.rule in _OF_OPTIMIZERS] == ([rule] if rule else [])


@pytest.mark.parametrize("hardware", ["cpu", "1x24GB", "8x80GB"])
@pytest.mark.parametrize("preset", BUILT_IN)
def test_the_built_in_presets_have_no_findings(rules: Project, preset: str, hardware: str) -> None:
    found = pipeline.examine(preset, rules, parse_hardware(hardware), stack=EVERYTHING).findings
    assert found == (), [str(finding) for finding in found]


def test_a_finding_stands_where_the_highest_layer_broke_it(tmp_path: Path) -> None:
    project = rules_project(tmp_path)
    (from_outside,) = examine(project, {"finetuning_type": "full", "quantization_bit": 4}, "1x24GB").findings
    assert from_outside.key == "quantization_bit"
    (tmp_path / "qtune.yaml").write_text(
        (tmp_path / "qtune.yaml").read_text().replace("train: {", "presets: [own]\ntrain: {"),
        encoding="utf-8",
    )
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "q.yaml").write_text(
        "extends: qlora\ntrain:\n  finetuning_type: full\n", encoding="utf-8"
    )
    (from_below,) = pipeline.examine("q", find_project(tmp_path), Hardware()).findings
    assert from_below.key == "finetuning_type"
    assert from_below.origin and from_below.origin.place == "own/q.yaml:3"


def test_rules_are_silent_about_values_that_are_wrong_by_themselves(rules: Project) -> None:
    settings = {"max_samples": "many", "warmup_steps": "few", "zero.offload_param": "cpu", "seed": -1}
    found = examine(rules, settings, "1x24GB").findings
    keys = ["max_samples", "seed", "warmup_steps", "zero.offload_param"]
    assert sorted(finding.key for finding in found) == keys
    assert [finding.rule for finding in found if finding.rule] == ["seed-range"]


def test_all_broken_rules_are_reported_at_once(rules: Project) -> None:
    settings = {"fp16": True, "bf16": True, "streaming": True, "max_samples": 5, "use_llama_pro": True}
    found = examine(rules, settings, "1x24GB").findings
    assert {finding.rule for finding in found} >= {"one-precision", "streaming-without-max-samples"}


def test_a_warning_does_not_stop_a_rendering(rules: Project) -> None:
    settings = settings_layer({"flash_attn": "fa2"})
    prepared = pipeline.prepare("lora", rules, Hardware(), [settings])
    assert [finding.severity for finding in prepared.findings] == ["warning"]
    assert not prepared.errors and prepared.files


def test_where_llamafactory_is_not_installed_there_is_no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llamafactory", None)
    assert installed_stack() is None


@pytest.mark.parametrize(("installed", "says"), [("5.5.4", "5.5.4"), ("4.57.1", "4.57.1"), ("5.6.0", "")])
def test_a_newer_transformers_may_know_what_the_tested_one_does_not(
    rules: Project, installed: str, says: str
) -> None:
    stack = replace(EVERYTHING, version=lambda distribution: installed)
    found = examine(rules, {"model_name_or_path": "newer"}, "1x24GB", stack).findings
    said = [f"transformers {says} knows no model_type `qwen9`"] if says else []
    assert [finding.message.partition(": ")[2] for finding in found] == said


def test_the_stack_looks_when_it_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llamafactory", sys)
    stack = installed_stack()
    assert stack is not None
    assert stack.has_module("yaml") and not stack.has_module("no_such_module")
    assert stack.version("no-such-distribution") is None and stack.version("pytest") is not None
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not stack.has_compiler()
    assert not stack.has_header("of_ours.h")
    (tmp_path / "of_ours.h").touch()
    monkeypatch.setenv("CPATH", str(tmp_path))
    assert stack.has_header("of_ours.h")
