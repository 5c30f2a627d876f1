"""The `deepspeed` block: merged, rendered, checked, read back, and made of DeepSpeed's own JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rule_cases import EVERYTHING, examine, rules_project
from saved import save_archive, save_checkpoint
from trees import REPOSITORY, TINY_MODEL, Result, write_tree

from qtune.config.project import Project, find_project
from qtune.importing.read import Imported, read_import
from qtune.launch.operations import needed_operations
from qtune.machine.hardware import Hardware, parse_hardware
from qtune.prepare import pipeline, renderings
from qtune.prepare.compare import compare, read_side
from qtune.runs.checkpoints import flaw
from qtune.values import Config, Origin, Value

NewProject = Callable[..., Path]
Qtune = Callable[..., Result]

ENGINE = """\
extends: lora
zero: {stage: 2}
deepspeed:
  optimizer: {type: AdamW, params: {lr: auto, betas: auto, torch_adam: true}}
  fp16: {loss_scale_window: 100}
  aio: {queue_depth: 16}
"""


def zero_json(root: Path, preset: str, hardware: str = "1x24GB") -> dict[str, Any]:
    directory = pipeline.write(pipeline.prepare(preset, find_project(root), parse_hardware(hardware)))
    return json.loads((directory / "zero.json").read_text())


def config(**keys: Any) -> Config:
    return Config(
        "test", {tuple(key.split("__")): Value(value, Origin("test")) for key, value in keys.items()}
    )


# ── merged and rendered ──────────────────────────────────────────────────────────────────────────────────


def test_layers_merge_key_by_key_into_the_json(project: NewProject) -> None:
    root = project(
        {
            "presets/house.yaml": ENGINE,
            "presets/mine.yaml": "extends: house\n"
            "deepspeed:\n"
            "  {aio: {block_size: 4096}, optimizer: {params: {betas: null}}, prescale_gradients: true}\n",
        }
    )
    found = zero_json(root, "mine")
    assert found["optimizer"] == {"type": "AdamW", "params": {"lr": "auto", "torch_adam": True}}
    assert found["aio"] == {"queue_depth": 16, "block_size": 4096}
    assert found["prescale_gradients"] is True
    assert found["zero_optimization"] == {"stage": 2}
    assert found["fp16"] == {
        **{"enabled": "auto", "loss_scale": 0, "loss_scale_window": 100, "initial_scale_power": 16},
        **{"hysteresis": 2, "min_loss_scale": 1},
    }
    assert found["gradient_clipping"] == "auto" and found["bf16"] == {"enabled": "auto"}


def test_a_set_reaches_a_nested_key_and_wins_over_what_qtune_writes(
    project: NewProject, qtune: Qtune
) -> None:
    root = project({"presets/house.yaml": ENGINE})
    sets = ("-s", "deepspeed.aio.block_size=2048", "-s", "deepspeed.zero_force_ds_cpu_optimizer=true")
    assert qtune("render", "house", *sets, "--hardware", "cpu", directory=root).code == 0
    found = json.loads((root / "rendered/house/zero.json").read_text())
    assert found["aio"] == {"queue_depth": 16, "block_size": 2048}
    assert found["zero_force_ds_cpu_optimizer"] is True
    shown = qtune("show", "house", "deepspeed.aio.queue_depth", directory=root)
    assert shown.out.startswith("deepspeed.aio.queue_depth: 16  # house (presets/house.yaml:6)")
    assert "default: 8" in shown.out


def test_a_template_that_drops_or_changes_the_block_is_refused(project: NewProject, qtune: Qtune) -> None:
    older = '{"bf16": {"enabled": "auto"}, "zero_optimization": {{ zero | to_json }}}\n'
    tree = {"presets/house.yaml": ENGINE, "presets/templates/zero.json.j2": older}
    root = project({**tree, "presets/plain.yaml": "extends: lora\nzero: {stage: 2}\n"})
    assert qtune("render", "plain", directory=root).code == 0
    result = qtune("render", "house", directory=root)
    assert result.code == 2
    assert "the template changes what was to be written (optimizer, fp16, aio)" in result.err


def test_a_template_of_others_adds_nothing_beside_the_block(
    project: NewProject, qtune: Qtune, tmp_path: Path
) -> None:
    text = (REPOSITORY / "templates/zero.json.j2").read_text()
    tree = {"near/near.yaml": ENGINE, "near/templates/zero.json.j2": text}
    write_tree(tmp_path, tree)
    own = f"presets: [../near]\ntrain: {{model_name_or_path: {TINY_MODEL}, dataset: rows}}\n"
    root = project({"qtune.yaml": own})
    assert qtune("render", "near", directory=root).code == 0
    more = text.replace("{\n", '{"wandb": {"enabled": true},\n', 1)
    write_tree(tmp_path, {"near/templates/zero.json.j2": more})
    assert (
        "the template changes what was to be written (wandb)" in qtune("render", "near", directory=root).err
    )


def test_edits_by_hand_of_the_json_are_read_back(project: NewProject) -> None:
    root = project({"presets/house.yaml": ENGINE})
    zero_json(root, "house")
    path = root / "rendered/house/zero.json"
    text = path.read_text().replace('"queue_depth": 16', '"queue_depth": 4').replace("100", "50")
    path.write_text(text)
    read = renderings.read(find_project(root), "house").config
    assert read.block("deepspeed") == {
        "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "torch_adam": True}},
        "fp16": {"loss_scale_window": 50},
        "aio": {"queue_depth": 4},
    }
    assert read.block("zero") == {"stage": 2}


def test_diff_names_the_keys_and_reads_a_plain_config_with_its_json(project: NewProject) -> None:
    root = project({"presets/house.yaml": ENGINE, "presets/bare.yaml": "extends: lora\nzero: {stage: 2}\n"})
    found = find_project(root)
    zero_json(root, "house")
    names = ("rendered/house", "rendered/house/train.yaml", "house", "bare")
    sides = [read_side(name, found, Hardware()) for name in names]
    assert list(compare(sides[0], sides[1])) == []
    assert [f"{item.section} {item.key}" for item in compare(sides[2], sides[3])] == [
        *("deepspeed optimizer.type", "deepspeed optimizer.params.lr", "deepspeed optimizer.params.betas"),
        "deepspeed optimizer.params.torch_adam",
        *("deepspeed fp16.loss_scale_window", "deepspeed aio.queue_depth"),
    ]


def test_the_editors_schema_knows_the_block(qtune: Qtune, tmp_path: Path) -> None:
    schema = json.loads(qtune("schema", "preset", directory=tmp_path).out)
    block = schema["properties"]["deepspeed"]["properties"]
    assert {"type": "integer"} in block["aio"]["anyOf"][0]["properties"]["block_size"]["anyOf"]
    assert {"const": "auto"} in block["fp16"]["anyOf"][0]["properties"]["enabled"]["anyOf"]
    assert "zero_optimization" not in block


# ── when DeepSpeed runs ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("keys", "runs"),
    [
        ({"zero__stage": 0}, False),
        ({"deepspeed__prescale_gradients": 1}, False),
        ({"zero__stage": 0, "deepspeed__prescale_gradients": 1}, True),
        ({"zero__stage": 2}, True),
        ({"zero__stage": 2, "deepspeed__prescale_gradients": 1}, True),
    ],
)
def test_the_block_counts_where_zero_has_a_stage(keys: dict[str, Any], runs: bool) -> None:
    assert config(**keys).uses_zero is runs


def test_stage_0_with_the_block_renders_and_launches_deepspeed(project: NewProject) -> None:
    root = project(
        {"presets/none.yaml": "extends: lora\nzero: {stage: 0}\ndeepspeed: {sparse_gradients: true}\n"}
    )
    assert zero_json(root, "none")["zero_optimization"] == {"stage": 0}
    assert "FORCE_TORCHRUN" in (root / "rendered/none/launch.sh").read_text()


def test_a_block_of_the_project_is_for_its_presets_with_a_stage(project: NewProject) -> None:
    block = "deepspeed: {aio: {queue_depth: 4}}\n"
    own = f"train: {{model_name_or_path: {TINY_MODEL}, dataset: rows}}\n{block}"
    root = project({"qtune.yaml": own, "presets/mine.yaml": f"extends: lora\n{block}"})
    found = find_project(root)
    assert pipeline.examine("lora", found, Hardware()).findings == ()
    root.joinpath("qtune.yaml").write_text(own.replace(block, ""))
    (finding,) = pipeline.examine("mine", find_project(root), Hardware()).findings
    assert finding.rule == "deepspeed-needs-stage" and finding.origin and finding.origin.line == 2


# ── checked ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("block", "key", "says"),
    [
        ("deepspeed: {aoi: {}}", "deepspeed.aoi", "did you mean `aio`"),
        ("deepspeed: {aio: {block_sise: 1}}", "deepspeed.aio.block_sise", "did you mean `block_size`"),
        ("deepspeed: {aio: {block_size: big}}", "deepspeed.aio.block_size", "an integer is expected"),
        ("deepspeed: {fp16: {hysteresis: 1.5}}", "deepspeed.fp16.hysteresis", "an integer is expected"),
        ("deepspeed: {communication_data_type: fp23}", "deepspeed.communication_data_type", "did you mean"),
        ("deepspeed: {zero_optimization: {stage: 2}}", "deepspeed.zero_optimization.stage", "under `zero:`"),
        ("deepspeed: {overlap_comm: true}", "deepspeed.overlap_comm", "put it under `zero:`"),
        ("deepspeed: {learning_rate: 1.0}", "deepspeed.learning_rate", "put it under `train:`"),
        ("zero: {aio: {block_size: 1}}", "zero.aio.block_size", "put it under `deepspeed:`"),
        ("train: {aio: {block_size: 1}}", "aio.block_size", "put it under `deepspeed:`"),
        ("deepspeed: {tensor_parallel: {tp: {mpu: x}}}", "deepspeed.tensor_parallel.tp.mpu", "Python object"),
        ("deepspeed: {comet: {api_key: 0123456789abcdef}}", "deepspeed.comet.api_key", "is a secret"),
        ("deepspeed: {nebula: {nebula_load_path: x}, amp: 3}", "deepspeed.amp", "a mapping is expected"),
    ],
)
def test_a_slip_in_the_block_is_told_with_its_line(
    project: NewProject, block: str, key: str, says: str
) -> None:
    root = project({"presets/bad.yaml": f"extends: stage3\n{block}\n"})
    found = [f for f in pipeline.examine("bad", find_project(root), Hardware()).findings if f.key == key]
    (finding,) = found
    assert says in f"{finding.message} {finding.fix}"
    assert finding.origin and finding.origin.place == "presets/bad.yaml:2"


def test_a_file_in_the_blocks_place_is_told_what_to_do(project: NewProject, qtune: Qtune) -> None:
    root = project({"presets/bad.yaml": "extends: lora\ndeepspeed: ds_z3_config.json\n"})
    result = qtune("check", "bad", directory=root)
    assert result.code == 2
    assert (
        "presets/bad.yaml:2: `deepspeed` takes a mapping" in result.err and "qtune import FILE" in result.err
    )


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return rules_project(tmp_path_factory.mktemp("rules"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"deepspeed.train_micro_batch_size_per_gpu": 3}, "`per_device_train_batch_size` 2"),
        ({"deepspeed.train_batch_size": 3}, "processes` 8"),
        ({"deepspeed.gradient_accumulation_steps": 3}, "`gradient_accumulation_steps` 4"),
        ({"deepspeed.gradient_clipping": 0.5}, "`max_grad_norm` 1.0"),
        ({"deepspeed.fp16.enabled": True}, "`fp16` false"),
        ({"deepspeed.bf16.enabled": False}, "`bf16` true"),
        ({"deepspeed.optimizer.params.betas": [0.9, 0.95]}, "[0.9, 0.999]"),
        ({"deepspeed.optimizer.params.weight_decay": 0.1}, "`weight_decay` 0.0"),
        ({"deepspeed.scheduler.params.warmup_max_lr": 0.5}, "`learning_rate`"),
        ({"deepspeed.scheduler.params.warmup_num_steps": 10}, "`warmup_steps` 0.1"),
        ({"deepspeed.scheduler.params.total_num_steps": 10, "max_steps": 5}, "`max_steps` 5"),
    ],
    ids=str,
)
def test_what_contradicts_the_arguments_is_told(rules: Project, settings: dict[str, Any], says: str) -> None:
    """As transformers/integrations/deepspeed.py compares them, in fill_match."""
    given = {"deepspeed.optimizer.type": "AdamW", "deepspeed.scheduler.type": "WarmupLR", "zero.stage": 2}
    found = examine(rules, {**given, **settings}, "1x24GB", EVERYTHING).findings
    assert [finding.rule for finding in found] == ["deepspeed-agrees-with-arguments"]
    assert says in found[0].message


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"zero.stage": 2, "deepspeed.amp.enabled": True}, "deepspeed-key-and-stage"),
        ({"zero.stage": 0, "deepspeed.bf16.bf16_optimizer_states": True}, "deepspeed-key-and-stage"),
        ({"zero.stage": 2, "deepspeed.optimizer.params.lr": "auto"}, "deepspeed-class-is-known"),
        ({"zero.stage": 2, "deepspeed.scheduler.type": "warmuplr"}, "deepspeed-class-is-known"),
        ({"zero.stage": 2, "deepspeed.elasticity.enabled": True}, "deepspeed-leaves-the-batch"),
        ({"zero.stage": 2, "deepspeed.steps_per_print": 10}, "deepspeed-key-is-read"),
        ({"zero.stage": 2, "deepspeed.aio.overlap_events": False}, None),
        ({"zero.stage": 2, "deepspeed.optimizer.type": "SGD"}, None),
        ({"zero.stage": 2, "deepspeed.optimizer.type": "LAMB"}, None),
        ({"zero.stage": 0, "deepspeed.optimizer.type": "ZeroOneAdam"}, None),
    ],
    ids=str,
)
def test_what_deepspeed_asserts_is_told(rules: Project, settings: dict[str, Any], rule: str | None) -> None:
    found = examine(rules, settings, "1x24GB", EVERYTHING).findings
    assert [finding.rule for finding in found] == ([rule] if rule else [])


# ── what else reads it ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("keys", "needed"),
    [
        ({"deepspeed__optimizer__type": "AdamW"}, ["fused_adam"]),
        ({"deepspeed__optimizer__type": "AdamW", "deepspeed__optimizer__params__torch_adam": True}, []),
        ({"deepspeed__optimizer__type": "Lion", "zero__offload_optimizer__device": "cpu"}, ["cpu_lion"]),
        ({"deepspeed__optimizer__type": "SGD", "zero__offload_optimizer__device": "cpu"}, []),
        ({"zero__offload_optimizer__device": "cpu"}, ["cpu_adam"]),
    ],
)
def test_what_deepspeed_compiles_for_its_optimizer_is_known(keys: dict[str, Any], needed: list[str]) -> None:
    assert needed_operations(config(zero__stage=2, **keys), parse_hardware("1x24GB")) == needed


def test_estimates_price_its_optimizer_and_say_what_they_leave_out(project: NewProject, qtune: Qtune) -> None:
    full = "extends: full\nzero: {stage: 2}\n"
    tree = {"adam.yaml": full, "lion.yaml": f"{full}deepspeed: {{optimizer: {{type: Lion}}}}\n"}
    root = project({f"presets/{name}": text for name, text in tree.items()})

    def estimate(*words: str) -> dict[str, Any]:
        return json.loads(qtune("estimate", *words, "--hardware", "1x24GB", "--json", directory=root).out)

    def states(found: dict[str, Any]) -> int:
        return next(part["bytes"] for part in found["parts"] if part["name"] == "optimizer states")

    assert 2 * states(estimate("lion")) == states(estimate("adam"))
    said = estimate("lion", "-s", "deepspeed.data_types.grad_accum_dtype=fp32")["assumptions"]
    assert "what data_types of `deepspeed:` changes left out" in said


@pytest.mark.parametrize("stage", [0, 2])
def test_a_checkpoint_with_a_schedule_of_deepspeeds_own_is_whole(tmp_path: Path, stage: int) -> None:
    """Measured: DeepSpeed writes no scheduler.pt then, and at stage 0 no file of ZeRO's."""
    keys: dict[str, Any] = {"zero__stage": stage, "deepspeed__scheduler__type": "WarmupLR"}
    expected = config(train__finetuning_type="lora", **keys)
    path = save_checkpoint(tmp_path, 4, zero=2)
    (path / "scheduler.pt").unlink()
    states = path / "global_step4"
    if stage == 0:
        next(states.glob("*optim_states.pt")).unlink()
    assert flaw(path, 4, expected) is None
    (states / "mp_rank_00_model_states.pt").unlink()
    assert "mp_rank_00_model_states.pt" in (flaw(path, 4, expected) or "")
    save_archive(states / "mp_rank_00_model_states.pt")
    assert "scheduler.pt" in (flaw(path, 4, config(train__finetuning_type="lora", zero__stage=2)) or "")


# ── imported ─────────────────────────────────────────────────────────────────────────────────────────────

SFT = f"model_name_or_path: {TINY_MODEL}\nstage: sft\nfinetuning_type: full\ntemplate: qwen\ndataset: rows\n"
AGREED = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
}
# As transformers' guide to DeepSpeed has them, retyped.
HF2 = {
    "fp16": {"enabled": "auto", "loss_scale": 0, "loss_scale_window": 500, "min_loss_scale": 1},
    "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "eps": "auto"}},
    "scheduler": {
        "type": "WarmupDecayLR",
        "params": {"last_batch_iteration": -1, "total_num_steps": "auto", "warmup_num_steps": "auto"},
    },
    "zero_optimization": {"stage": 2, "overlap_comm": True, "reduce_bucket_size": 5e8},
    "steps_per_print": 1e5,
    "wall_clock_breakdown": False,
    **AGREED,
}
HF3 = {
    **AGREED,
    "bf16": {"enabled": "auto", "immediate_grad_update": True},
    "aio": {"block_size": 262144, "single_submit": False},
    "csv_monitor": {"enabled": True, "output_path": "csv/", "job_name": "a"},
    "activation_checkpointing": {"cpu_checkpointing": True, "number_checkpoints": None},
    "communication_data_type": "fp32",
    "data_types": {"grad_accum_dtype": "fp32"},
    "comms_logger": {"enabled": False, "prof_all": True},
    "elasticity": {"enabled": False},
    "zero_optimization": {"stage": 3},
}


def imported(project: NewProject, content: Any, text: str | None = None) -> Imported:
    root = project({"ds.json": content, "own.yaml": text or ""})
    return read_import(root / ("own.yaml" if text else "ds.json"), root, find_project(root))


def preset(result: Imported) -> dict[str, Any]:
    assert result.errors == (), [str(error) for error in result.errors]
    return yaml.safe_load(result.text)


@pytest.mark.parametrize(
    "text", [None, f"{SFT}do_train: true\nbf16: true\ndeepspeed: ds.json\n"], ids=["alone", "named"]
)
def test_the_guides_zero_2_file_is_taken_whole(project: NewProject, text: str | None) -> None:
    result = imported(project, HF2 if text is None else {**HF2, "bf16": {"enabled": "auto"}}, text)
    found = preset(result)
    assert found["zero"] == HF2["zero_optimization"]
    kept = {"optimizer": HF2["optimizer"], "scheduler": HF2["scheduler"]}
    # with bf16 the settings of fp16 count for nothing
    assert found["deepspeed"] == kept | ({"fp16": {"loss_scale_window": 500}} if text is None else {})
    said = {note.key: note.message for note in result.notes}
    assert "`optim` counts for nothing" in said["optimizer"]
    assert "`lr_scheduler_type` counts for nothing" in said["scheduler"]
    assert "what DeepSpeed prints" in said["steps_per_print"]
    assert result.findings == ()


def test_the_guides_zero_3_file_is_taken_whole(project: NewProject) -> None:
    result = imported(project, HF3)
    assert preset(result)["deepspeed"] == {
        "bf16": {"immediate_grad_update": True},
        "aio": HF3["aio"],
        "csv_monitor": HF3["csv_monitor"],
        "activation_checkpointing": {"cpu_checkpointing": True},
        "communication_data_type": "fp32",
        "data_types": {"grad_accum_dtype": "fp32"},
    }
    said = {note.key: note.message for note in result.notes}
    assert said["comms_logger"] == said["elasticity"] == "left out: it is off"
    assert "project's directory" in said["csv_monitor.output_path"]
    elsewhere = {**HF3, "csv_monitor": {"enabled": True, "output_path": "/logs"}}
    assert "csv_monitor.output_path" not in {note.key for note in imported(project, elsewhere).notes}


def test_what_was_imported_can_be_checked_and_rendered_alike(project: NewProject, qtune: Qtune) -> None:
    root = project({"ds.json": {**HF3, "activation_checkpointing": {}}})
    assert qtune("import", "ds.json", "-n", "taken", directory=root).code == 0
    checked = qtune("check", "taken", "--hardware", "2x24GB", directory=root)
    assert checked.code == 0 and "warning" not in checked.err, checked.err
    found = zero_json(root, "taken", "2x24GB")
    assert {key: found[key] for key in ("aio", "csv_monitor", "data_types", *AGREED)} == {
        key: HF3[key] for key in ("aio", "csv_monitor", "data_types", *AGREED)
    }


@pytest.mark.parametrize("content", [HF2, HF3], ids=["zero 2", "zero 3"])
def test_a_file_alone_gives_its_numbers_to_the_arguments(
    project: NewProject, content: dict[str, Any]
) -> None:
    params = {"lr": 3e-4, "betas": [0.9, 0.95], "eps": 1e-6, "weight_decay": 0.1, "torch_adam": True}
    schedule = {"warmup_max_lr": 3e-4, "warmup_num_steps": 20, "total_num_steps": 900, "warmup_min_lr": 0}
    more = {
        "optimizer": {"type": "Adam", "params": params},
        "scheduler": {"type": "WarmupDecayLR", "params": schedule},
    }
    result = imported(project, {**content, **more})
    found = preset(result)
    assert found["train"] == {
        **{"learning_rate": 3e-4, "adam_beta2": 0.95, "adam_epsilon": 1e-6, "weight_decay": 0.1},
        "warmup_steps": 20,
    }
    auto = dict.fromkeys(("lr", "betas", "eps", "weight_decay"), "auto")
    assert found["deepspeed"]["optimizer"] == {"type": "Adam", "params": {**auto, "torch_adam": True}}
    assert found["deepspeed"]["scheduler"]["params"] == {
        **dict.fromkeys(("warmup_max_lr", "warmup_num_steps", "total_num_steps"), "auto"),
        "warmup_min_lr": 0,
    }
    assert any("counts the steps" in note.message for note in result.notes)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"optimizer": {"type": "AdamW", "params": {"lr": 3e-4}}}, "`learning_rate` is 5.0e-05"),
        ({"optimizer": {"type": "AdamW", "params": {"betas": [0.9, 0.95]}}}, "`adam_beta2` is 0.999"),
        ({"scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": 9}}}, "`warmup_steps` is 0"),
        ({"aio": {"block_size": "big"}}, "aio.block_size"),
        ({"communication_data_type": "int8"}, "accepted: fp16"),
    ],
)
def test_what_the_trainer_or_deepspeed_refuses_is_refused(
    project: NewProject, content: dict[str, Any], says: str
) -> None:
    content = {**AGREED, "zero_optimization": {"stage": 2}, **content}
    errors = imported(project, content, f"{SFT}deepspeed: ds.json\n").errors
    assert len(errors) == 1 and says in str(errors[0]), errors


def test_what_deepspeed_never_reads_is_left_out_and_said(project: NewProject) -> None:
    content = {
        **{"_comment": "mine", "monitor_config": {"enabled": True}, "flops_profilr": {"enabled": True}},
        **{"aio": {"block_sizes": 1, "queue_depth": 4}, "optimizer": {"type": "Adam", "param": {}}},
        **{"bf16": {"enabled": "auto", "check_grad_overflow": "auto"}, "zero_optimization": {"stage": 1}},
    }
    result = imported(project, {**AGREED, **content})
    assert preset(result)["deepspeed"] == {"aio": {"queue_depth": 4}, "optimizer": {"type": "Adam"}}
    said = {note.key: note.message for note in result.notes}
    assert said["_comment"] == said["monitor_config"] == "left out: DeepSpeed reads no such key"
    assert "nobody fills this auto in" in said["bf16.check_grad_overflow"]
    hints = {finding.key: finding.fix for finding in result.findings}
    assert hints == {
        "flops_profilr": "did you mean `flops_profiler`?",
        "aio.block_sizes": "did you mean `block_size`?",
        "optimizer.param": "did you mean `params`?",
    }


def test_a_monitors_secret_is_not_copied(project: NewProject) -> None:
    comet = {"enabled": True, "project": "p", "api_key": "0123456789abcdef"}
    result = imported(project, {**AGREED, "comet": comet, "zero_optimization": {"stage": 2}})
    assert preset(result)["deepspeed"] == {"comet": {"enabled": True, "project": "p"}}
    (finding,) = result.findings
    assert finding.severity == "warning" and "0123456789abcdef" not in f"{finding}{result.text}"


@pytest.mark.parametrize(
    ("content", "block", "says"),
    [
        ({"steps_per_print": 5, "dump_state": True}, None, "without DeepSpeed"),
        (
            {"data_types": {"grad_accum_dtype": "fp32"}},
            {"data_types": {"grad_accum_dtype": "fp32"}},
            "runs for",
        ),
    ],
)
def test_at_stage_0_deepspeed_runs_for_what_the_block_says(
    project: NewProject, content: dict[str, Any], block: dict[str, Any] | None, says: str
) -> None:
    result = imported(project, {**AGREED, **content, "zero_optimization": {"stage": 0}})
    found = preset(result)
    assert found["zero"] == {"stage": 0} and found.get("deepspeed") == block
    assert any(says in note.message for note in result.notes if note.key == "zero_optimization.stage")


def test_the_old_name_of_bf16_is_read_as_the_new_one(project: NewProject) -> None:
    old = {"enabled": True, "check_grad_overflow": True}
    result = imported(project, {**AGREED, "bfloat16": old, "zero_optimization": {"stage": 2}})
    found = preset(result)
    assert found["deepspeed"] == {"bf16": {"check_grad_overflow": True}}
    assert found["train"] == {"bf16": True, "fp16": False}
