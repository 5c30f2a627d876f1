"""The presets beyond the everyday ones: their numbers, groups, demo data, and whom they suit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from trees import PRESET_NEEDS, REPOSITORY, TINY_MODEL, Result

from qtune.advice.suitability import Suitability, examine_presets
from qtune.config.presets import fitting
from qtune.config.project import find_project
from qtune.config.resolve import overrides
from qtune.machine.hardware import parse_hardware
from qtune.prepare import pipeline
from qtune.prepare.pipeline import Prepared
from qtune.values import ACCELERATE

PAIRS = [
    {"instruction": f"say {number}", "input": "", "chosen": str(number), "rejected": "no"}
    for number in range(4)
]
RANKED = (
    "rows: {file_name: rows.jsonl}\n"
    "pairs: {file_name: pairs.jsonl, ranking: true,"
    " columns: {prompt: instruction, query: input, chosen: chosen, rejected: rejected}}\n"
)


def examined(preset: str, hardware: str = "2x24GB", *assignments: str) -> Prepared:
    layers = [overrides([*PRESET_NEEDS.get(preset, ()), *assignments])]
    return pipeline.examine(preset, find_project(REPOSITORY), parse_hardware(hardware), layers)


def train(preset: str, hardware: str = "2x24GB", *assignments: str) -> dict[str, Any]:
    return examined(preset, hardware, *assignments).config.block("train")


# --- numbers, written down apart from the files


@pytest.mark.parametrize(
    ("preset", "numbers"),
    [
        ("style_quick", (4, 1, 8, 1, 0.1)),
        ("style_standard", (8, 4, 4, 3, 0.1)),
        ("style_large", (16, 4, 8, 5, 0.12)),
    ],
)
def test_style_presets_have_their_numbers(preset: str, numbers: tuple[float, ...]) -> None:
    values = train(preset)
    keys = ("lora_rank", "per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs")
    assert tuple(values[key] for key in (*keys, "asft_alpha")) == numbers
    assert (values["cutoff_len"], values["learning_rate"], values["use_asft_loss"]) == (512, 1e-4, True)


@pytest.mark.parametrize(
    ("preset", "effective"), [("sft_small", 16), ("sft_fast", 32), ("sft_standard", 240)]
)
def test_sft_presets_are_full_tuning_on_two_gpus(preset: str, effective: int) -> None:
    prepared = examined(preset)
    steps = prepared.steps
    assert steps is not None and steps.effective_batch == effective
    assert prepared.config.get("train", "finetuning_type") == "full"


def test_zero3_qlora_has_its_numbers() -> None:
    values = train("zero3_qlora", "1x24GB", "eval_dataset=null")
    wanted = {
        "lora_rank": 16,
        "lora_alpha": 32,
        "lora_dropout": 0.1,
        "per_device_train_batch_size": 4,
        "learning_rate": 2e-4,
        "cutoff_len": 512,
        "val_size": 0.1,
        "quantization_bit": 4,
    }
    assert {key: values[key] for key in wanted} == wanted
    assert examined("zero3_qlora").config.get("zero", "stage") == 3


def test_a_share_of_the_rows_is_held_out_only_where_the_project_names_no_evaluation_data() -> None:
    assert "val_size" not in train("zero3_qlora")
    assert train("zero3_qlora")["eval_dataset"] == "demo_eval"


@pytest.mark.parametrize("preset", ["zero3_qlora", "fsdp_qlora"])
def test_on_a_cpu_a_sharded_4_bit_model_is_not_evaluated(preset: str) -> None:
    config = examined(preset, "cpu", "eval_dataset=null").config
    found = config.find("train", "eval_strategy")
    assert found is not None and found.value == "no"
    assert str(found.origin).startswith("auto from cpu, where 4-bit weights in shards cannot be evaluated")
    assert not {"val_size", "eval_steps", "load_best_model_at_end"} & config.block("train").keys()
    assert train(preset)["eval_strategy"] == "steps"


def test_without_a_gpu_the_optimizer_stays_in_memory_and_parameters_go_to_nvme() -> None:
    prepared = examined("zero3_nvme", "cpu")
    assert prepared.findings == ()
    assert prepared.config.get("zero", "offload_optimizer", "device") == "cpu"
    assert prepared.config.get("zero", "offload_param", "device") == "nvme"


def test_the_projects_nvme_path_reaches_both_offloads() -> None:
    zero = examined("zero3_nvme", "1x24GB", "launch.nvme_path=/mnt/nvme").config.block("zero")
    for block in ("offload_optimizer", "offload_param"):
        assert (zero[block]["device"], zero[block]["nvme_path"]) == ("nvme", "/mnt/nvme")


def test_without_a_path_zero3_nvme_is_refused() -> None:
    prepared = examined("zero3_nvme", "1x24GB", "launch.nvme_path=null")
    (finding,) = prepared.findings
    assert finding.rule == "nvme-needs-path" and "launch.nvme_path" in finding.fix


@pytest.mark.parametrize(
    ("preset", "values"),
    [
        ("pretrain", {"stage": "pt", "finetuning_type": "lora"}),
        ("reward", {"stage": "rm", "finetuning_type": "lora"}),
        ("dpo", {"stage": "dpo", "pref_loss": "sigmoid", "pref_beta": 0.1}),
        ("kto", {"stage": "kto", "pref_beta": 0.1}),
        ("dora", {"use_dora": True, "finetuning_type": "lora"}),
        ("freeze", {"finetuning_type": "freeze"}),
        ("packed", {"neat_packing": True}),
    ],
)
def test_stages_and_methods_are_what_they_are_called(preset: str, values: dict[str, Any]) -> None:
    prepared = examined(preset)
    assert prepared.findings == ()
    assert {key: prepared.config.get("train", key) for key in values} == values


# --- accelerate


def test_fsdp_qlora_starts_by_accelerate_with_a_file_of_its_own(project: Callable[..., Path]) -> None:
    root = project()
    machine = parse_hardware("8x80GB")
    prepared = pipeline.prepare("fsdp_qlora", find_project(root), machine)
    assert prepared.findings == ()
    assert prepared.plan.argv == (
        "accelerate",
        "launch",
        "--config_file",
        "rendered/fsdp_qlora/accelerate.yaml",
        "--module",
        "llamafactory.launcher",
        "rendered/fsdp_qlora/train.yaml",
    )
    assert "FORCE_TORCHRUN" not in prepared.plan.environment
    settings = yaml.safe_load((pipeline.write(prepared) / ACCELERATE).read_text())
    assert settings["fsdp_config"]["fsdp_version"] == 1  # FSDP 2 spoils 4-bit weights
    assert [settings[key] for key in ("num_processes", "mixed_precision", "use_cpu")] == [8, "bf16", False]


def test_fsdp_2_shards_weights_that_are_not_packed(project: Callable[..., Path]) -> None:
    root = project({"presets/mine.yaml": "extends: lora\nlaunch: {launcher: accelerate}\n"})
    prepared = pipeline.prepare("mine", find_project(root), parse_hardware("2x80GB"))
    settings = yaml.safe_load((pipeline.write(prepared) / ACCELERATE).read_text())["fsdp_config"]
    assert settings["fsdp_version"] == 2 and settings["fsdp_reshard_after_forward"] is True


def test_a_switch_from_accelerate_removes_its_file(project: Callable[..., Path]) -> None:
    root = project()
    for preset in ("fsdp_qlora", "lora"):
        directory = pipeline.write(
            pipeline.prepare(preset, find_project(root), parse_hardware("1x24GB"), name="mine")
        )
    assert not (directory / ACCELERATE).exists()


def test_an_unknown_launcher_is_refused(qtune: Callable[..., Result], project: Callable[..., Path]) -> None:
    result = qtune("check", "lora", "-s", "launch.launcher=mpirun", directory=project())
    assert result.code == 2 and "accepted: auto, local, torchrun, accelerate" in result.err


# --- the catalogue


def test_every_built_in_preset_has_a_group_and_its_words() -> None:
    for preset in find_project(Path("/")).store.catalogue():
        assert preset.about and preset.group and preset.when, preset.name


@pytest.mark.parametrize(
    ("preset", "model"),
    [
        ("style_quick", "Qwen/Qwen2.5-1.5B"),
        ("style_standard", "Qwen/Qwen2.5-7B"),
        ("style_large", "Qwen/Qwen2.5-14B"),
    ],
)
def test_a_preset_for_a_named_model_fits_where_it_says(
    qtune: Callable[..., Result], tmp_path: Path, preset: str, model: str
) -> None:
    fits = next(found.fits for found in find_project(Path("/")).store.catalogue() if found.name == preset)
    hardware = f"1x{fits.replace(' ', '')}"
    result = qtune("estimate", preset, "-m", model, "--hardware", hardware, "--json", directory=tmp_path)
    assert json.loads(result.out)["verdict"] in ("fits", "tight")


def test_the_catalogue_can_be_cut_to_what_fits(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    root = project({"presets/ours.yaml": "about: ours\nfits: 20-30 GB\n"})

    def names(memory: str) -> set[str]:
        return {preset.name for preset in fitting(find_project(root).store.catalogue(), memory)}

    assert names("5") == {"minimal"}
    assert names("8GB") == {"minimal", "stage3", "qlora"}
    assert {"full", "style_quick"} <= names("24GB") and not {"style_standard", "ours"} & names("24GB")
    assert "full" not in names("16GB")
    assert {"ours", "style_standard"} <= names("48 gb")
    listed = json.loads(qtune("presets", "--json", "--fits", "8GB", directory=root).out)
    assert {row["name"] for row in listed} == names("8GB")
    result = qtune("presets", "--fits", "24GB", directory=root)
    assert "do not say how much memory they need" in result.err
    assert qtune("presets", "--fits", "much", directory=root).code == 2


def test_for_a_model_what_fits_is_estimated(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    """A preset speaks of 0.5B: `lora` says 6-12 GB and takes more than 24 GB for 7B."""
    root = project()
    options = ["-m", "Qwen/Qwen2.5-7B", "--json"]
    listed = json.loads(qtune("presets", "--fits", "24GB", *options, directory=root).out)
    estimated = json.loads(qtune("estimate", "--all", "--hardware", "1x24GB", *options, directory=root).out)
    needs = {row["preset"]: row["gpu"] for row in estimated["presets"] if row["verdict"] == "fits"}
    assert {row["name"]: row["gpu"] for row in listed} == needs
    assert "qlora" in needs and "deepspeed" not in needs
    shown = qtune("presets", "--fits", "24GB", *options[:2], directory=root)
    none = qtune("presets", "--fits", "1GB", *options[:2], directory=root)
    assert none.out == "" and "no preset fits" in none.err
    assert "needs at most" in shown.out and "rows as long as cutoff_len" in shown.err


@pytest.mark.parametrize(
    "options", [("-m", "Qwen/Qwen2.5-7B"), ("--fits", "0", "-m", "x"), ("--fits", "0GB")]
)
def test_a_size_of_memory_is_needed(
    qtune: Callable[..., Result], project: Callable[..., Path], options: tuple[str, ...]
) -> None:
    result = qtune("presets", *options, directory=project())
    assert result.code == 2 and "--fits 24GB" in result.err


# --- whom they suit


def test_without_names_presets_that_do_not_suit_are_listed_and_nothing_is_wrong(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    result = qtune("check", "--hardware", "1x24GB", directory=project())
    assert result.code == 0 and "error" not in result.err
    unsuitable = [line.split()[4] for line in result.out.splitlines() if line.startswith("not for this")]
    assert unsuitable == ["dpo", "kto", "reward", "sft_fast", "sft_small", "sft_standard", "zero3_nvme"]
    assert "not for this project: dpo (dataset: stage dpo compares pairs" in result.out


def test_with_its_name_it_is_an_error_as_ever(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    result = qtune("check", "dpo", directory=project())
    assert result.code == 2 and "stage dpo compares pairs" in result.err and "not for" not in result.out


def suitability(root: Path) -> Suitability:
    return examine_presets(find_project(root), parse_hardware("1x24GB"), [], None)


def test_a_projects_choice_that_one_preset_cannot_have_is_no_fault(project: Callable[..., Path]) -> None:
    root = project(
        {"qtune.yaml": f"train: {{model_name_or_path: {TINY_MODEL}, dataset: rows, quantization_bit: 4}}\n"}
    )
    found = suitability(root)
    assert "full" in found.unsuitable and not any(item.severity == "error" for item in found.distinct)


def test_a_ranked_project_is_for_dpo(project: Callable[..., Path]) -> None:
    tree = {"data/datasets.yaml": RANKED, "data/pairs.jsonl": PAIRS}
    settings = f"train: {{model_name_or_path: {TINY_MODEL}, dataset: pairs, stage: dpo}}\n"
    found = suitability(project({**tree, "qtune.yaml": settings}))
    assert found.findings["dpo"] == () and not any(item.severity == "error" for item in found.distinct)


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"qtune.yaml": f"train: {{model_name_or_path: {TINY_MODEL}, dataset: nothing}}\n"}, "`nothing`"),
        ({"data/datasets.yaml": "rows: {file_name: gone.jsonl}\n"}, "there is no file"),
        ({"presets/ours.yaml": "extends: dpo\n"}, "stage dpo compares pairs"),
        ({"presets/lora.yaml": "train: {lora_rnk: 8}\n"}, "lora_rnk"),
    ],
)
def test_what_the_project_or_its_own_presets_have_wrong_stays_an_error(
    project: Callable[..., Path], tree: dict[str, str], says: str
) -> None:
    errors = [item for item in suitability(project(tree)).distinct if item.severity == "error"]
    assert any(says in str(item) for item in errors)


def test_programs_are_told_too(qtune: Callable[..., Result], project: Callable[..., Path]) -> None:
    found = json.loads(qtune("check", "--json", "--hardware", "1x24GB", directory=project()).out)
    assert {finding["severity"] for finding in found["dpo"]} == {"unsuitable"} and found["lora"] == []


# --- the demo data


def rows(name: str) -> list[dict[str, Any]]:
    lines = (REPOSITORY / "data" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def is_chinese(text: str) -> bool:
    return any("\u4e00" <= character <= "\u9fff" for character in text)


@pytest.mark.parametrize(
    ("name", "key"), [("demo_dpo", "instruction"), ("demo_kto", "output"), ("demo_text", "text")]
)
def test_demo_rows_are_whole_distinct_and_in_two_languages(name: str, key: str) -> None:
    found = rows(name)
    assert 20 <= len(found) <= 40
    assert len({json.dumps(row) for row in found}) == len(found)
    assert all(row[key].strip() == row[key] != "" for row in found)
    assert math.isclose(sum(is_chinese(row[key]) for row in found) / len(found), 0.5, abs_tol=0.15)


def test_ranked_answers_differ_and_the_better_one_is_not_always_the_longer_one() -> None:
    found = rows("demo_dpo")
    assert all(row["chosen"] != row["rejected"] for row in found)
    longer = sum(len(row["chosen"]) > len(row["rejected"]) for row in found)
    assert 0 < longer < len(found)


def test_half_of_the_judged_answers_are_good() -> None:
    assert sum(row["kto_tag"] for row in rows("demo_kto")) == len(rows("demo_kto")) // 2
