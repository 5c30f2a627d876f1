"""How much of other toolkits' configs `qtune import` translates: the keys of tests/import_toolkits/."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import yaml

from qtune.config.project import find_project
from qtune.importing.original import Coverage
from qtune.importing.read import read_import

REPOSITORY = Path(__file__).resolve().parents[1]
TABLES = REPOSITORY / "adapter" / "qtune" / "importing" / "toolkits"
SHAPES = REPOSITORY / "tests" / "import_toolkits"


def rows() -> Iterator[tuple[str, ...]]:
    """(toolkit, version, files, keys, in the preset, needless, without a counterpart) of each."""
    for table in sorted(TABLES.glob("*.yaml")):
        about = yaml.safe_load(table.read_text(encoding="utf-8"))
        # `trl-recipes` is TRL's too
        files = sorted(
            path
            for path in SHAPES.glob("*/*")
            if path.is_file() and f"{path.parent.name}-".startswith(f"{table.stem}-")
        )
        if files and "toolkit" in about:
            total = sums(files)
            cells = (len(files), sum(astuple(total)), *astuple(total))
            yield about["toolkit"], str(about["version"]), *map(str, cells)


def sums(files: list[Path]) -> Coverage:
    """Of all these files together."""
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "qtune.yaml").touch()
        project = find_project(Path(root))
        found = [read_import(path, project.root, project).coverage for path in files]
    counts = [astuple(coverage) for coverage in found if coverage is not None]
    return Coverage(*map(sum, zip(*counts, strict=True)))
