"""Train one rendered config in this process and say how much memory it took beside the libraries.

Run as `python measured_training.py TRAIN_YAML OUTPUT_DIR WARM_UP_YAML`, or
`python measured_training.py --make CONFIG_JSON DIR` for a model of those shapes with random weights. Prints
one JSON mapping: resident bytes with all libraries in use (`own`), the most there ever were (`peak`), and the
most that torch allocated on a GPU (`allocated`, 0 without one).
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
from pathlib import Path


def resident(field: str) -> int:
    """VmRSS or VmHWM of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise AssertionError(field)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return str(probe.getsockname()[1])


def make(config: Path, directory: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    shapes = Qwen2Config(**json.loads(config.read_text()))
    model = AutoModelForCausalLM.from_config(shapes, dtype=getattr(torch, str(shapes.dtype).split(".")[-1]))
    model.save_pretrained(directory)


def train(file: str, output: str, warm_up: str) -> None:
    import torch
    import yaml

    arguments = yaml.safe_load(Path(file).read_text())
    if "deepspeed" in arguments:
        import deepspeed  # noqa: F401
    from llamafactory.train.tuner import run_exp

    # once through a training that takes next to nothing, since the libraries import much when first used
    run_exp({**yaml.safe_load(Path(warm_up).read_text()), "output_dir": f"{output}-warm-up"})
    if "deepspeed" in arguments:
        os.environ.update(
            RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="localhost", MASTER_PORT=free_port()
        )
        from accelerate.state import AcceleratorState, PartialState

        AcceleratorState._reset_state(reset_partial_state=True)
        PartialState._reset_state()
    gc.collect()
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    own = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # from here on VmHWM starts anew
    run_exp({**arguments, "output_dir": output})
    allocated = torch.cuda.max_memory_allocated() if on_gpu else 0
    print(json.dumps({"own": own, "peak": resident("VmHWM"), "allocated": allocated}))


if __name__ == "__main__":
    if sys.argv[1] == "--make":
        make(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        train(*sys.argv[1:])
