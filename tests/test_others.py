"""What a preset of others may set: each key is decided on, and what is more than training is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from trees import REPOSITORY, TINY_MODEL, Result, write_tree

from qtune.config.others import _table, why_refused
from qtune.config.presets import BLOCKS, KEYS
from qtune.config.project import Project
from qtune.schema import Argument, known_keys

PROJECT = f"presets: [../near]\ntrain: {{model_name_or_path: {TINY_MODEL}, dataset: rows}}\n"


def keys(known: Mapping[str, Argument], above: str = "") -> Iterator[str]:
    """The keys that hold values, with dots below a mapping."""
    for name, argument in known.items():
        if argument.keys:
            yield from keys(argument.keys, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def decided(block: str) -> list[str]:
    parts = (_table()[part].get(block, {}) for part in ("allowed", "refused"))
    return [key for part in parts for listed in part.values() for key in listed]


def test_each_key_that_a_preset_may_hold_is_decided_on_once() -> None:
    assert set(_table()["preset"]) == set(KEYS)
    for block in BLOCKS:
        # sbatch's options stand in no schema, and are refused but for some
        wanted = {*keys(known_keys(block)), *(key for key in decided(block) if key.startswith("slurm."))}
        assert Counter(decided(block)) == dict.fromkeys(wanted, 1), f"decide on it in others.yaml: {block}"


@pytest.mark.parametrize("path", [("train", "new_key"), ("zero", "new_key"), ("deepspeed", "new_key")])
def test_a_key_that_nobody_decided_on_is_refused(path: tuple[str, ...]) -> None:
    assert why_refused(path, "x") == "is no training value that qtune knows"


def test_qtunes_own_presets_need_no_exception(project: Callable[..., Path]) -> None:
    store = Project(project()).store
    for preset in store.catalogue():
        for path, value in preset.layer.values.items():
            assert why_refused(path, value.value) is None, (preset.name, path)


@pytest.mark.parametrize(
    ("block", "key"),
    [
        ("launch: {slurm: {export: ALL}}", "launch.slurm.export"),
        ("launch: {slurm: {chdir: sub}}", "launch.slurm.chdir"),
        ("launch: {slurm: {gres: 'gpu:1 --chdir=sub'}}", "launch.slurm.gres"),
        (
            "launch: {ray_init_kwargs: {runtime_env: {env_vars: {A: b}}}}",
            "launch.ray_init_kwargs.runtime_env.env_vars.A",
        ),
        ("launch: {master_addr: 10.0.0.1}", "launch.master_addr"),
        ("launch: {nvme_path: nvme}", "launch.nvme_path"),
        ("zero: {offload_param: {nvme_path: nvme}}", "zero.offload_param.nvme_path"),
        ("deepspeed: {tensorboard: {output_path: logs}}", "deepspeed.tensorboard.output_path"),
        ("deepspeed: {csv_monitor: {job_name: ..}}", "deepspeed.csv_monitor.job_name"),
        ("deepspeed: {nebula: {persistent_storage_path: x}}", "deepspeed.nebula.persistent_storage_path"),
        ("deepspeed: {optimizer: {params: {path: /x}}}", "deepspeed.optimizer.params.path"),
        ("deepspeed: {comet: {workspace: team}}", "deepspeed.comet.workspace"),
        ("train: {model_name_or_path: ../model}", "model_name_or_path"),
        ("train: {model_name_or_path: /model}", "model_name_or_path"),
        ("train: {adapter_name_or_path: 'one,~/two'}", "adapter_name_or_path"),
        ("train: {media_dir: a/../../b}", "media_dir"),
        ("train: {reward_model: 'http://example.org'}", "reward_model"),
        ("train: {tokenized_path: tokens}", "tokenized_path"),
        ("train: {logging_dir: logs}", "logging_dir"),
        ("train: {hub_model_id: team/model, push_to_hub: true}", "hub_model_id"),
        ("train: {vllm_config: {tokenizer: x}}", "vllm_config.tokenizer"),
        ("train: {fsdp_config: {path: /x}}", "fsdp_config.path"),
        ("train: {trust_remote_code: true}", "trust_remote_code"),
    ],
)
def test_what_is_more_than_training_is_refused_with_who_said_it(
    qtune: Callable[..., Result], project: Callable[..., Path], tmp_path: Path, block: str, key: str
) -> None:
    write_tree(tmp_path, {"near/near.yaml": f"extends: lora\n{block}\n"})
    root = project({"qtune.yaml": PROJECT, "presets/near.yaml": f"extends: lora\n{block}\n"})
    result = qtune("show", "near", directory=root)
    assert result.code == 2
    assert f"error: ../near/near.yaml:2: `{key}` " in result.err
    assert "which presets from others may not ask for" in result.err
    own = PROJECT.replace("../near", "presets")
    (root / "qtune.yaml").write_text(own)
    assert qtune("show", "near", directory=root).code == 0


def test_training_values_of_others_go_through(
    qtune: Callable[..., Result], project: Callable[..., Path], tmp_path: Path
) -> None:
    house = (
        "extends: lora\n"
        "train:\n"
        "  model_name_or_path: Qwen/Qwen3-0.6B\n"
        "  adapter_name_or_path: ./adapters/one, adapters/two\n"
        "  lr_scheduler_kwargs: {min_lr: 1e-6, decay_type: cosine}\n"
        "  report_to: [wandb]\n"
        "  trust_remote_code: false\n"
        "  tokenized_path: auto\n"
        "zero: {stage: 2, offload_optimizer: {device: cpu}}\n"
        "deepspeed: {fp16: {loss_scale_window: 100}, flops_profiler: {enabled: true},\n"
        "  optimizer: {type: AdamW, params: {lr: auto, betas: [0.9, 0.95]}}}\n"
        'launch: {launcher: slurm, nnodes: 2, slurm: {partition: gpu, time: "12:00:00", gres: "gpu:8"}}\n'
    )
    write_tree(tmp_path, {"near/near.yaml": house})
    assert qtune("show", "near", directory=project({"qtune.yaml": PROJECT})).code == 0


@pytest.mark.parametrize(
    ("preset", "template", "more"),
    [
        ("stage3", "zero.json.j2", lambda text: text.replace("{\n", '{"csv_monitor": {},\n', 1)),
        ("fsdp_qlora", "accelerate.yaml.j2", lambda text: f"{text}rdzv_backend: static\n"),
    ],
)
def test_a_template_of_others_adds_nothing_to_what_a_launcher_reads(
    qtune: Callable[..., Result],
    project: Callable[..., Path],
    tmp_path: Path,
    preset: str,
    template: str,
    more: Callable[[str], str],
) -> None:
    text = (REPOSITORY / "templates" / template).read_text(encoding="utf-8")
    write_tree(tmp_path, {"near/near.yaml": "extends: lora\n", f"near/templates/{template}": f"{text}\n"})
    root = project({"qtune.yaml": PROJECT})
    command = ("render", preset, "--hardware", "2x24GB")
    result = qtune(*command, directory=root)
    assert result.code == 0, result.err
    write_tree(tmp_path, {f"near/templates/{template}": more(text)})
    result = qtune(*command, directory=root)
    assert result.code == 2
    assert f"../near/templates/{template}: the template changes what was to be written" in result.err
    own = {f"presets/templates/{template}": more(text), "qtune.yaml": PROJECT.replace("../near", "presets")}
    write_tree(root, own)
    assert qtune(*command, directory=root).code == 0
