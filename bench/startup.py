"""How fast commands answer, against the bare imports of typer, yaml and jinja2 and LLaMA-Factory's own start.

Prints medians of interleaved runs and their ratios, all from this one run; exits with 1 where a ratio misses
its goal. `--loose` leaves LLaMA-Factory out, and allows half as much again: a machine that is busy passes, a
command that begins to load what it does not need fails. Rerun it anywhere with `make bench`.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BIN = Path(sys.executable).parent
IMPORTS = "python -c 'import typer, yaml, jinja2'"
LIBRARY = "llamafactory-cli version"
COMPLETION = "completion of `qtune render st`"
SHAPE = Path(__file__).parents[1] / "tests" / "import_toolkits" / "axolotl" / "vision_lora.yaml"
GOALS = {
    "qtune --help": 1.5,
    "qtune presets": 1.5,
    "qtune show stage3": 1.5,
    "qtune check": 1.7,
    "qtune render stage3": 1.7,
    f"qtune import {SHAPE.name}": 2.5,
    COMPLETION: 1.2,
}
"""Most times that the bare imports take."""
LEAST_UNDER_LIBRARY = 20.0  # LLaMA-Factory's first word against a render
LOOSE = 1.5
ROUNDS, LIBRARY_ROUNDS = 15, 3


def seconds(name: str, directory: str) -> float:
    # bytecode is cached, as it is for everybody who runs a command twice
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    argv = [str(BIN / name.split()[0]), *name.split()[1:]]
    if name == IMPORTS:
        argv = [sys.executable, "-c", "import typer, yaml, jinja2"]
    if name == COMPLETION:
        argv = [str(BIN / "qtune")]
        environment |= {
            "_QTUNE_COMPLETE": "complete_bash",
            "COMP_WORDS": "qtune render st",
            "COMP_CWORD": "2",
        }
    start = time.perf_counter()
    subprocess.run(argv, cwd=directory, env=environment, check=name != COMPLETION, capture_output=True)
    return time.perf_counter() - start


def main() -> int:
    loose = "--loose" in sys.argv
    names = [IMPORTS, *GOALS, *([] if loose else [LIBRARY])]
    times: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([str(BIN / "qtune"), "init", "."], cwd=directory, check=True, capture_output=True)
        shutil.copy(SHAPE, directory)
        for name in names:
            seconds(name, directory)
        for index in range(ROUNDS):
            for name in names:
                if name != LIBRARY or index < LIBRARY_ROUNDS:
                    times[name].append(seconds(name, directory))
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    missed = False
    for name, median in medians.items():
        line = f"{name:40}{median:7.3f} s"
        if name in GOALS:
            ratio, goal = median / medians[IMPORTS], GOALS[name] * (LOOSE if loose else 1)
            missed |= ratio > goal
            line += f"{ratio:7.2f} times the imports (goal: at most {goal:g})"
        print(line)
    if not loose:
        ratio = medians[LIBRARY] / medians["qtune render stage3"]
        missed |= ratio < LEAST_UNDER_LIBRARY
        print(f"{LIBRARY} / render: {ratio:.1f} (goal: at least {LEAST_UNDER_LIBRARY:g})")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
