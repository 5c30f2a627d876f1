"""Hand rendered directories to the libraries that will read them, and write down what these made of each.

Run as `python accept_configs.py requests.json answers.json`, the first with a list of {"root", "directory",
"gpus", "environment"}, one for each rendered directory; answers with a list of {"error", "parsed", "zero"}.
The libraries are imported once; each directory is read in a fork, since the parser leaves process groups and
singletons behind.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import transformers.training_args
from deepspeed.runtime.config import DeepSpeedConfig
from llamafactory.hparams.parser import get_train_args
from transformers import AutoConfig


def answer_all(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer each request of the first file named, in a fork of its own, into the second."""
    requests, answers = map(Path, sys.argv[1:])
    results = [in_a_fork(answer, request) for request in json.loads(requests.read_text(encoding="utf-8"))]
    answers.write_text(json.dumps(results), encoding="utf-8")


def in_a_fork(answer: Callable[[dict[str, Any]], dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w", encoding="utf-8") as pipe:
            json.dump(answer(request), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"error": "the parser's process died", "parsed": {}, "zero": {}}


def accept(request: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {"error": None, "parsed": {}, "zero": {}}
    os.chdir(request["root"])
    os.environ.update(request["environment"])
    launched = Path(request["directory"]) / "train.yaml"
    try:
        if "FORCE_TORCHRUN" in request["environment"] or request["gpus"] > 1:
            os.environ.update(one_worker_of_torchrun())
        if request["gpus"]:
            answer_the_hardware_probe()
        sys.argv = ["llamafactory-cli", str(launched)]  # `train` is popped before the parser looks
        parsed = get_train_args()
        training = parsed[2]
        result["parsed"] = {
            name: plain(value) for arguments in reversed(parsed) for name, value in vars(arguments).items()
        }
        if training.deepspeed:
            result["zero"] = accept_zero(training, parsed[0].model_name_or_path)
    except BaseException:
        result["error"] = traceback.format_exc()
    return result


def accept_zero(training: Any, model: str) -> dict[str, Any]:
    """DeepSpeed's reading of the file, once its `auto` values are filled as the Trainer fills them."""
    filled = training.hf_deepspeed_config
    try:
        shapes = AutoConfig.from_pretrained(model)
    except OSError:  # a hub's model, and no hub
        shapes = SimpleNamespace(hidden_size=896)
    filled.trainer_config_finalize(training, SimpleNamespace(config=shapes), num_training_steps=10)
    config = DeepSpeedConfig(filled.config)
    return {
        **config.zero_config.model_dump(mode="json"),
        "train_batch_size": config.train_batch_size,
        "micro_batch_size": config.train_micro_batch_size_per_gpu,
        "accumulation": config.gradient_accumulation_steps,
        "bfloat16": config.bfloat16_config.enabled,
        "fp16": config.float16_config.enabled,
        "engine": accept_engine(config),
    }


def accept_engine(config: DeepSpeedConfig) -> dict[str, Any]:
    """What DeepSpeed made of its other keys, under their names in the file."""
    blocks = {
        "fp16": config.float16_config,
        "bf16": config.bfloat16_config,
        "activation_checkpointing": config.activation_checkpointing_config,
        "flops_profiler": config.flops_profiler_config,
        "csv_monitor": config.monitor_config.csv_monitor,
        "tensor_parallel": config.tensor_parallel_config,
    }
    return {
        **{name: plain(vars(block)) for name, block in blocks.items()},
        "aio": config.aio_config,
        "optimizer": {"type": config.optimizer_name, "params": config.optimizer_params},
        "scheduler": {"type": config.scheduler_name, "params": config.scheduler_params},
        "data_types": {"grad_accum_dtype": config.grad_accum_dtype},
        "communication_data_type": str(config.communication_data_type),
    }


def one_worker_of_torchrun() -> dict[str, str]:
    """What torchrun tells its worker, for a world of one: more would wait for each other here."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    return {**alone, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def answer_the_hardware_probe() -> None:
    """A GPU that computes in bf16, which the config is for and this machine may lack."""
    transformers.training_args.is_torch_bf16_gpu_available = lambda: True


def plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (torch.dtype, torch.device)) or not isinstance(value, (str, int, float, type(None))):
        return str(value)
    return getattr(value, "value", value)  # an enumeration's value


if __name__ == "__main__":
    answer_all(accept)
