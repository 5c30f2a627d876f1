"""The project that an import lands in: what trains is what was imported, and what does not is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from import_shapes import CHECKOUT, PACKAGES, REFUSED, SHAPES
from trees import Result, files_below, write_tree

from qtune.config.presets import PresetStore
from qtune.config.project import find_project
from qtune.data.registrations import names_in
from qtune.importing.reduce import names_the_method
from qtune.importing.retype import retyped
from qtune.machine.hardware import parse_hardware
from qtune.prepare.pipeline import resolve
from qtune.schema import Argument, arguments

Qtune = Callable[..., Result]
THEIRS = """\
model_name_or_path: Qwen/Qwen3-1.7B-Base
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
dataset: who
template: qwen
val_size: 0.1
"""
# What a rendered config has in place of the original's, and what qtune adds to any training.
QTUNES_OWN = {"output_dir", "dataset_dir", "deepspeed", "overwrite_output_dir", "enable_jit_checkpoint"}


@pytest.fixture
def root(tmp_path: Path, qtune: Qtune) -> Path:
    """A project as `init` makes it, beside a checkout with configs of others."""
    write_tree(tmp_path / "theirs", CHECKOUT)
    root = tmp_path / "ours"
    assert qtune("init", str(root), directory=tmp_path).code == 0
    return root


def brought(qtune: Qtune, root: Path, text: str = THEIRS) -> Result:
    """Import a config of the checkout as the preset `imp`."""
    write_tree(root.parent / "theirs", {"configs/train.yaml": text})
    done = qtune("import", "../theirs/configs/train.yaml", "-n", "imp", directory=root)
    assert done.code == 0, done.err
    return done


def preset(root: Path, name: str = "imp") -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((root / f"presets/{name}.yaml").read_text("utf-8"))
    return content


def rendered(qtune: Qtune, root: Path, *options: str) -> dict[str, Any]:
    done = qtune("render", "imp", "--hardware", "1x80GB", *options, directory=root)
    assert done.code == 0, done.err
    values: dict[str, Any] = yaml.safe_load((root / "rendered/imp/train.yaml").read_text("utf-8"))
    return values


# ── a fresh project ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [*SHAPES, *PACKAGES])
def test_what_the_examples_say_is_what_is_rendered(qtune: Qtune, root: Path, name: str) -> None:
    text = {**SHAPES, **PACKAGES}[name]
    brought(qtune, root, text)
    said = {key: value for key, value in yaml.safe_load(text).items() if key not in QTUNES_OWN}
    if "warmup_ratio" in said:
        said["warmup_steps"] = said.pop("warmup_ratio")
    got = {key: value for key, value in rendered(qtune, root).items() if key not in QTUNES_OWN}
    assert Path(got.pop("media_dir")) == root.parent / "theirs/data"
    for key in {**said, **got}:
        wanted = said.get(key, arguments()[key].default)
        if key in ("dataset", "eval_dataset"):
            assert names_in(got.get(key)) == names_in(wanted), key
        else:
            value = got.get(key, arguments()[key].default)
            assert value == retyped(arguments()[key], wanted), key


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_release_has_is_one_line(qtune: Qtune, root: Path, name: str) -> None:
    text, says = REFUSED[name]
    write_tree(root.parent / "theirs", {"configs/train.yaml": text})
    before = files_below(root)
    done = qtune("import", "../theirs/configs/train.yaml", "-n", "imp", directory=root)
    assert done.code == 2 and files_below(root) == before
    assert done.err.count("error: ") == 1 and says in done.err, done.err


def test_the_demo_gives_way_without_a_word(qtune: Qtune, root: Path) -> None:
    assert "qtune.yaml" not in brought(qtune, root).err
    checked = qtune("check", "imp", "--hardware", "1x80GB", directory=root)
    assert (checked.code, checked.out, checked.err) == (0, "ok: imp\n", "")
    train = rendered(qtune, root)
    assert (train["model_name_or_path"], train["dataset"]) == ("Qwen/Qwen3-1.7B-Base", "who")
    assert (train["val_size"], train["lora_rank"]) == (0.1, 8)
    assert "eval_dataset" not in train


def other_than_default(argument: Argument) -> Any:
    """A value that the argument takes, and not where nothing is said."""
    of_type = {
        "bool": not argument.default,
        "int": 3,
        "float": 0.25,
        "str": "x",
        "list": ["x"],
        "dict": {"x": 1},
    }
    values = [*(argument.choices or ()), *(of_type[name] for name in argument.types)]
    return next(value for value in values if value != argument.default)


def beyond_defaults(train: dict[str, Any]) -> dict[str, Any]:
    known = arguments()
    return {name: value for name, value in train.items() if name in known and value != known[name].default}


def test_no_default_of_the_project_adds_to_a_whole_config(qtune: Qtune, root: Path) -> None:
    """Every argument there is among the defaults, and one that nobody knows."""
    defaults = {
        name: other_than_default(argument) for name, argument in arguments().items() if argument.types
    }
    project = {"defaults": {**defaults, "nobodys": 1}}
    (root / "qtune.yaml").write_text(yaml.safe_dump(project), encoding="utf-8")
    text = THEIRS.replace("val_size: 0.1", "lr_scheduler_kwargs: {min_lr: 0.1}")
    assert "says otherwise" not in brought(qtune, root, text).err
    assert "nobodys" not in preset(root)["train"]
    config = resolve("imp", find_project(root), parse_hardware("1x80GB"))
    got, said = map(beyond_defaults, (config.block("train"), yaml.safe_load(text)))
    assert got.pop("media_dir") == str(root.parent / "theirs/data")
    assert got.pop("enable_jit_checkpoint") and got == said


def test_a_config_without_data_trains_none_of_the_project(qtune: Qtune, root: Path) -> None:
    brought(qtune, root, THEIRS.replace("dataset: who\n", ""))
    done = qtune("render", "imp", "--hardware", "1x80GB", directory=root)
    assert done.code == 2 and "no dataset is named" in done.err


def test_what_the_defaults_say_too_is_written_for_they_may_change(qtune: Qtune, root: Path) -> None:
    model = yaml.safe_load((root / "qtune.yaml").read_text("utf-8"))["defaults"]["model_name_or_path"]
    brought(qtune, root, THEIRS.replace("Qwen/Qwen3-1.7B-Base", model))
    assert preset(root)["train"]["model_name_or_path"] == model


def test_a_registry_on_the_hub_is_one_finding_and_no_directory(qtune: Qtune, root: Path) -> None:
    text = THEIRS.replace("who", "one,two") + "dataset_dir: REMOTE:us/our_data\n"
    err = brought(qtune, root, text).err
    assert "dataset: `one`, `two` are not registered here, and the hub's us/our_data is not asked" in err
    assert err.count("warning: ") == 1 and preset(root)["train"]["media_dir"] is None
    (root / "presets/imp.yaml").unlink()
    done = brought(qtune, root, text.replace("REMOTE:us/our_data", "ONLINE"))
    assert "warning: " not in done.err and preset(root)["train"]["media_dir"] is None
    registered = yaml.safe_load((root / "data/datasets.yaml").read_text("utf-8"))
    assert registered["one"] == {"hf_hub_url": "one"}


def test_a_name_that_only_the_project_knows_is_said_to_be_its_own(qtune: Qtune, root: Path) -> None:
    """Theirs may be other data of the same name; that it goes unevaluated holds for it too."""
    text = THEIRS.replace("val_size: 0.1\n", "dataset_dir: lost\n").replace("who", "demo")
    err = brought(qtune, root, text).err
    assert rendered(qtune, root).keys() & {"eval_dataset", "val_size"} == set()
    assert "dataset: `demo` is what data/datasets.yaml here says: the original's is nowhere" in err


def test_what_continues_a_run_of_the_original_is_left_out_with_a_word(qtune: Qtune, root: Path) -> None:
    err = brought(qtune, root, f"{THEIRS}resume_from_checkpoint: true\n").err
    assert "train.yaml:9 resume_from_checkpoint: left out" in err and "`qtune resume` continues one" in err
    assert "resume_from_checkpoint" not in preset(root)["train"]


def test_a_config_that_trains_nothing_is_said_to(qtune: Qtune, root: Path) -> None:
    err = brought(qtune, root, THEIRS.replace("do_train: true\n", "")).err
    assert "train.yaml do_train: is not set, and without it" in err and "fix: set do_train: true" in err
    assert preset(root)["train"]["do_train"] is None


# ── what names the method ──────────────────────────────────────────────────────────────────────────────


def test_the_method_is_written_and_no_parent_changes_it(qtune: Qtune, root: Path) -> None:
    more = "lora_target: all\nlora_alpha: null\ncutoff_len: 2048\nlearning_rate: 5.0e-5\n"
    brought(qtune, root, THEIRS + more)
    said = preset(root)["train"]
    assert (said["stage"], said["finetuning_type"], said["lora_target"]) == ("sft", "lora", "all")
    assert (said["lora_rank"], said["cutoff_len"], said["learning_rate"]) == (8, 2048, 5e-5)
    path = root / "presets/imp.yaml"
    path.write_text(f"extends: [dora, full, style_large]\n{path.read_text('utf-8')}", encoding="utf-8")
    train = rendered(qtune, root)
    assert {key: train.get(key) for key in said} == said


def test_whatever_a_preset_of_qtune_sets_is_written_where_the_original_says_it(tmp_path: Path) -> None:
    store = PresetStore((), tmp_path)
    paths = {path for name in store.names() for path in store.load(name).layer.values if path[0] == "train"}
    assert [path for path in paths if not names_the_method(path)] == []


# ── a project that says otherwise on purpose ───────────────────────────────────────────────────────────

ON_PURPOSE = """\
train:
  model_name_or_path: Qwen/Qwen2.5-0.5B-Instruct
  eval_dataset: demo_eval
  logging_steps: 7
  lora_rank: 8
  lr_scheduler_kwargs: {num_cycles: 2}
zero: {stage: 2}
"""


def test_what_differs_on_purpose_is_said_by_import_and_again_by_check(qtune: Qtune, root: Path) -> None:
    (root / "qtune.yaml").write_text(ON_PURPOSE, encoding="utf-8")
    text = THEIRS.replace("val_size: 0.1\n", "lr_scheduler_kwargs: {num_cycles: 2}\n")
    said = "model_name_or_path, eval_dataset, logging_steps, zero.stage: qtune.yaml says otherwise, and wins"
    err = brought(qtune, root, text).err
    assert err.count("says otherwise") == 1 and said in err
    options = "-m Qwen/Qwen3-1.7B-Base -s eval_dataset=null -s logging_steps=500 -s zero.stage=null"
    assert f"fix: take it out there, or train with {options}" in err
    # again what is trained, not how often it is logged
    for command in ("check", "render"):
        again = qtune(command, "imp", "--hardware", "1x80GB", directory=root)
        assert again.code == 0 and "ok: imp" not in again.out
        assert "model_name_or_path, eval_dataset: qtune.yaml says otherwise" in again.err
        assert "move it under `defaults:` there, or train with -m Qwen/Qwen3-1.7B-Base -s" in again.err
    answered = ("-m", "Qwen/Qwen3-1.7B-Base", "-s", "eval_dataset=null")
    assert "says otherwise" not in qtune("check", "imp", *answered, directory=root).err
    # as the fix says
    (root / "qtune.yaml").write_text(ON_PURPOSE.replace("train:", "defaults:"), encoding="utf-8")
    assert "says otherwise" not in qtune("check", "imp", directory=root).err
    train = rendered(qtune, root)
    assert (train["model_name_or_path"], train.get("eval_dataset")) == ("Qwen/Qwen3-1.7B-Base", None)


def test_auto_that_comes_to_the_same_is_not_said(qtune: Qtune, root: Path) -> None:
    brought(qtune, root, THEIRS.replace("template: qwen", "template: qwen3"))
    for template, said in (("auto", False), ("llama3", True)):
        (root / "qtune.yaml").write_text(f"train: {{template: {template}}}\n", encoding="utf-8")
        assert ("says otherwise" in qtune("check", "imp", directory=root).err) is said


def test_a_project_says_nothing_of_the_presets_that_come_with_qtune(qtune: Qtune, root: Path) -> None:
    text = "train: {model_name_or_path: a/b, dataset: demo, stage: sft, finetuning_type: full}\n"
    (root / "qtune.yaml").write_text(text, encoding="utf-8")
    assert "says otherwise" not in qtune("check", "lora", "dpo", directory=root).err
