"""Train rendered directories of one process each, with the libraries imported once.

Run as `python train_rendered.py NAME…` in the project's root, `rendered/NAME` being what to train into
`runs/NAME`. Each training is what its launch.sh starts, in a fork, two at a time; its output goes to
`runs/NAME/train.log`. Prints one JSON mapping of names to exit codes.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

from llamafactory.train.tuner import run_exp

AT_A_TIME = 2


def main() -> None:
    waiting, running, codes = list(sys.argv[1:]), {}, {}
    while waiting or running:
        while waiting and len(running) < AT_A_TIME:
            name = waiting.pop(0)
            running[train(name)] = name
        process, status = os.wait()
        codes[running.pop(process)] = os.waitstatus_to_exitcode(status)
    print(json.dumps(codes))


def train(name: str) -> int:
    """Start one; its process."""
    process = os.fork()
    if process:
        return process
    run = Path("runs") / name
    run.mkdir(parents=True)
    log = os.open(run / "train.log", os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.environ.update(exports(Path("rendered") / name / "launch.sh"))
    sys.argv = ["llamafactory-cli", f"rendered/{name}/train.yaml", f"output_dir={run}"]
    code = 1
    try:
        run_exp()
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code)


def exports(script: Path) -> dict[str, str]:
    """The variables that a launch.sh of one process sets."""
    lines = script.read_text(encoding="utf-8").splitlines()
    pairs = dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
    assert pairs["NPROC_PER_NODE"] == "1" and "FORCE_TORCHRUN" not in pairs, script
    return {name: value.strip("'") for name, value in pairs.items()}


if __name__ == "__main__":
    main()
