"""Hand each rule's two configs to LLaMA-Factory's real parser: `python rules_cases.py DIRECTORY ANSWERS`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import rules_library
from rule_cases import CASES, examine, rules_project

from qtune.machine.stack import installed_stack


def main() -> None:
    project = rules_project(Path(sys.argv[1]))
    here = installed_stack()
    answers = {}
    for case in CASES:
        fires = examine(project, case.fires, case.hardware)
        near = examine(project, case.near, case.other_hardware or case.hardware, here)
        answers[case.rule] = {
            "fires": _words(rules_library.refusal(fires)),
            "near": _words(rules_library.refusal(near)),
            # a package that is not installed here is refused for that
            "near_errors": [str(finding) for finding in near.errors],
        }
    Path(sys.argv[2]).write_text(json.dumps(answers), encoding="utf-8")


def _words(error: BaseException | None) -> str | None:
    return None if error is None else f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
