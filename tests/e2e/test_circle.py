"""The whole circle of a fine-tune: trained, asked, exported, asked again, measured."""

from __future__ import annotations

import json

import pytest
from scratch import UNTIL_KNOWN, Project, answer_alone

GREEDY = ("-s", "do_sample=false", "-s", "max_new_tokens=120")


@pytest.mark.slow
def test_what_is_trained_is_known_merged_and_better_than_its_base(project: Project) -> None:
    demo = (project.root / "data" / "demo.jsonl").read_text(encoding="utf-8")
    row = json.loads(demo.splitlines()[0])

    project.qtune("train", "full", "-n", "knows", *UNTIL_KNOWN)
    assert project.qtune("ask", "knows", row["instruction"], *GREEDY).stdout == row["output"] + "\n"

    project.qtune("train", "lora", *UNTIL_KNOWN)
    adapted = project.qtune("ask", "lora", row["instruction"], *GREEDY).stdout
    exported = project.qtune("export", "lora").stdout.removesuffix("\n")
    assert answer_alone(project.root / exported, row["instruction"]) + "\n" == adapted

    for run in ("knows", "lora"):
        words = (run, "-d", "demo", "--max-samples", "4", "--loss-only", "--json")
        told = json.loads(project.qtune("eval", *words).stdout)
        assert told["tuned"]["metrics"]["loss"] < told["base"]["metrics"]["loss"] / 2
