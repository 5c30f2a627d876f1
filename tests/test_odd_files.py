"""One odd file among presets costs one line that names it; the others are there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from trees import TINY_MODEL, Result, write_tree

from qtune import files
from qtune.cli import complete
from qtune.config import presets
from qtune.data import peek
from qtune.data.reading.row_counts import count_rows
from qtune.errors import QtuneError
from qtune.files import MAX_BYTES, MAX_DEPTH, from_json, parse_yaml, read_object

PROJECT = f"presets: [../near]\ntrain: {{model_name_or_path: {TINY_MODEL}, dataset: rows}}\n"
GOOD = "about: house style\nextends: lora\n"


@pytest.fixture
def near(tmp_path: Path) -> Path:
    """A directory of presets of others, with one good one."""
    return write_tree(tmp_path / "near", {"good.yaml": GOOD})


@pytest.fixture
def root(project: Callable[..., Path]) -> Path:
    return project({"qtune.yaml": PROJECT})


def deep(levels: int) -> list[str]:
    """The same depth in each of YAML's ways to write it."""
    return [
        "a: " + "[" * levels + "]" * levels,
        "- " * (levels + 1) + "x",
        "? " * (levels + 1) + "x",
        "{a: " * (levels + 1) + "x" + "}" * (levels + 1),
        "".join(f"{' ' * level}a:\n" for level in range(levels + 1)),
    ]


def odd_files(near: Path) -> dict[str, str]:
    """One file of each kind, and what is said of it."""
    write_tree(near.parent, {"elsewhere/out.yaml": GOOD})
    write_tree(near, {"two words.yaml": GOOD, "._good.yaml": "\0", "line\nbreak.yaml": GOOD})
    (near / "directory.yaml").mkdir()
    os.mkfifo(near / "pipe.yaml")
    (near / "dangling.yaml").symlink_to("nowhere")
    (near / "circle.yaml").symlink_to("circle.yaml")
    (near / "leading_out.yaml").symlink_to("../elsewhere/out.yaml")
    no_name, no_link = "has a name that no preset can have", "is a link that leads to no file here"
    return {
        "two words.yaml": no_name,
        "._good.yaml": no_name,
        "line\\nbreak.yaml": no_name,
        "directory.yaml": "is a directory",
        "pipe.yaml": "is no regular file",
        "dangling.yaml": no_link,
        "circle.yaml": no_link,
        "leading_out.yaml": no_link,
    }


def test_what_is_no_preset_costs_a_line_and_the_catalogue_goes_on(
    qtune: Callable[..., Result], near: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [f"left out: ../near/{name}: {what}, and is no preset" for name, what in odd_files(near).items()]
    listed = qtune("presets", directory=root)
    assert listed.code == 0 and "good" in listed.out and "stage3" in listed.out
    assert sorted(line for line in listed.err.splitlines() if "left out" in line) == sorted(said)
    checked = qtune("check", directory=root)
    assert checked.code == 0 and "ok: " in checked.out and "good" in checked.out
    assert sorted(line for line in checked.err.splitlines() if "left out" in line) == sorted(said)
    monkeypatch.chdir(root)
    assert complete.preset_names("goo") == ["good"]


def test_a_preset_that_cannot_be_read_costs_a_line_and_a_finding(
    qtune: Callable[..., Result], near: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(
        near,
        {
            "large.yaml": "#" * (MAX_BYTES + 1),
            "deep.yaml": "train: " + "[" * 60 + "]" * 60,
            "broken.yaml": "train: [",
            "child.yaml": "extends: broken\n",
            "closed.yaml": GOOD,
        },
    )
    read = files.read_yaml

    def closed_to_us(path: Path, display: str | None = None) -> files.Document:
        if path.name == "closed.yaml":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, display)

    monkeypatch.setattr(presets, "read_yaml", closed_to_us)
    listed = qtune("presets", "--json", directory=root)
    assert listed.code == 0
    names = {row["name"] for row in json.loads(listed.out)}
    assert "good" in names and not names & {"large", "deep", "broken", "child", "closed"}
    lines = listed.err.splitlines()
    for name, what in (
        ("large.yaml", "is larger than 1,000,000 bytes"),
        ("deep.yaml:1", f"is nested deeper than {MAX_DEPTH} levels"),
        ("broken.yaml:1", "broken YAML"),
        ("closed.yaml", "cannot be read (Permission denied)"),
    ):
        assert any(line.startswith(f"left out: ../near/{name}: {what}") for line in lines), lines
    assert sum("broken.yaml" in line for line in lines) == 1  # once, also for the one that extends it
    checked = qtune("check", directory=root)
    assert checked.code == 2 and "../near/large.yaml: is larger" in checked.err
    assert "good" in checked.out
    estimated = qtune("estimate", "--all", "--hardware", "cpu", directory=root)
    assert estimated.code == 0 and "not for this: large (is larger" in estimated.out


@pytest.mark.parametrize("text", deep(MAX_DEPTH + 1))
def test_depth_is_counted_before_anything_is_built(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*arguments: object) -> None:
        raise AssertionError("was composed")

    monkeypatch.setattr(files._Loader, "get_single_node", build)
    with pytest.raises(QtuneError, match=f"is nested deeper than {MAX_DEPTH} levels") as caught:
        parse_yaml(text, "x.yaml")
    assert str(caught.value.where).startswith("x.yaml:")


@pytest.mark.parametrize("text", deep(MAX_DEPTH - 1))
def test_what_is_less_deep_is_read(text: str) -> None:
    if not text.startswith("? "):  # a key has to be text
        assert parse_yaml(text, "x.yaml")[0]


def test_extends_is_followed_so_far_and_no_further(
    qtune: Callable[..., Result], near: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presets, "MAX_EXTENDS", 5)
    write_tree(near, {f"p{number}.yaml": f"extends: p{number + 1}\n" for number in range(7)})
    write_tree(near, {"p7.yaml": "extends: lora\n"})
    result = qtune("show", "p0", directory=root)
    assert result.code == 2 and "p5.yaml:1: `extends` is followed further than 5 presets" in result.err
    assert qtune("show", "p5", directory=root).code == 0
    assert "left out: ../near/p5.yaml:1: `extends`" in qtune("presets", directory=root).err


def test_json_too_deep_for_python_is_no_json(tmp_path: Path) -> None:
    text = "[" * 2000 + "]" * 2000
    with pytest.raises(ValueError, match="nested too deep"):
        from_json(text)
    write_tree(tmp_path, {"config.json": text, "rows.json": f"[{text}]"})
    assert read_object(tmp_path / "config.json") == {}
    with pytest.raises(QtuneError, match="nested too deep"):
        peek.first_row(tmp_path / "rows.json")
    assert count_rows([tmp_path / "rows.json"]) == 0


def test_no_pipe_is_opened_for_an_object(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    assert read_object(tmp_path / "config.json") == {}
