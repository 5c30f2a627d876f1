"""What a config needs to be started with: argument list, environment, directory. Plans, runs nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath

from qtune.machine.hardware import Hardware
from qtune.values import ACCELERATE, Config, LaunchPlan

CLI = "llamafactory-cli"


def plan_launch(config: Config, hardware: Hardware, train_yaml: str) -> LaunchPlan:
    """The plan for a training on one machine.

    train_yaml: the rendered file, relative to the project's root, where the child runs: LLaMA-Factory's
    launcher joins its command as text and splits it at spaces, which the root's own path may hold.
    """
    plan = _LAUNCHERS[config.get("launch", "launcher", default="auto")](config, train_yaml)
    environment = {
        # How many processes, also where the library would start one for each GPU it sees.
        "NPROC_PER_NODE": str(config.get("launch", "nproc_per_node", default=1)),
        # Peak memory in each line of trainer_log.jsonl (llamafactory/train/callbacks.py).
        "RECORD_VRAM": "1",
        **plan.environment,
    }
    if hardware.is_cpu:
        # A GPU that is there would be taken by DeepSpeed, whatever use_cpu says.
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return replace(plan, environment=environment)


def into(plan: LaunchPlan, output_dir: str) -> LaunchPlan:
    """The same plan, writing to `output_dir` (relative to the project's root)."""
    return replace(plan, argv=(*plan.argv, f"output_dir={output_dir}"))


def with_tokens(plan: LaunchPlan, tokenized_path: str) -> LaunchPlan:
    """The same plan, reading its tokens from there, or writing them (relative to the project's root)."""
    return replace(plan, argv=(*plan.argv, f"tokenized_path={tokenized_path}"))


def _llamafactory(config: Config, train_yaml: str) -> LaunchPlan:
    """LLaMA-Factory's own launcher, which starts torchrun by itself."""
    # DeepSpeed takes its process group from torchrun (llamafactory/launcher.py).
    torchrun = config.uses_zero or config.get("launch", "nproc_per_node", default=1) > 1
    return LaunchPlan((CLI, "train", train_yaml), {"FORCE_TORCHRUN": "1"} if torchrun else {})


def _accelerate(config: Config, train_yaml: str) -> LaunchPlan:
    """accelerate's launcher, for FSDP, on the module that LLaMA-Factory gives torchrun as a file.

    By its name the rendered script holds no path of this machine.
    """
    settings = PurePosixPath(train_yaml).with_name(ACCELERATE)
    argv = ("accelerate", "launch", "--config_file", str(settings), "--module", "llamafactory.launcher")
    return LaunchPlan((*argv, train_yaml), {}, files=(ACCELERATE,))


# By `launch.launcher`; its values are listed in qtune.schema.launch_keys.
_LAUNCHERS: dict[str, Callable[[Config, str], LaunchPlan]] = {
    "auto": _llamafactory,
    "accelerate": _accelerate,
}
