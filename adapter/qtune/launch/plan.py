"""A config's launch plan: the argument list and the environment that start its training. Nothing is run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from qtune.launch.sbatch import sbatch_options
from qtune.machine.allocator import to_be_set
from qtune.machine.hardware import Hardware
from qtune.values import ACCELERATE, Config, LaunchPlan

CLI = "llamafactory-cli"
# Of `launch`, what LLaMA-Factory's launcher reads as a variable where it is set, and hands to torchrun.
_ELASTIC = ("rdzv_id", "max_restarts", "min_nnodes", "max_nnodes")
_PLAIN = re.compile(r"[\w./-]*/[\w./-]*")  # with a slash it is no number or date


def plan_launch(config: Config, hardware: Hardware, train_yaml: str) -> LaunchPlan:
    """The plan for a training, on one machine or on the node of several that `launch.node_rank` names.

    train_yaml: the rendered file, relative to the project's root, where the child runs: LLaMA-Factory's
    launcher joins its command as text and splits it at spaces, which the root's own path may hold.
    """
    plan = _LAUNCHERS[config.launcher](config, hardware, train_yaml)
    environment = {
        # How many processes, also where the library would start one for each GPU it sees.
        "NPROC_PER_NODE": str(config.nproc_per_node),
        # Peak memory in each line of trainer_log.jsonl (llamafactory/train/callbacks.py).
        "RECORD_VRAM": "1",
        **plan.environment,
    }
    if hardware.is_cpu:
        # A GPU that is there would be taken by DeepSpeed, whatever use_cpu says.
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return replace(plan, environment=environment, grows=not hardware.is_cpu)


def growing(plan: LaunchPlan, around: Mapping[str, str]) -> LaunchPlan:
    """The same plan, with the variable by which segments grow, where it does so and `around` lacks one."""
    added = to_be_set(around) if plan.grows else {}
    return replace(plan, environment={**plan.environment, **added})


def with_argument(plan: LaunchPlan, name: str, path: str) -> LaunchPlan:
    """The same plan, with a path in place of what train.yaml says, without a space on the command line.

    path: relative to the project's root.
    The value is read as YAML (llamafactory/hparams/parser.py, read_args; omegaconf, from_cli), which can
    write any character in others.
    """
    value = path if _PLAIN.fullmatch(path) else f'"{"".join(map(_escaped, path))}"'
    return replace(plan, argv=(*plan.argv, f"{name}={value}"))


def continuing(plan: LaunchPlan, checkpoint: str) -> LaunchPlan:
    """The same plan, going on from a checkpoint (relative to the project's root).

    With overwrite_output_dir the library would delete the log so far (llamafactory/train/callbacks.py).
    """
    plan = with_argument(plan, "resume_from_checkpoint", checkpoint)
    return replace(plan, argv=(*plan.argv, "overwrite_output_dir=false"))


def from_the_beginning(plan: LaunchPlan) -> LaunchPlan:
    """The same plan, starting anew in a directory that was trained in (llamafactory/hparams/parser.py)."""
    return replace(plan, argv=(*plan.argv, "overwrite_output_dir=true"))


def logging_to(plan: LaunchPlan, events: str) -> LaunchPlan:
    """The same plan, with TensorBoard's events in this directory (relative to the project's root).

    Source: transformers/integrations/integration_utils.py, TensorBoardCallback.
    """
    return replace(plan, environment={**plan.environment, "TENSORBOARD_LOGGING_DIR": events})


def _escaped(character: str) -> str:
    return character if character.isalnum() or character in "./-_" else f"\\U{ord(character):08x}"


def _local(config: Config, hardware: Hardware, train_yaml: str) -> LaunchPlan:
    """LLaMA-Factory in one process."""
    return LaunchPlan((CLI, "train", train_yaml), {})


def _torchrun(config: Config, hardware: Hardware, train_yaml: str) -> LaunchPlan:
    """LLaMA-Factory's own launcher, which starts torchrun by itself and reads its options as variables."""
    launch = config.block("launch")
    environment = {"FORCE_TORCHRUN": "1", **_nodes(config), **_rendezvous(config)}
    environment |= {key.upper(): str(launch[key]) for key in _ELASTIC if launch.get(key) is not None}
    return LaunchPlan((CLI, "train", train_yaml), environment)


def _rendezvous(config: Config) -> dict[str, str]:
    """torchrun's own variable for an option (torch/distributed/argparse_util.py)."""
    conf = config.get("launch", "rdzv_conf")
    return {} if conf is None else {"PET_RDZV_CONF": str(conf)}


def _nodes(config: Config) -> dict[str, str]:
    """Also for one node, whose environment may hold the words of a cluster."""
    launch = config.block("launch")
    address = launch.get("master_addr") if config.nnodes > 1 else "127.0.0.1"
    environment = {
        "NNODES": str(config.nnodes),
        "NODE_RANK": str(launch.get("node_rank", 0)),
        "MASTER_ADDR": str(address),
    }
    if launch.get("master_port") is not None:
        environment["MASTER_PORT"] = str(launch["master_port"])
    return environment


def _auto(config: Config, hardware: Hardware, train_yaml: str) -> LaunchPlan:
    # DeepSpeed takes its process group from torchrun (llamafactory/launcher.py).
    torchrun = config.uses_zero or config.processes > 1
    return (_torchrun if torchrun else _local)(config, hardware, train_yaml)


def _accelerate(config: Config, hardware: Hardware, train_yaml: str) -> LaunchPlan:
    """accelerate's launcher, for FSDP, on the module that LLaMA-Factory gives torchrun as a file.

    By its name the rendered script holds no path of this machine.
    """
    settings = PurePosixPath(train_yaml).with_name(ACCELERATE)
    launch = config.block("launch")
    options = ["--config_file", str(settings)]
    if config.nnodes > 1:
        # the file is one for all nodes
        options += [MACHINE_RANK, str(launch.get("node_rank", 0))]
    if launch.get("rdzv_conf") is not None:
        options += ["--rdzv_conf", str(launch["rdzv_conf"])]
    argv = ("accelerate", "launch", *options, "--module", "llamafactory.launcher", train_yaml)
    return LaunchPlan(argv, {}, files=(ACCELERATE,))


def _ray(config: Config, hardware: Hardware, train_yaml: str) -> LaunchPlan:
    """A driver that starts LLaMA-Factory's launcher on each node of a placement group of a Ray cluster."""
    resources = {"CPU": 1} if hardware.is_cpu else {"CPU": 1, "GPU": config.nproc_per_node}
    options = ["--nnodes", str(config.nnodes), "--resources", json.dumps(resources)]
    if (given := config.block("launch").get("ray_init_kwargs")) is not None:
        options += ["--ray_init_kwargs", json.dumps(given)]
    argv = ("python3", "-P", "-m", "qtune.children.ray_nodes", *options, CLI, "train", train_yaml)
    return LaunchPlan(argv, _each_node(config), has_supervisors=True)


def _slurm(config: Config, hardware: Hardware, train_yaml: str) -> LaunchPlan:
    """LLaMA-Factory's launcher on each node of a Slurm job, started by srun from within the job."""
    job = sbatch_options(config, hardware)
    step = [f"--nodes={config.nnodes}", f"--ntasks={config.nnodes}", "--kill-on-bad-exit=1"]
    if config.nnodes > 1:
        step.append("--label")
    if "cpus-per-task" in job:
        step.append(f"--cpus-per-task={job['cpus-per-task']}")  # srun does not go by the job's since 22.05
    argv = ("srun", *step, "python3", "-P", "-m", "qtune.launch.slurm_node", CLI, "train", train_yaml)
    return LaunchPlan(argv, _each_node(config), sbatch=job, has_supervisors=True)


def _each_node(config: Config) -> dict[str, str]:
    """What is the same on all nodes; the cluster knows each one's rank, and the address of the first."""
    environment = {"FORCE_TORCHRUN": "1", "NNODES": str(config.nnodes), **_rendezvous(config)}
    port = config.get("launch", "master_port")
    return environment if port is None else {**environment, "MASTER_PORT": str(port)}


MACHINE_RANK = "--machine_rank"

# By `launch.launcher`: schema/launch.json.
_LAUNCHERS: dict[str, Callable[[Config, Hardware, str], LaunchPlan]] = {
    "auto": _auto,
    "local": _local,
    "torchrun": _torchrun,
    "accelerate": _accelerate,
    "ray": _ray,
    "slurm": _slurm,
}
