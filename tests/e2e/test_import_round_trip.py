"""Import, render, parse: the library's own parser makes the same of both the original and the rendered."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from import_cases import (
    DEEPSPEED,
    LORA_SFT,
    PROCESSES,
    QTUNES_OWN,
    RENAMED_CASES,
    SCRIPTS,
    TREE,
    VALUE_CASES,
    YAMLS,
    older,
)
from import_shapes import CHECKOUT, PACKAGES, SHAPES
from scratch import Project, environment
from trees import write_tree

from qtune.config.own import write_own_preset
from qtune.config.project import find_project
from qtune.data.adding.register import add_entries, with_entries
from qtune.importing.read import read_import
from qtune.machine.hardware import parse_hardware
from qtune.prepare import pipeline

PARSER = Path(__file__).with_name("parse_arguments.py")
# What is said of a run's place, its moment or its processes, and the deprecated spelling of warmup_steps.
NOT_COMPARED = {*QTUNES_OWN, "warmup_ratio", "distributed_state", "deepspeed_plugin", "hf_deepspeed_config"}


class Imports:
    """A project into which originals are imported, and what the library's parser makes of each side."""

    def __init__(self, root: Path) -> None:
        self.root = write_tree(root, {**TREE, **DEEPSPEED, "configs/lora_sft.yaml": LORA_SFT})
        self.requests: list[dict[str, Any]] = []

    def pair(self, name: str, original: Path, argv: list[str], *, distributed: bool = False) -> None:
        """Ask for the parse of `argv`, and of `original` imported as the preset `name` and rendered.

        distributed: as one of torchrun's workers, without which DeepSpeed's config is refused.
        """
        project = find_project(self.root)
        imported = read_import(original, self.root, project)
        assert imported.errors == (), f"{name}: {[str(error) for error in imported.errors]}"
        registrations = self.root / "data/datasets.yaml"
        if imported.datasets:
            before = registrations.read_text() if registrations.is_file() else ""
            registrations.write_text(with_entries(before, imported.datasets, registrations.name))
        (self.root / f"presets/{name}.yaml").write_text(imported.text, encoding="utf-8")
        project = find_project(self.root)
        prepared = pipeline.prepare(name, project, parse_hardware("8x80GB"))
        assert prepared.errors == (), f"{name}: {[str(error) for error in prepared.errors]}"
        directory = pipeline.write(prepared)
        rendered = str(directory.relative_to(self.root) / "train.yaml")
        for asked in (argv, [rendered]):
            self.requests.append({"root": str(self.root), "argv": asked, "distributed": distributed})

    def answers(self) -> list[dict[str, Any]]:
        asked, answered = self.root / "requests.json", self.root / "answers.json"
        asked.write_text(json.dumps(self.requests), encoding="utf-8")
        Project(self.root).command(sys.executable, str(PARSER), str(asked), str(answered))
        return json.loads(answered.read_text(encoding="utf-8"))


@pytest.fixture
def imports(tmp_path: Path) -> Imports:
    return Imports(tmp_path / "project")


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Arguments that differ, each with both values; the errors where a side was refused."""
    if one["error"] or other["error"]:
        return {"error": (one["error"], other["error"])}
    keys = [key for key in {**one["parsed"], **other["parsed"]} if key not in NOT_COMPARED]
    return {
        key: (one["parsed"].get(key), other["parsed"].get(key))
        for key in keys
        if one["parsed"].get(key) != other["parsed"].get(key)
    }


def unequal(imports: Imports, names: list[str]) -> dict[str, Any]:
    answers = imports.answers()
    pairs = zip(names, answers[::2], answers[1::2], strict=True)
    return {name: found for name, one, other in pairs if (found := differences(one, other))}


def test_every_shape_of_a_train_config(imports: Imports) -> None:
    for name, text in YAMLS.items():
        file = f"configs/{name}.yaml"
        write_tree(imports.root, {file: text})
        zero = "deepspeed:" in text and "deepspeed: null" not in text
        imports.pair(name, imports.root / file, [file], distributed=zero)
    assert unequal(imports, list(YAMLS)) == {}


def test_every_shape_of_a_command(imports: Imports) -> None:
    """What bash itself makes of a script goes to the parser; qtune has only read it."""
    for name, text in SCRIPTS.items():
        script = imports.root / f"{name}.sh"
        script.write_text(text, encoding="utf-8")
        argv = what_bash_starts(imports.root, text)
        imports.pair(name, script, argv, distributed="--deepspeed" in text)
        launch = find_project(imports.root).store.load(name).layer.values.get(("launch", "nproc_per_node"))
        assert (launch.value if launch else None) == PROCESSES[name], name
    # without this, a comparison that finds nothing would pass
    file = "configs/lora_sft.yaml"
    imports.pair("changed", imports.root / file, [file, "lora_rank=9"])
    assert unequal(imports, [*SCRIPTS, "changed"]) == {
        "changed": {"lora_rank": (9, 8), "lora_alpha": (18, 16)}
    }


def test_every_line_of_the_table_of_older_releases(imports: Imports) -> None:
    cases = [
        (f"{name}-{number}", old, new)
        for name, lines in RENAMED_CASES.items()
        for number, (old, new) in enumerate(lines)
        if new is not None
    ]
    cases += [
        (f"{name}-{number}", old, new)
        for number, ((name, _), (old, new)) in enumerate(VALUE_CASES.items(), 10)
        if new is not None
    ]
    for name, old, new in cases:
        write_tree(imports.root, {f"old/{name}.yaml": older(old), f"new/{name}.yaml": older(new)})
        imports.pair(name, imports.root / f"old/{name}.yaml", [f"new/{name}.yaml"])
    assert unequal(imports, [name for name, _, _ in cases]) == {}


def test_the_shapes_of_the_examples_in_a_fresh_project(tmp_path: Path) -> None:
    """Each parsed in the checkout that it was written for, and rendered in the project beside it."""
    theirs = write_tree(tmp_path / "theirs", CHECKOUT)
    ours = Project(tmp_path / "ours")
    ours.root.mkdir()
    ours.qtune("init")
    requests, answered = tmp_path / "requests.json", tmp_path / "answers.json"
    asked = []
    shapes = {**SHAPES, **PACKAGES}
    for name, text in shapes.items():
        config = f"configs/{name}.yaml"
        write_tree(theirs, {config: text})
        imported = read_import(theirs / config, ours.root, find_project(ours.root))
        assert imported.errors == (), f"{name}: {[str(error) for error in imported.errors]}"
        if imported.datasets:
            add_entries(find_project(ours.root), imported.datasets)
        write_own_preset(find_project(ours.root), name, imported.text)
        prepared = pipeline.prepare(name, find_project(ours.root), parse_hardware("1x80GB"))
        assert prepared.errors == (), f"{name}: {[str(error) for error in prepared.errors]}"
        rendered = str((pipeline.write(prepared) / "train.yaml").relative_to(ours.root))
        distributed = "deepspeed:" in text
        for root, argument in ((theirs, config), (ours.root, rendered)):
            asked.append({"root": str(root), "argv": [argument], "distributed": distributed})
    requests.write_text(json.dumps(asked), encoding="utf-8")
    ours.command(sys.executable, str(PARSER), str(requests), str(answered))
    answers = json.loads(answered.read_text(encoding="utf-8"))
    for one in answers[::2]:
        one["parsed"]["media_dir"] = str(theirs / "data")  # which it is from there
    pairs = zip(shapes, answers[::2], answers[1::2], strict=True)
    assert {name: found for name, one, other in pairs if (found := differences(one, other))} == {}


STUB = f"#!{sys.executable}\nimport json, sys\nprint('ARGV', json.dumps(sys.argv))\n"


def what_bash_starts(root: Path, script: str) -> list[str]:
    """The arguments after the training's name, as a small program in its place receives them."""
    programs = root / "bin"
    for name in ("llamafactory-cli", "torchrun", "deepspeed", "python"):
        write_tree(programs, {name: STUB})
        (programs / name).chmod(0o755)
    text = "\n".join(line for line in script.splitlines() if not line.startswith("```"))
    done = subprocess.run(
        ["bash", "-c", f"PATH={shlex.quote(str(programs))}:$PATH\n{text.replace(' 2>&1 | tee log.txt', '')}"],
        cwd=root,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("ARGV"))
    words: list[str] = json.loads(line.removeprefix("ARGV"))
    start = next(index for index, word in enumerate(words) if word == "train" or word.endswith(".py"))
    return words[start + 1 :]
