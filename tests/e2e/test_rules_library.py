"""The rules against the library: what they refuse it refuses, and what qtune passes its parser accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rule_cases import CASES
from scratch import run_script

from qtune.checks.rules import RULES
from qtune.schema import loggers, snapshot

DRAWN, SEED = 2500, 9
PARSER = ("llamafactory/hparams/", "transformers/training_args.py")
REFUSED_BY_THE_PARSER = [
    rule.id for rule in RULES if rule.severity == "error" and rule.source.startswith(PARSER)
]
# This machine has no NCCL, which a config for GPUs may name.
ABSENT_HERE = "Your assigned backend nccl is not available"


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("cases")
    run_script("rules_cases.py", str(root / "project"), str(root / "answers.json"))
    return json.loads((root / "answers.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("rule", REFUSED_BY_THE_PARSER)
def test_the_parser_refuses_what_the_rule_refuses(answers: dict[str, Any], rule: str) -> None:
    fires = answers["cases"][rule]["fires"]
    if rule.endswith("-installed") and rule not in fires["qtune"]:
        pytest.skip("it is installed here")
    assert fires["library"] is not None
    missing_package = fires["library"].startswith("PackageNotFoundError")
    assert missing_package == rule.endswith("-installed"), fires["library"]


@pytest.mark.parametrize("rule", [case.rule for case in CASES])
def test_the_parser_accepts_the_near_config(answers: dict[str, Any], rule: str) -> None:
    near = answers["cases"][rule]["near"]
    if near["qtune"]:
        pytest.skip(f"not on this machine: {', '.join(near['qtune'])}")
    assert near["library"] is None or ABSENT_HERE in near["library"]


def test_functions_that_rules_name_fail(answers: dict[str, Any]) -> None:
    assert {rule for rule, error in answers["shown"].items() if error is None} == set()
    assert set(answers["shown"]) <= {rule.id for rule in RULES}


def test_lists_are_the_librarys(answers: dict[str, Any]) -> None:
    templates = snapshot("chat")["templates"].items()
    assert sorted(name for name, row in templates if row["efficient_eos"]) == answers["efficient_eos"]
    assert sorted(loggers()) == answers["loggers"]


def test_what_qtune_passes_the_parser_accepts(tmp_path: Path) -> None:
    """Configs drawn from the schema and from the rules' own cases, so that conflicts are frequent."""
    run_script(
        "rules_drawn.py", str(tmp_path / "project"), str(tmp_path / "answers.json"), str(DRAWN), str(SEED)
    )
    result = json.loads((tmp_path / "answers.json").read_text(encoding="utf-8"))
    assert result["gaps"] == []
    assert result["drawn"] == DRAWN and result["passed"] > DRAWN / 5
    assert len(result["said"]) > len(RULES) / 2, "most rules are to be met"
