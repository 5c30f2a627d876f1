"""The Modelfile makes of a conversation what LLaMA-Factory makes of it, for each of its templates."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from go_template import prompt, quoted
from scratch import Project

CHECKOUT = Path(__file__).resolve().parents[2]
FAMILIES = [
    "qwen",
    "qwen3",
    "llama2",
    "llama3",
    "mistral",
    "gemma",
    "gemma3",
    "chatglm3",
    "glm4",
    "yi",
    "phi4",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    project = Project(tmp_path_factory.mktemp("modelfiles"))
    script = str(CHECKOUT / "tests" / "e2e" / "modelfiles.py")
    done = project.command(sys.executable, script, str(CHECKOUT / "data" / "tiny-qwen2"))
    return json.loads(done.stdout.splitlines()[-1])  # after what the library says


@cache
def without_bos(text: str) -> str:
    return text.removeprefix("<s>")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_familys_prompt_is_the_trainings(made: dict[str, Any], name: str) -> None:
    assert wrong(made[name]) == []


def test_so_is_every_other_templates(made: dict[str, Any]) -> None:
    assert len(made) > 100
    assert [name for name, item in made.items() if wrong(item)] == []


def wrong(item: dict[str, Any]) -> list[tuple[str, str]]:
    """Prompts that are not the library's; where ollama adds the BOS token, it stands there once."""
    pairs = [(prompt(item["modelfile"]["False"], messages), text) for messages, text in item["prompts"]]
    pairs += [
        (prompt(item["modelfile"]["True"], messages), without_bos(text)) for messages, text in item["prompts"]
    ]
    return [(found, wanted) for found, wanted in pairs if found != wanted]


def test_the_librarys_own_is_kept_where_it_is_right(made: dict[str, Any]) -> None:
    for name in ("qwen", "llama3", "phi4", "glm4"):
        for command in ("TEMPLATE", "SYSTEM"):
            assert quoted(made[name]["modelfile"]["False"], command) == quoted(made[name]["library"], command)


def test_the_librarys_own_is_wrong_where_this_one_differs(made: dict[str, Any]) -> None:
    """When a release mends these, its own Modelfile will do."""
    for name in ("mistral", "gemma", "llama2", "qwen3, enable_thinking: false"):
        prompts = made[name]["prompts"]
        assert any(prompt(made[name]["library"], messages) != text for messages, text in prompts)
    assert made["chatglm3"]["library"] is None


def test_answers_end_where_the_template_ends_them(made: dict[str, Any]) -> None:
    for item in made.values():
        lines = item["modelfile"]["False"].splitlines()
        assert {f'PARAMETER stop """{word}"""' for word in item["stops"]} <= set(lines)
