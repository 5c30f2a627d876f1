"""Layers to config: extends, precedence, origins, --set, `auto`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trees import REPOSITORY

from qtune.config.auto import Known, auto_layer
from qtune.config.presets import PresetStore
from qtune.config.project import find_project
from qtune.config.resolve import merge, overrides
from qtune.errors import QtuneError
from qtune.files import leaves
from qtune.machine.hardware import Hardware, parse_hardware
from qtune.prepare import pipeline
from qtune.values import Config, Layer, Origin, Value

CPU, ONE, EIGHT = (parse_hardware(text) for text in ("cpu", "1x24GB", "8x80GB"))
BUILT_IN = sorted(path.stem for path in (REPOSITORY / "presets").glob("*.yaml") if path.stem != "base")
EVERYDAY = ["full", "deepspeed", "lora", "stage2_offload", "qlora", "stage3", "minimal"]


def layer(name: str, **blocks: Any) -> Layer:
    return Layer(name, {path: Value(value, Origin(name)) for path, value in leaves(blocks)})


def resolved(name: str, hardware: Hardware = CPU, **train: Any) -> Config:
    """A built-in preset as a project without qtune.yaml would have it, with more train values."""
    return pipeline.resolve(
        name, find_project(Path("/")), hardware, [layer("test", train=train)] if train else []
    )


def test_later_layers_win_and_keep_their_origin() -> None:
    config = merge("x", [layer("low", train={"a": 1, "b": 2}), layer("high", train={"b": 3})])
    assert config.block("train") == {"a": 1, "b": 3}
    assert config.find("train", "b") == Value(3, Origin("high"))


def test_mappings_merge_and_lists_replace() -> None:
    low = layer("low", zero={"offload_param": {"device": "cpu", "pin_memory": True}}, train={"l": [1, 2]})
    high = layer("high", zero={"offload_param": {"device": "nvme"}}, train={"l": [3]})
    config = merge("x", [low, high])
    assert config.block("zero") == {"offload_param": {"device": "nvme", "pin_memory": True}}
    assert config.block("train") == {"l": [3]}


def test_null_removes_a_key_and_all_below_it() -> None:
    low = layer("low", zero={"stage": 3, "offload_param": {"device": "cpu"}})
    config = merge("x", [low, layer("high", zero={"offload_param": None})])
    assert config.block("zero") == {"stage": 3}


def test_null_is_kept_where_it_says_something_that_leaving_it_out_does_not() -> None:
    low = layer("low", train={"enable_thinking": True, "template": "qwen3"})
    config = merge("x", [low, layer("high", train={"enable_thinking": None})])
    assert config.block("train") == {"enable_thinking": None, "template": "qwen3"}
    assert config.argument("enable_thinking") is None


def test_a_scalar_replaces_a_mapping_and_the_other_way_round() -> None:
    mapping, scalar = layer("m", train={"k": {"a": 1}}), layer("s", train={"k": "text"})
    assert merge("x", [mapping, scalar]).block("train") == {"k": "text"}
    assert merge("x", [scalar, mapping]).block("train") == {"k": {"a": 1}}


def test_extends_merges_parents_in_order_and_the_project_wins(project: Callable[..., Path]) -> None:
    root = project(
        {
            "presets/one.yaml": "extends: lora\ntrain: {lora_rank: 1, seed: 1}\n",
            "presets/two.yaml": "extends: lora\ntrain: {lora_rank: 2}\n",
            "presets/both.yaml": "extends: [one, two]\ntrain: {cutoff_len: 7}\n",
            "qtune.yaml": "presets: [presets]\ntrain: {cutoff_len: 9}\n",
        }
    )
    config = pipeline.resolve("both", find_project(root), CPU)
    train = config.block("train")
    assert (train["lora_rank"], train["seed"], train["cutoff_len"]) == (2, 1, 9)
    assert [item.name for item in config.layers] == ["base", "lora", "one", "two", "both", "project", "auto"]
    assert str(config.origin("train", "lora_rank")) == "two (presets/two.yaml:2)"


def test_a_circle_is_named_with_its_line(project: Callable[..., Path]) -> None:
    root = project({"presets/a.yaml": "extends: b\n", "presets/b.yaml": "about: x\nextends: a\n"})
    with pytest.raises(QtuneError) as raised:
        find_project(root).store.chain("a")
    assert "a → b → a" in raised.value.what and raised.value.where == "presets/b.yaml:2"


def test_a_projects_preset_comes_before_the_built_in_one(project: Callable[..., Path]) -> None:
    root = project({"presets/lora.yaml": "train: {lora_rank: 3}\n"})
    assert pipeline.resolve("lora", find_project(root), CPU).get("train", "lora_rank") == 3


@pytest.mark.parametrize("name", ["../lora", "a b", "", ".hidden", "x" * 200])
def test_names_that_are_no_file_names_are_refused(name: str) -> None:
    with pytest.raises(QtuneError, match="preset name"):
        PresetStore([], Path("/")).load(name)


def test_the_catalogue_begins_with_the_everyday_presets_most_memory_first() -> None:
    store = PresetStore([], Path("/"))
    assert store.names() == BUILT_IN
    assert [preset.name for preset in store.catalogue()][:7] == EVERYDAY


@pytest.mark.parametrize("name", BUILT_IN)
def test_no_preset_copies_what_it_inherits(name: str) -> None:
    *parents, own = (preset.layer for preset in PresetStore([], Path("/")).chain(name))
    inherited = merge(name, parents)
    assert [path for path, value in own.values.items() if inherited.get(*path) == value.value] == []


@pytest.mark.parametrize("name", BUILT_IN)
def test_step_down_leads_to_a_preset_without_circles(name: str) -> None:
    store, seen = PresetStore([], Path("/")), [name]
    while (following := store.load(seen[-1]).step_down) is not None:
        assert following not in seen
        seen.append(following)
    assert seen[-1] == "minimal" or (len(seen) == 1 and name not in EVERYDAY)


def test_set_reaches_every_block_and_reads_yaml() -> None:
    values = overrides(
        ["learning_rate=1e-5", "zero.offload_param.device=cpu", "launch.nproc_per_node=2", "x=null"]
    ).values
    assert {path: value.value for path, value in values.items()} == {
        ("train", "learning_rate"): 1e-5,
        ("zero", "offload_param", "device"): "cpu",
        ("launch", "nproc_per_node"): 2,
        ("train", "x"): None,
    }


def test_set_takes_another_toolkits_name() -> None:
    assert list(overrides(["lora_r=4"]).values) == [("train", "lora_rank")]


@pytest.mark.parametrize("assignment", ["lora_rank", "=1", "zero=1", "a..b=1", "x=[1"])
def test_set_refuses_what_is_no_assignment(assignment: str) -> None:
    with pytest.raises(QtuneError):
        overrides([assignment])


def test_auto_precision_and_backend_follow_the_hardware() -> None:
    def values(hardware: Hardware) -> dict[str, Any]:
        train = resolved("lora", hardware).block("train")
        return {
            key: train.get(key)
            for key in ("bf16", "fp16", "use_cpu", "ddp_backend", "dataloader_num_workers")
        }

    assert values(CPU) == dict(bf16=None, fp16=None, use_cpu=True, ddp_backend=None, dataloader_num_workers=0)
    assert resolved("stage3", CPU).get("train", "ddp_backend") == "gloo"
    assert values(ONE) == dict(bf16=True, fp16=None, use_cpu=None, ddp_backend=None, dataloader_num_workers=4)
    turing = Hardware(gpus=1, gpu_memory_gb=16, bf16=False, cores=2)
    assert values(turing) == dict(
        bf16=None, fp16=True, use_cpu=None, ddp_backend=None, dataloader_num_workers=2
    )


def test_auto_processes_are_one_a_gpu() -> None:
    assert [resolved("lora", hardware).get("launch", "nproc_per_node") for hardware in (CPU, ONE, EIGHT)] == [
        1,
        1,
        8,
    ]


def test_zero_3_over_several_cpu_processes_does_without_use_cpu() -> None:
    project = find_project(Path("/"))
    two = [layer("test", launch={"nproc_per_node": 2})]
    assert pipeline.resolve("stage3", project, CPU, two).get("train", "use_cpu") is None
    assert pipeline.resolve("deepspeed", project, CPU, two).get("train", "use_cpu") is True


@pytest.mark.parametrize("given", [{"eval_dataset": "x"}, {"val_size": 0.1}])
def test_evaluation_is_on_where_there_is_data_and_on_the_saving_steps(given: dict[str, Any]) -> None:
    train = resolved("lora", save_steps=50, **given).block("train")
    assert (train["eval_strategy"], train["eval_steps"], train["load_best_model_at_end"]) == (
        "steps",
        50,
        True,
    )


def test_evaluation_goes_with_the_checkpoints_of_each_epoch() -> None:
    train = resolved("lora", save_strategy="epoch", val_size=0.1).block("train")
    assert (train["eval_strategy"], train["load_best_model_at_end"]) == ("epoch", True)
    assert "eval_steps" not in train


def test_evaluation_is_off_without_data() -> None:
    train = resolved("lora").block("train")
    assert train["eval_strategy"] == "no"
    assert not {"eval_steps", "load_best_model_at_end"} & train.keys()


@pytest.mark.parametrize(
    "given",
    [
        {"eval_strategy": "epoch"},
        {"eval_steps": 0.3},
        {"save_strategy": "no"},
        {"stage": "rm"},
        {"eval_on_each_dataset": True},
    ],
)
def test_the_best_model_is_loaded_only_where_the_trainer_can(given: dict[str, Any]) -> None:
    assert resolved("lora", eval_dataset="x", **given).get("train", "load_best_model_at_end") is None


def test_the_best_model_is_loaded_where_one_of_several_losses_is_named() -> None:
    apart = {"eval_dataset": "x,y", "eval_on_each_dataset": True, "metric_for_best_model": "eval_y_loss"}
    assert resolved("lora", **apart).get("train", "load_best_model_at_end") is True


def test_an_auto_of_the_librarys_own_stays() -> None:
    assert resolved("lora", flash_attn="auto").get("train", "flash_attn") == "auto"


@pytest.mark.parametrize(
    ("model", "template"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", "qwen"),
        ("/models/Qwen3-8B", "qwen3"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama3"),
        ("somebody/unheard-of", "auto"),
    ],
)
def test_the_template_comes_from_the_models_name(model: str, template: str) -> None:
    assert resolved("lora", model_name_or_path=model).get("train", "template") == template


def test_the_template_comes_from_config_json_where_the_name_says_nothing(
    project: Callable[..., Path],
) -> None:
    root = project(
        {"mine/config.json": {"model_type": "qwen2"}, "qtune.yaml": "train: {model_name_or_path: ./mine}\n"}
    )
    assert pipeline.resolve("lora", find_project(root), CPU).get("train", "template") == "qwen"


def test_an_auto_keeps_the_line_that_asked_for_it() -> None:
    config = merge("x", [Layer("base", {("train", "bf16"): Value("auto", Origin("base", "b.yaml", 3))})])
    decided = auto_layer(Known(config, ONE)).values[("train", "bf16")]
    assert str(decided.origin) == "auto from 1x24GB (b.yaml:3)"


@pytest.mark.parametrize("text", ["1x24GB", "8x80gb", "2x11.5GB"])
def test_hardware_is_count_and_memory(text: str) -> None:
    hardware = parse_hardware(text)
    assert str(hardware).lower() == text.lower() and hardware.bf16


@pytest.mark.parametrize("text", ["", "gpu", "0x24GB", "1x0GB", "24GB", "1x24", "-1x24GB"])
def test_other_hardware_is_refused(text: str) -> None:
    with pytest.raises(QtuneError, match="no hardware"):
        parse_hardware(text)


def test_a_project_is_found_from_below(project: Callable[..., Path]) -> None:
    root = project()
    assert find_project(root / "data").root == root.resolve()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("trian: {}\n", 1),
        ("runs: ' '\n", 1),
        ("train: [1]\n", 1),
        ("runs: runs\npresets: [nowhere]\n", 2),
        ("presets: presets\n", 1),
    ],
)
def test_a_broken_project_names_its_line(project: Callable[..., Path], text: str, line: int) -> None:
    with pytest.raises(QtuneError) as raised:
        find_project(project({"qtune.yaml": text}))
    assert raised.value.where == f"qtune.yaml:{line}"
