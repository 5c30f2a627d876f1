"""`show KEY` explains one value; `copy` starts a preset of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from trees import REPOSITORY, Result, write_tree

from qtune.config.own import with_preset_directory
from qtune.config.project import find_project
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline


def test_a_key_is_explained_with_every_layer_that_set_it(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    result = qtune("show", "minimal", "lora_rank", "-s", "lora_rank=2", directory=project())
    assert result.out.splitlines() == [
        "lora_rank: 2  # --set",
        "set by, the last one wins:",
        "  64  # lora (qtune/presets/lora.yaml:9)",
        "  8  # minimal (qtune/presets/minimal.yaml:11)",
        "  2  # --set",
        "help:    The intrinsic dimension for LoRA fine-tuning.",
        "type:    int",
        "default: 8",
    ]


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("lora_r", "lora_rank: 64"),
        ("zero.offload_param.device", "choices: none, cpu, nvme"),
        ("zero.offload_param", "zero.offload_param: {device: cpu, pin_memory: true}"),
        ("seed", "not set, so the library's default holds: 42"),
        ("eval_steps", "removed"),
        ("launch.nproc_per_node", "auto from cpu"),
    ],
)
def test_any_block_and_another_toolkits_name_can_be_asked_for(
    qtune: Callable[..., Result], project: Callable[..., Path], key: str, says: str
) -> None:
    result = qtune("show", "stage3", key, "--hardware", "cpu", directory=project())
    assert result.code == 0 and says in result.out


def test_a_key_as_json(qtune: Callable[..., Result], project: Callable[..., Path]) -> None:
    explained = json.loads(qtune("show", "stage3", "cutoff_len", "--json", directory=project()).out)
    assert [layer["value"] for layer in explained["layers"]] == [2048, 1536]
    assert (explained["default"], explained["types"]) == (2048, ["int"])


@pytest.mark.parametrize("key", ["lora_rnk", "zero.stge", "nonsense", "zero.offload_param.nope"])
def test_a_key_nobody_knows_is_refused(
    qtune: Callable[..., Result], project: Callable[..., Path], key: str
) -> None:
    result = qtune("show", "stage3", key, directory=project())
    assert result.code == 2 and "no argument" in result.err and "fix: " in result.err


def test_a_copy_means_the_same_until_it_is_edited(qtune: Callable[..., Result], tmp_path: Path) -> None:
    qtune("init", ".", directory=tmp_path)
    before = (tmp_path / "qtune.yaml").read_text()
    assert qtune("copy", "stage3", "ours", directory=tmp_path).out == "presets/ours.yaml\n"
    after = (tmp_path / "qtune.yaml").read_text()
    assert after.replace("presets: [presets]\n", "", 1) == before
    project = find_project(tmp_path)
    ours, theirs = (pipeline.resolve(name, project, Hardware()).block("train") for name in ("ours", "stage3"))
    assert ours == theirs
    path = tmp_path / "presets" / "ours.yaml"
    path.write_text(path.read_text().replace("  # cutoff_len: 1536", "  cutoff_len: 99"))
    assert pipeline.resolve("ours", find_project(tmp_path), Hardware()).get("train", "cutoff_len") == 99


def test_a_copy_of_the_same_name_extends_the_one_it_hides(
    qtune: Callable[..., Result], tmp_path: Path
) -> None:
    qtune("init", ".", directory=tmp_path)
    assert qtune("copy", "lora", "lora", directory=tmp_path).code == 0
    assert "extends: qtune/lora\n" in (tmp_path / "presets" / "lora.yaml").read_text()
    assert qtune("check", "lora", directory=tmp_path).out == "ok: lora\n"


def test_every_line_of_a_copy_can_be_taken(qtune: Callable[..., Result], tmp_path: Path) -> None:
    qtune("init", ".", directory=tmp_path)
    qtune("copy", "stage3", "ours", directory=tmp_path)
    path = tmp_path / "presets" / "ours.yaml"
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join(line.replace("# ", "", 1) for line in lines if not line.startswith(("# What", "# yaml")))
    )
    assert qtune("check", "ours", directory=tmp_path).out == "ok: ours\n"


@pytest.mark.parametrize(
    ("tree", "name", "says"),
    [
        ({"presets/ours.yaml": ""}, "ours", "is there already"),
        ({}, "../x", "preset name"),
        ({}, "base", "choose another name"),
        ({"qtune.yaml": "presets: []\n"}, "ours", "qtune.yaml:1"),
    ],
)
def test_a_copy_that_would_overwrite_or_be_lost_is_refused(
    qtune: Callable[..., Result], project: Callable[..., Path], tree: dict[str, str], name: str, says: str
) -> None:
    result = qtune("copy", "lora", name, directory=project(tree))
    assert result.code == 2 and says in result.err


def test_a_copy_needs_a_project(qtune: Callable[..., Result], tmp_path: Path) -> None:
    assert "qtune init" in qtune("copy", "lora", "x", directory=tmp_path).err


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "# head\n\ntrain:\n  seed: 1\n# tail\n", "runs: r"]
)
def test_the_preset_directory_is_listed_once_and_comments_stay(text: str) -> None:
    listed = with_preset_directory(text)
    assert yaml.safe_load(listed) == {"presets": ["presets"], **(yaml.safe_load(text) or {})}
    assert [line for line in listed.splitlines() if line.startswith("#")] == [
        line for line in text.splitlines() if line.startswith("#")
    ]


def test_a_preset_beside_qtune_yaml_is_found_without_being_listed(
    qtune: Callable[..., Result], project: Callable[..., Path], tmp_path: Path
) -> None:
    """What a first hour tries: a file in presets/, and its name."""
    ours = "extends: lora\ntrain: {cutoff_len: 99}\n"
    root = project({"qtune.yaml": "runs: runs\n", "presets/ours.yaml": ours})
    shown = qtune("show", "ours", "--origin", directory=root)
    assert shown.code == 0 and "cutoff_len: 99  # ours (presets/ours.yaml:2)\n" in shown.out
    # it is the project's own, which may ask for more than training
    (root / "presets/ours.yaml").write_text(f"{ours}launch: {{master_addr: 10.0.0.1}}\n")
    assert qtune("show", "ours", directory=root).code == 0
    # a list is all that is searched
    (tmp_path / "team").mkdir()
    (root / "qtune.yaml").write_text("presets: [../team]\n")
    refused = qtune("show", "ours", directory=root)
    assert refused.code == 2 and "list its directory in qtune.yaml: `presets: [presets, …]`" in refused.err
    (root / "qtune.yaml").write_text("presets: []\n")
    assert qtune("show", "ours", directory=root).code == 2
    # nor is a directory a project that has no qtune.yaml
    (root / "qtune.yaml").unlink()
    assert qtune("show", "ours", directory=root).code == 2


def test_a_directory_that_is_a_link_to_others_is_not_the_projects_own(
    qtune: Callable[..., Result], project: Callable[..., Path], tmp_path: Path
) -> None:
    write_tree(tmp_path, {"theirs/near.yaml": "extends: lora\nlaunch: {master_addr: 10.0.0.1}\n"})
    root = project({"qtune.yaml": "runs: runs\n"})
    (root / "presets/.keep").unlink()
    (root / "presets").rmdir()
    (root / "presets").symlink_to(tmp_path / "theirs")
    refused = qtune("show", "near", directory=root)
    assert refused.code == 2 and "which presets from others may not ask for" in refused.err


def test_the_checkouts_own_presets_are_the_built_in_ones() -> None:
    assert find_project(REPOSITORY).entries == ()
