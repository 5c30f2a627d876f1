"""Other toolkits' configs, in import_toolkits/TOOLKIT: no key vanishes, and most become arguments."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from trees import write_tree

from qtune.config.project import Project, find_project
from qtune.errors import QtuneError
from qtune.importing.original import Coverage
from qtune.importing.read import Imported, read_import
from qtune.importing.recognise import recognise
from qtune.importing.source import read_source

SHAPES = Path(__file__).parent / "import_toolkits"
FILES = sorted(path for path in SHAPES.glob("*/*") if path.is_file())
TOOLKITS = sorted({path.parent.name for path in FILES})
FLAG = re.compile(r"(?<=\s)--(?!module\b)([A-Za-z][\w.-]*)")  # deepspeed's --module says nothing itself


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return find_project(write_tree(tmp_path_factory.mktemp("project"), {"qtune.yaml": ""}))


@pytest.fixture(scope="module")
def imports(project: Project) -> dict[Path, Imported]:
    return {path: read_import(path, project.root, project) for path in FILES}


def paths(keys: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Every key that holds no block, dotted."""
    for key, value in keys.items():
        if isinstance(value, dict) and value:
            yield from paths(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def given(path: Path) -> list[str]:
    """What a file sets: the keys of a config, the flags of a command."""
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".yml", ".yaml", ".json"):
        return list(paths(yaml.safe_load(text)))
    return [flag.replace("-", "_") for flag in FLAG.findall(text)]


def told(imported: Imported) -> set[str]:
    """The keys that the import says something of."""
    said = [item.key for item in (*imported.notes, *imported.findings)]
    return {key.replace("-", "_") for keys in said for key in keys.split(", ")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_no_key_vanishes(path: Path, imports: dict[Path, Imported]) -> None:
    names = told(imports[path])
    silent = [
        key for key in given(path) if not any(key == name or key.startswith(f"{name}.") for name in names)
    ]
    assert silent == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_preset_is_written(path: Path, imports: dict[Path, Imported]) -> None:
    imported = imports[path]
    assert imported.errors == (), [str(error) for error in imported.errors]
    assert "model_name_or_path" in yaml.safe_load(imported.text)["train"]


ODD: tuple[Any, ...] = ("", 1.5, [{}], {"a": 1}, [{"path": "x", "type": ["y"]}])


@pytest.mark.parametrize("name", ["axolotl/dpo_intel.yaml", "torchtune/8B_lora_dpo.yaml"])
def test_a_value_of_no_sense_is_no_crash(name: str, project: Project) -> None:
    keys = yaml.safe_load((SHAPES / name).read_text(encoding="utf-8"))
    for dotted in paths(keys):
        *blocks, last = dotted.split(".")
        for odd in ODD:
            changed = copy.deepcopy(keys)
            functools.reduce(dict.__getitem__, blocks, changed)[last] = odd
            (project.root / "odd.yaml").write_text(json.dumps(changed), encoding="utf-8")
            with contextlib.suppress(QtuneError):
                recognise(read_source(project.root / "odd.yaml", project.root), project)


@pytest.mark.parametrize("toolkit", TOOLKITS)
def test_four_of_five_keys_are_translated(toolkit: str, imports: dict[Path, Imported]) -> None:
    coverages = [
        item.coverage or Coverage(0, 0, 0) for path, item in imports.items() if path.parent.name == toolkit
    ]
    translated = sum(coverage.translated + coverage.needless for coverage in coverages)
    assert translated >= 0.8 * (translated + sum(coverage.missing for coverage in coverages))
