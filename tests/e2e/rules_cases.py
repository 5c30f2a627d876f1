"""Hand each rule's two configs to LLaMA-Factory's real parser: `python rules_cases.py DIRECTORY ANSWERS`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rules_library
from llamafactory.data.template import TEMPLATES
from rule_cases import CASES, examine, rules_project
from rules_shown import SHOWN
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from qtune.machine.stack import installed_stack


def main() -> None:
    # before any process group is there
    shown = {rule: _raised(call) for rule, call in SHOWN.items()}
    project, here = rules_project(Path(sys.argv[1])), installed_stack()
    asked = []
    for case in CASES:
        fires = examine(project, case.fires, case.hardware, here, case.preset)
        near = examine(project, case.near, case.other_hardware or case.hardware, here, case.preset)
        asked += [(case.rule, "fires", fires), (case.rule, "near", near)]
    answers: dict[str, dict[str, Any]] = {case.rule: {} for case in CASES}
    for rule, which, prepared in sorted(asked, key=lambda item: rules_library.distributed(item[2])):
        error = rules_library.refusal(prepared)
        answers[rule][which] = {
            "library": None if error is None else f"{type(error).__name__}: {error}",
            "qtune": [finding.rule for finding in prepared.errors],
        }
    result = {
        "cases": answers,
        "shown": shown,
        "efficient_eos": sorted(name for name, template in TEMPLATES.items() if template.efficient_eos),
        "loggers": sorted(INTEGRATION_TO_CALLBACK),
    }
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")


def _raised(call: Callable[[], Any]) -> str | None:
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


if __name__ == "__main__":
    main()
