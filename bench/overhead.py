"""What `qtune train` costs over `llamafactory-cli train` on the same rendered config.

Prints medians of interleaved runs and their ratios, wall and processor time, all from this one run; exits
with 1 where a ratio misses its goal, or any loss differs. Rerun it anywhere with `make bench`.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

BIN = Path(sys.executable).parent
CHECKOUT = Path(__file__).resolve().parents[1]
ROUNDS = 5
MOST = 1.03
# Some 40 s on two cores: a start costs qtune the same on a training of any length.
SETTINGS = ("num_train_epochs=8", "logging_steps=1", "eval_strategy='no'")


def run(argv: list[str], directory: Path) -> tuple[float, float]:
    """Seconds of wall time, and of processor time with all descendants, of a command that has to succeed."""
    left_out = ("PYTHONDONTWRITEBYTECODE",)  # bytecode is cached, as for everybody who runs a command twice
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    # one thread: two would wait for each other wherever something else runs
    environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    with (directory / "output.txt").open("wb") as output:
        redirected = [(os.POSIX_SPAWN_DUP2, output.fileno(), number) for number in (1, 2)]
        os.chdir(directory)
        pid = os.posix_spawn(argv[0], argv, environment, file_actions=redirected)
        _, status, used = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    if status != 0:
        sys.exit(f"{argv} failed:\n{(directory / 'output.txt').read_text(errors='replace')[-4000:]}")
    return wall, used.ru_utime + used.ru_stime


def losses(run_directory: Path) -> list[float]:
    lines = (run_directory / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [row["loss"] for row in map(json.loads, lines) if "loss" in row]


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        shutil.copy(CHECKOUT / "qtune.yaml", directory)
        shutil.copytree(CHECKOUT / "data", directory / "data")
        settings = [word for setting in SETTINGS for word in ("-s", setting)]
        run([str(BIN / "qtune"), "render", "lora", *settings], directory)
        rendered = "rendered/lora/train.yaml"
        times: dict[str, list[tuple[float, float]]] = {"qtune": [], "library": []}
        logged = []
        for number in range(ROUNDS):
            commands = {
                "qtune": [str(BIN / "qtune"), "train", "-n", f"qtune-{number}"],
                "library": [
                    str(BIN / "llamafactory-cli"),
                    "train",
                    rendered,
                    f"output_dir=runs/library-{number}",
                ],
            }
            for who in sorted(commands, reverse=number % 2 == 1):
                times[who].append(run(commands[who], directory))
                logged.append(losses(directory / "runs" / f"{who}-{number}"))
        same = all(one == logged[0] for one in logged)
    missed = not same
    for column, kind in enumerate(("wall", "processor")):
        mine, library = (statistics.median(row[column] for row in times[who]) for who in ("qtune", "library"))
        missed |= mine / library > MOST
        print(f"qtune train            {mine:7.2f} s of {kind} time")
        print(f"llamafactory-cli train {library:7.2f} s of {kind} time")
        print(f"qtune / library: {mine / library:.3f} (goal: at most {MOST})")
    print(f"{len(logged)} runs, {len(logged[0])} losses each: {'all the same' if same else 'DIFFERENT'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
