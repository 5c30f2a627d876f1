"""LLaMA-Factory's real parser, imported once, and configs handed to it as `llamafactory-cli train` does.

What it needs of a launch is supplied: torchrun's words for one worker, and the answer of a GPU that this
machine may lack. What a parse leaves behind in the process is taken away after it.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import llamafactory.hparams.parser as parser
import torch.distributed
import transformers.training_args as training_args
from accelerate.state import AcceleratorState
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from qtune.data.registrations import complete_entry, names_in
from qtune.launch.plan import plan_launch
from qtune.machine.hardware import Hardware
from qtune.prepare.pipeline import Prepared
from qtune.render.files import render
from qtune.render.templates import Templates


def refusal(prepared: Prepared) -> BaseException | None:
    """What the library's parser raises for a config, rendered whatever qtune finds in it; None if nothing."""
    config, root = prepared.config, prepared.project.root
    directory = root / "rendered" / "case"
    names = [*names_in(config.get("train", "dataset")), *names_in(config.get("train", "eval_dataset"))]
    plan = plan_launch(config, prepared.hardware, "rendered/case/train.yaml")
    files = render(
        config,
        {name: complete_entry(prepared.registrations[name], directory) for name in dict.fromkeys(names)},
        prepared.hardware,
        plan,
        templates=Templates((), root),
        directory="rendered/case",
        output_dir="runs/case",
    )
    directory.mkdir(parents=True, exist_ok=True)
    for file in files:
        (directory / file.name).write_text(file.text, encoding="utf-8")
    return parse(root, "rendered/case/train.yaml", prepared.hardware, distributed(prepared))


def distributed(prepared: Prepared) -> bool:
    """Whether torchrun starts it (llamafactory/launcher.py, launch)."""
    config = prepared.config
    if config.launcher == "local":
        return prepared.hardware.gpus > 1
    asked = config.launcher != "auto"
    return asked or config.uses_zero or config.processes > 1 or prepared.hardware.gpus > 1


def parse(root: Path, file: str, hardware: Hardware, torchrun: bool) -> BaseException | None:
    """What the parser raises for the file, None if nothing.

    Many at once are fastest with the distributed ones last: their process group stays.
    """
    environment, directory, argv = dict(os.environ), Path.cwd(), sys.argv
    if not torchrun:
        _end_process_group()
    training_args.is_torch_bf16_gpu_available = lambda: hardware.bf16
    training_args.is_torch_tf32_available = lambda: hardware.bf16
    parser.is_torch_bf16_gpu_available = lambda: hardware.bf16
    try:
        os.chdir(root)
        sys.argv = ["llamafactory-cli", file]
        if torchrun:
            os.environ.update(_one_worker_of_torchrun())
        parser.get_train_args()
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        return error.with_traceback(None)
    finally:
        _forget()
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = argv
    return None


def _one_worker_of_torchrun() -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    return {**alone, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def _end_process_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    if "deepspeed" in sys.modules:
        sys.modules["deepspeed.comm.comm"].cdb = None


def _forget() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    unset_hf_deepspeed_config()
