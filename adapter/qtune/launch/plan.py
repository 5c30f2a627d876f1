"""What a config needs to be started with: argument list, environment, directory. Plans, runs nothing."""

from __future__ import annotations

from dataclasses import replace

from qtune.machine.hardware import Hardware
from qtune.values import Config, LaunchPlan

CLI = "llamafactory-cli"


def plan_launch(config: Config, hardware: Hardware, train_yaml: str) -> LaunchPlan:
    """The plan for a training on one machine.

    train_yaml: the rendered file, relative to the project's root, where the child runs: LLaMA-Factory's
    launcher joins its command as text and splits it at spaces, which the root's own path may hold.
    """
    processes = config.get("launch", "nproc_per_node", default=1)
    environment = {
        # How many processes, also where the library would start one for each GPU it sees.
        "NPROC_PER_NODE": str(processes),
        # Peak memory in each line of trainer_log.jsonl (llamafactory/train/callbacks.py).
        "RECORD_VRAM": "1",
    }
    if config.uses_zero or processes > 1:
        # DeepSpeed takes its process group from torchrun (llamafactory/launcher.py).
        environment["FORCE_TORCHRUN"] = "1"
    if hardware.is_cpu:
        # A GPU that is there would be taken by DeepSpeed, whatever use_cpu says.
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return LaunchPlan((CLI, "train", train_yaml), environment)


def into(plan: LaunchPlan, output_dir: str) -> LaunchPlan:
    """The same plan, writing to `output_dir` (relative to the project's root)."""
    return replace(plan, argv=(*plan.argv, f"output_dir={output_dir}"))
