"""The documents are current: their generated blocks, and the numbers in what is written by hand."""

from __future__ import annotations

import re
from pathlib import Path

import blocks
import pytest
from memory_picture import PICTURE, drawing
from test_layering import FLOORS, PACKAGE
from trees import REPOSITORY

DOCS = REPOSITORY / "docs"
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", blocks.DOCUMENTS, ids=lambda path: path.name)
def test_every_generated_block_is_current(path: Path) -> None:
    """`make docs` writes them anew."""
    text = path.read_text(encoding="utf-8")
    assert blocks.current(text) == text
    assert (
        len(blocks.MARKED.findall(text)) == len(re.findall(r"<!-- (?!end)", text)) == text.count("<!-- end")
    )


def test_the_picture_is_current() -> None:
    """`make docs` draws it anew."""
    assert PICTURE.read_text(encoding="utf-8") == drawing()


def test_every_block_that_can_be_written_stands_in_one_document() -> None:
    texts = [path.read_text(encoding="utf-8") for path in blocks.DOCUMENTS]
    standing = [name for text in texts for name, *_ in blocks.MARKED.findall(text)]
    assert sorted(standing) == sorted(blocks.BLOCKS)


def test_the_numbers_of_rules_and_failures_are_those_of_the_tables() -> None:
    rules, failures = (text.count("\n| `") for text in (blocks.rules(), blocks.failures()))
    assert f"lists all {rules} rules" in README
    assert f"lists all {failures}." in README


def rooms_of_the_package() -> set[str]:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    return folders | {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}


def test_the_architecture_names_every_room_and_no_other_ground_first() -> None:
    named = re.findall(
        r"^\| `(\w+)` \| ", (DOCS / "architecture.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(named) == sorted(rooms_of_the_package())
    floors = [min(number for number, rooms in enumerate(FLOORS) if room in rooms) for room in named[:-2]]
    assert floors == sorted(floors)
    assert named[-2:] == ["children", "library"]


@pytest.mark.parametrize("inside", sorted(PACKAGE.glob("*/*/__init__.py")), ids=lambda path: path.parent.name)
def test_the_architecture_names_every_folder_in_the_row_of_its_room(inside: Path) -> None:
    room, folder = inside.parent.parent.name, inside.parent.name
    assert re.search(rf"^\| `{room}` \| .*`{folder}`", (DOCS / "architecture.md").read_text(), re.MULTILINE)
