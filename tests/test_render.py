"""Rendered files: the golden ones, the same bytes each time, nothing dropped, templates kept in place."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from trees import PRESET_NEEDS, REPOSITORY

from qtune import resources
from qtune.config.project import find_project
from qtune.config.resolve import overrides
from qtune.errors import QtuneError
from qtune.machine.hardware import parse_hardware
from qtune.prepare import pipeline, renderings
from qtune.render import files
from qtune.schema import arguments
from qtune.values import RenderedFile

GOLDEN = Path(__file__).parent / "golden"
PRESETS = sorted(path.stem for path in (REPOSITORY / "presets").glob("*.yaml") if path.stem != "base")
TWO_GPUS = ("sft_small", "sft_fast", "sft_standard", "fsdp_qlora")


def rendered(
    root: Path, preset: str = "lora", hardware: str = "1x24GB", assignments: Sequence[str] = ()
) -> dict[str, str]:
    layers = [overrides(assignments)] if assignments else []
    prepared = pipeline.prepare(preset, find_project(root), parse_hardware(hardware), layers)
    assert prepared.findings == ()
    return {file.name: file.text for file in prepared.files}


@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_renders_as_reviewed(preset: str, request: pytest.FixtureRequest) -> None:
    """Regenerate with `pytest tests/test_render.py --regenerate`, and review the diff."""
    hardware = "2x24GB" if preset in TWO_GPUS else "1x24GB"
    files = rendered(REPOSITORY, preset, hardware, PRESET_NEEDS.get(preset, ()))
    directory = GOLDEN / preset
    if request.config.getoption("--regenerate"):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for name, text in files.items():
            (directory / name).write_text(text, encoding="utf-8")
    assert files == {path.name: path.read_text(encoding="utf-8") for path in directory.iterdir()}


def test_the_same_input_gives_the_same_bytes(project: Callable[..., Path]) -> None:
    root = project()
    first, second = (pipeline.prepare("stage3", find_project(root), parse_hardware("cpu")) for _ in range(2))
    assert first.files == second.files
    assert first.manifest == second.manifest


def test_numbers_are_numbers_to_plain_yaml_and_each_line_has_its_origin(project: Callable[..., Path]) -> None:
    text = rendered(project({"presets/x.yaml": "extends: lora\ntrain:\n  learning_rate: 1e-5\n"}), "x")[
        "train.yaml"
    ]
    assert yaml.safe_load(text)["learning_rate"] == 1e-05
    (line,) = (line for line in text.splitlines() if line.startswith("learning_rate"))
    assert line.endswith("# x (presets/x.yaml:3)")
    values = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all("  # " in line for line in values)


def test_zero_json_is_there_exactly_where_zero_is_on(project: Callable[..., Path]) -> None:
    root = project({"presets/off.yaml": "extends: stage3\nzero: {stage: 0}\n"})
    assert (
        "zero.json" not in rendered(root, "off") and "deepspeed:" not in rendered(root, "off")["train.yaml"]
    )
    document = json.loads(rendered(root, "stage3")["zero.json"])
    assert document["zero_optimization"]["offload_param"] == {"device": "cpu", "pin_memory": True}
    assert "deepspeed: rendered/stage3/zero.json" in rendered(root, "stage3")["train.yaml"]


def test_a_switch_from_zero_removes_the_old_file(project: Callable[..., Path]) -> None:
    root = project()
    for preset in ("stage3", "lora"):
        prepared = pipeline.prepare(preset, find_project(root), parse_hardware("cpu"), name="mine")
        directory = pipeline.write(prepared)
    assert sorted(path.name for path in directory.iterdir()) == [
        "dataset_info.json",
        "launch.sh",
        "qtune.json",
        "train.yaml",
    ]


def test_every_section_holds_what_people_look_for_there() -> None:
    wanted = {
        "model_name_or_path": "model",
        "finetuning_type": "method",
        "do_train": "method",
        "dataset": "dataset",
        "output_dir": "output",
        "save_steps": "output",
        "learning_rate": "train",
        "deepspeed": "train",
        "eval_dataset": "eval",
        "eval_steps": "eval",
        "per_device_eval_batch_size": "eval",
    }
    assert {key: files.section_of(key) for key in wanted} == wanted
    assert all(files.section_of(name) for name in arguments())


def test_launch_sh_is_a_script_that_bash_accepts_and_that_finds_its_root(
    project: Callable[..., Path],
) -> None:
    root = project()
    pipeline.write(pipeline.prepare("stage3", find_project(root), parse_hardware("cpu")))
    script = root / "rendered" / "stage3" / "launch.sh"
    stand_in = root / "bin" / "llamafactory-cli"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\npwd -P; echo "$FORCE_TORCHRUN $NPROC_PER_NODE"; echo "$@"\n')
    stand_in.chmod(0o755)
    done = subprocess.run(
        [script, "output_dir=a b"],
        cwd="/",
        env={"PATH": f"{stand_in.parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [
        str(root.resolve()),
        "1 1",
        "train rendered/stage3/train.yaml output_dir=a b",
    ]


def with_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    """The built-in resources with one template replaced."""
    share = tmp_path / "share"
    for part in ("templates", "presets", "data"):
        shutil.copytree(REPOSITORY / part, share / part)
    (share / "templates" / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(resources, "root", lambda: share)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("learning_rate: 1.0e-4\n", "changes what was to be written"),
        ("{% for section in sections %}{{ nobody }}{% endfor %}", "'nobody' is undefined"),
        ("{{ name.__class__.__mro__ }}", "unsafe"),
        ("{{ sections.clear() }}", "unsafe"),
        ("{% include '../presets/base.yaml' %}", "fails"),
        ("{% for %}", "broken template"),
        ("{% for x in range(999999999) %}x{% endfor %}", "too big"),
        ("a: [", "broken YAML"),
    ],
)
def test_a_template_that_drops_values_or_reaches_out_is_refused(
    project: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    with_template(tmp_path, monkeypatch, "train.yaml.j2", text)
    with pytest.raises(QtuneError) as raised:
        rendered(project())
    assert says in str(raised.value) and "templates/train.yaml.j2" in str(raised.value.where)


def test_text_cannot_break_out_of_its_line(project: Callable[..., Path]) -> None:
    about = 'about: "x\\nlearning_rate: 9"\n'
    hostile = 'train: {model_revision: "a # b: c\\nseed: 9", run_name: "$(id) `id` {{ 7*7 }}"}\n'
    files = rendered(project({"presets/x.yaml": f"extends: lora\n{about}{hostile}"}), "x")
    values = yaml.safe_load(files["train.yaml"])
    assert values["learning_rate"] == 1e-4 and "seed" not in values
    assert values["run_name"] == "$(id) `id` {{ 7*7 }}"


def test_a_finding_leaves_nothing_to_write(project: Callable[..., Path]) -> None:
    root = project({"presets/x.yaml": "extends: lora\ntrain: {nope: 1}\n"})
    assert pipeline.prepare("x", find_project(root), parse_hardware("cpu")).files == ()


def test_edits_by_hand_are_taken_and_named(project: Callable[..., Path]) -> None:
    root = project()
    directory = pipeline.write(pipeline.prepare("stage3", find_project(root), parse_hardware("cpu")))
    path = directory / "train.yaml"
    lines = path.read_text().splitlines()
    number = next(n for n, line in enumerate(lines) if line.startswith("learning_rate"))
    lines[number] = "learning_rate: 3e-4"
    lines = [line for line in lines if not line.startswith("lora_rank")]
    path.write_text("\n".join(lines))
    zero = directory / "zero.json"
    zero.write_text(zero.read_text().replace('"device": "cpu"', '"device": "none"'))
    config = renderings.read(find_project(root), "stage3").config
    assert config.get("train", "learning_rate") == 3e-4
    assert config.get("train", "lora_rank") is None
    assert config.get("zero", "offload_param", "device") == "none"
    found = config.find("train", "learning_rate")
    assert found and found.origin.place.startswith("rendered/stage3/train.yaml:")


def test_an_untouched_rendered_directory_reads_back_as_it_was(project: Callable[..., Path]) -> None:
    root = project()
    prepared = pipeline.prepare("stage3", find_project(root), parse_hardware("8x80GB"))
    pipeline.write(prepared)
    again = renderings.read(find_project(root), "stage3")
    assert again.config.values == prepared.config.values
    assert (again.hardware, again.plan, again.findings) == (prepared.hardware, prepared.plan, ())
    assert [RenderedFile(file.name, file.text) for file in again.files] == list(prepared.files)
    assert renderings.stale_layers(again) == []


def test_a_changed_layer_makes_the_rendered_directory_stale(project: Callable[..., Path]) -> None:
    root = project()
    pipeline.write(pipeline.prepare("lora", find_project(root), parse_hardware("cpu")))
    with (root / "qtune.yaml").open("a") as stream:
        stream.write("# changed\n")
    assert renderings.stale_layers(renderings.read(find_project(root), "lora")) == ["qtune.yaml"]
