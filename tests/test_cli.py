"""The command line: what each command prints, and one clear message for each bad request."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trees import REPOSITORY, Result, files_below

from qtune.prepare import pipeline
from qtune.prepare.pipeline import Prepared

COMMANDS = ["init", "presets", "show", "check", "doctor", "render", "train", "data"]


def refused(result: Result, *says: str) -> None:
    """One clear message, exit code 2, no traceback."""
    assert result.code == 2, result
    assert result.err.count("error: ") == 1, result.err
    assert "fix: " in result.err and "Traceback" not in result.err
    for words in says:
        assert words in result.err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_each_command_and_explains_it(
    qtune: Callable[..., Result], tmp_path: Path, command: str
) -> None:
    assert command in qtune("--help", directory=tmp_path).out
    result = qtune(command, "--help", directory=tmp_path)
    assert result.code == 0 and f"qtune {command}" in result.out


def test_init_then_render_needs_nothing_else(qtune: Callable[..., Result], tmp_path: Path) -> None:
    assert qtune("init", "x", directory=tmp_path).code == 0
    result = qtune("render", "lora", "--hardware", "1x24GB", directory=tmp_path / "x")
    assert result.code == 0 and "qtune train" in result.err
    assert result.out.splitlines() == [
        f"rendered/lora/{n}" for n in ("train.yaml", "dataset_info.json", "launch.sh")
    ]
    assert "Qwen/Qwen2.5-0.5B-Instruct" in (tmp_path / "x/rendered/lora/train.yaml").read_text()


def test_init_refuses_a_project_and_keeps_files(qtune: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "demo.jsonl").write_text("mine")
    assert qtune("init", directory=tmp_path).code == 0
    assert (tmp_path / "data" / "demo.jsonl").read_text() == "mine"
    refused(qtune("init", directory=tmp_path), "is a project already")


def test_presets_as_table_json_and_markdown(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    root = project({"presets/ours.yaml": "about: ours\nextends: lora\ntrain: {lora_rank: 4}\n"})
    assert "stage2_offload" in qtune("presets", directory=root).out
    rows = json.loads(qtune("presets", "--json", directory=root).out)
    assert {row["name"]: row["fits"] for row in rows}["full"] == ">16 GB"
    ours = next(row for row in rows if row["name"] == "ours")
    assert (ours["file"], ours["extends"], ours["cutoff_len"]) == ("presets/ours.yaml", ["lora"], 2048)
    assert qtune("presets", "--markdown", directory=root).out.startswith("| preset | group | method |")


def test_show_says_where_each_value_comes_from(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    root = project()
    plain = qtune("show", "stage3", "--hardware", "cpu", directory=root).out
    assert "  learning_rate: 0.0001\n" in plain and "    device: cpu\n" in plain and "#" not in plain
    origin = qtune("show", "stage3", "--origin", "-s", "lora_rank=4", "--hardware", "cpu", directory=root).out
    assert "  lora_rank: 4  # --set\n" in origin
    assert "  cutoff_len: 1536  # stage3 (qtune/presets/stage3.yaml:9)\n" in origin
    assert "  use_cpu: true  # auto from cpu (qtune/presets/base.yaml:" in origin
    values = json.loads(qtune("show", "stage3", "--json", "--origin", directory=root).out)
    assert values["zero"]["offload_param.device"]["layer"] == "stage3"


def test_check_reports_all_presets_at_once(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    root = project({"presets/bad.yaml": "extends: lora\ntrain: {nope: 1}\n", "presets/broken.yaml": "a: [\n"})
    result = qtune("check", directory=root)
    assert result.code == 2
    assert "presets/bad.yaml:2 nope:" in result.err and "presets/broken.yaml:1: broken YAML" in result.err
    good = result.out.splitlines()[0].removeprefix("ok: ").split(", ")
    assert {"deepspeed", "full", "lora", "minimal", "qlora", "stage2_offload", "stage3"} <= {*good}
    found = json.loads(qtune("check", "--json", "bad", "lora", directory=root).out)
    assert (found["lora"], found["bad"][0]["where"]) == ([], "presets/bad.yaml:2")
    refused_by_rule = json.loads(
        qtune("check", "--json", "lora", "-s", "fp16=true", "-s", "bf16=true", directory=root).out
    )
    assert all(finding["rule"] and finding["source"] for finding in refused_by_rule["lora"])
    assert "rendered" not in {path.split("/")[0] for path in files_below(root)}


def test_data_list_shows_rows_and_what_is_wrong(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    root = project({"data/datasets.yaml": "rows: {file_name: rows.jsonl}\ngone: {file_name: gone.jsonl}\n"})
    result = qtune("data", "list", directory=root)
    assert (
        result.code == 0
        and "10" in result.out
        and "data/datasets.yaml:2 gone.file_name: there is no file" in result.err
    )
    rows = json.loads(qtune("data", "list", "--json", directory=root).out)
    assert [row["rows"] for row in rows] == [10, None]


def test_another_toolkits_name_works_with_set(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    root = project()
    assert "  lora_rank: 4\n" in qtune("show", "lora", "-s", "lora_r=4", directory=root).out


BAD_REQUESTS: list[tuple[dict[str, str], list[str], list[str]]] = [
    ({}, ["render", "stge3"], ["no preset `stge3`", "`stage3`"]),
    (
        {"presets/x.yaml": "extends: lora\ntrain:\n  lora_rnk: 1\n"},
        ["render", "x"],
        ["presets/x.yaml:3", "`lora_rank`"],
    ),
    (
        {"presets/x.yaml": "extends: lora\ntrain:\n  lora_rank: big\n"},
        ["render", "x"],
        ["x.yaml:3", "an integer"],
    ),
    ({"presets/x.yaml": "train:\n  a: 1\n b: 2\n"}, ["render", "x"], ["presets/x.yaml:3", "broken YAML"]),
    ({"presets/x.yaml": "extends: y\n", "presets/y.yaml": "extends: x\n"}, ["render", "x"], ["x → y → x"]),
    ({"presets/x.yaml": "extends: lroa\n"}, ["render", "x"], ["presets/x.yaml:1", "no preset `lroa`"]),
    ({}, ["render", "lora", "-d", "nope"], ["`nope` is not registered"]),
    (
        {"data/datasets.yaml": "rows: {file_name: gone.jsonl}\n"},
        ["render", "lora"],
        ["datasets.yaml:1", "no file"],
    ),
    ({}, ["render", "lora", "-m", "./gone"], ["no model directory"]),
    ({"qtune.yaml": "train: {lora_rank: 1\n"}, ["render", "lora"], ["qtune.yaml:1", "broken YAML"]),
    ({"qtune.yaml": "presets: [gone]\n"}, ["presets"], ["qtune.yaml:1", "no directory `gone`"]),
    ({}, ["render", "lora", "--hardware", "gpu"], ["--hardware", "1x24GB"]),
    ({}, ["render", "lora", "-s", "lora_rank"], ["KEY=VALUE"]),
    ({}, ["render", "lora", "-n", "../x"], ["rendered directory name"]),
    ({}, ["train", "lora", "-n", "a b"], ["run name"]),
    ({}, ["render", "../../x"], ["preset name"]),
    ({"rendered": "a file"}, ["render", "lora"], ["rendered"]),
    ({"rendered/current": "gone\n"}, ["train"], ["no rendered rendered/gone", "qtune render PRESET -n gone"]),
    ({"rendered/current": "x\n", "rendered/x/qtune.json": "{}"}, ["train"], ["rendered/x/qtune.json"]),
    ({"rendered/current": "lora\n"}, ["train", "-s", "lora_rank=1"], ["name the preset too"]),
]


@pytest.mark.parametrize(("tree", "arguments", "says"), BAD_REQUESTS, ids=lambda value: " ".join(value))
def test_a_bad_request_is_one_clear_message_and_nothing_is_written(
    qtune: Callable[..., Result],
    project: Callable[..., Path],
    tree: dict[str, str],
    arguments: list[str],
    says: list[str],
) -> None:
    root = project(tree)
    before = files_below(root)
    refused(qtune(*arguments, directory=root), *says)
    assert files_below(root) == before


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv (util-linux) takes root's rights away")
def test_an_unreadable_directory_is_one_clear_message(project: Callable[..., Path]) -> None:
    root = project()
    (root / "presets").chmod(0)
    command = [sys.executable, "-m", "qtune", "presets"]
    if os.geteuid() == 0:  # whom permissions do not bind, until it gives that up
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    (root / "presets").chmod(0o755)
    refused(Result(done.returncode, done.stdout, done.stderr), "presets", "Permission denied")


def test_a_directory_that_is_not_there(qtune: Callable[..., Result], tmp_path: Path) -> None:
    refused(qtune("-C", "gone", "presets", directory=tmp_path), "gone", "No such file")


def test_a_defect_of_our_own_keeps_its_traceback_in_a_file(
    qtune: Callable[..., Result], project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*arguments: Any, **options: Any) -> Prepared:
        raise AssertionError("unforeseen")

    monkeypatch.setattr(pipeline, "prepare", break_down)
    result = qtune("render", "lora", directory=project())
    assert result.code == 1 and "unforeseen" in result.err and "Traceback" not in result.err
    report = Path(result.err.rpartition("please report it with ")[2].partition(",")[0])
    assert "break_down" in report.read_text()
    report.unlink()


def test_c_runs_as_if_started_there(qtune: Callable[..., Result], project: Callable[..., Path]) -> None:
    root = project()
    assert qtune("-C", str(root), "render", "lora", directory=Path("/")).code == 0
    assert (root / "rendered" / "lora" / "train.yaml").is_file()


def test_the_checkouts_own_project_passes_its_check(qtune: Callable[..., Result]) -> None:
    for hardware in ("cpu", "1x24GB", "8x80GB"):
        assert qtune("check", "--hardware", hardware, directory=REPOSITORY).code == 0
