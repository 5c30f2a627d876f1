"""What contributors go by is true: the Makefile's help, the hooks, the documents about the project itself."""

from __future__ import annotations

import re

import pytest
import yaml
from trees import REPOSITORY

from qtune import __version__, files, sandbox, sharing
from qtune.sharing import git
from qtune.units import size_text

MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
TARGETS = re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)
ABOUT = ("CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md")
PLACES = r"`((?:adapter|bench|data|docs|presets|templates|tests)/[^`\s:]*|[\w.-]+\.(?:toml|txt|md))`"


def test_every_target_is_phony_and_has_a_line_of_help() -> None:
    assert sorted(TARGETS) == sorted(re.findall(r"^\.PHONY: (.*)", MAKEFILE, re.MULTILINE)[0].split())
    assert re.findall(r"^([a-z-]+):.*## \w", MAKEFILE, re.MULTILINE) == TARGETS


def test_the_hooks_before_a_commit_are_the_commands_of_make_lint() -> None:
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe is not None
    lint = [line.removeprefix("\t@").replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines()]
    (repository,) = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for hook in repository["hooks"]] == lint


@pytest.mark.parametrize("name", ABOUT)
def test_what_is_named_is_there(name: str) -> None:
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    named = [place for place in re.findall(PLACES, text) if not re.search(r"\b(NAME|ID|OLD)\b|\*", place)]
    assert [place for place in named if not (REPOSITORY / place).exists()] == []
    wanted = {
        target for line in re.findall(r"`make ([a-z -]+?)(?: ARGS=.*)?`", text) for target in line.split()
    }
    assert wanted <= set(TARGETS)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


def test_the_bounds_that_are_promised_are_those_of_the_code() -> None:
    text = " ".join((REPOSITORY / "SECURITY.md").read_text(encoding="utf-8").split())
    for promise in (
        f"At most {sharing.MAX_FILES} files, {files.MAX_BYTES:,} bytes each, {sharing.MAX_TOTAL:,} in all",
        f"a fetch of at most {git.MAX_FETCH:,} bytes and {git._SECONDS:g} seconds",
        f"more than {files.MAX_NODES:,} values, or more than {files.MAX_DEPTH} levels",
        f"{sandbox.CPU_SECONDS:g} seconds of processor time, {size_text(sandbox.MEMORY)} of memory",
        f"and {files.MAX_BYTES:,} characters",
    ):
        assert promise in text


def test_the_changelog_has_the_packages_version_and_what_has_none_yet() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (\S+)", text, re.MULTILINE)
    assert sections[0] == "Unreleased" and __version__ in sections
    parts = set(re.findall(r"^### (.*)", text, re.MULTILINE))
    assert parts <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
