"""What Ray and Slurm are asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from trees import REPOSITORY, ROWS, TINY_MODEL, Result

from qtune.config.project import find_project
from qtune.machine.hardware import parse_hardware
from qtune.prepare import pipeline
from qtune.values import LaunchPlan

GUIDE = (REPOSITORY / "docs" / "clusters.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)]


def project_with(launch: dict[str, object]) -> dict[str, object]:
    settings = {"train": {"model_name_or_path": str(TINY_MODEL), "dataset": "rows"}, "launch": launch}
    return {"qtune.yaml": json.dumps(settings), "data/rows.jsonl": ROWS}


def plan_of(root: Path, hardware: str) -> LaunchPlan:
    return pipeline.prepare("lora", find_project(root), parse_hardware(hardware)).plan


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["launch"]["launcher"])
def test_what_the_guide_shows_is_good(
    qtune: Callable[..., Result], project: Callable[..., Path], block: dict[str, dict[str, object]]
) -> None:
    root = project(project_with(block["launch"]))
    done = qtune("check", "lora", "--hardware", "8x80GB", directory=root)
    assert done.code == 0, done.err


def test_a_job_asks_for_its_nodes_and_a_signal_and_takes_sbatchs_own_options(
    qtune: Callable[..., Result], project: Callable[..., Path]
) -> None:
    options = {"partition": "gpu", "comment": 'it\'s "ours"; $(date) #1', "exclusive": True, "mem": 0}
    root = project(project_with({"launcher": "slurm", "nnodes": 2, "slurm": options}))
    assert qtune("render", "lora", "--hardware", "4x80GB", directory=root).code == 0
    lines = (root / "rendered/lora/job.sbatch").read_text(encoding="utf-8").splitlines()
    assert [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")] == [
        "--job-name=lora",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--signal=B:TERM@120",
        "--no-requeue",
        "--gpus-per-node=4",
        "--partition=gpu",
        "--comment='it'\"'\"'s \"ours\"; $(date) #1'",
        "--exclusive",
        "--mem=0",
    ]
    assert lines[-1] == 'exec qtune "${@:-train}"'
    by_hand = (root / "rendered/lora/launch.sh").read_text(encoding="utf-8")
    assert by_hand.splitlines()[-1] == 'exec sbatch rendered/lora/job.sbatch "$@"'
    # another launcher's directory has no job
    assert (
        qtune("render", "lora", "--launcher", "torchrun", "-s", "launch.nnodes=1", directory=root).code == 0
    )
    assert not (root / "rendered/lora/job.sbatch").exists()


def test_a_given_kind_of_gpu_is_not_asked_for_twice(project: Callable[..., Path]) -> None:
    root = project(project_with({"launcher": "slurm", "slurm": {"gres": "gpu:h100:8", "cpus-per-task": 64}}))
    plan = plan_of(root, "8x80GB")
    assert "gpus-per-node" not in plan.sbatch
    assert "--cpus-per-task=64" in plan.argv
    assert "--label" not in plan.argv
    assert plan.has_supervisors


def test_a_node_of_ray_has_its_gpus_and_a_cpu(project: Callable[..., Path]) -> None:
    kwargs = {"address": "10.0.0.1:6379"}
    root = project(project_with({"launcher": "ray", "nnodes": 2, "ray_init_kwargs": kwargs}))
    plan = plan_of(root, "4x80GB")
    words = plan.argv
    assert words[words.index("--nnodes") + 1] == "2"
    assert json.loads(words[words.index("--ray_init_kwargs") + 1]) == kwargs
    assert resources(plan) == {"CPU": 1, "GPU": 4}
    assert resources(plan_of(root, "cpu")) == {"CPU": 1}
    assert words[-3:] == ("llamafactory-cli", "train", "rendered/lora/train.yaml")
    assert not {"MASTER_ADDR", "NODE_RANK"} & set(plan.environment)


def resources(plan: LaunchPlan) -> dict[str, int]:
    return json.loads(plan.argv[plan.argv.index("--resources") + 1])
