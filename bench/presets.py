"""How fast `qtune presets` lists 10,000 presets of one source.

Prints the processor time, which is how long it takes where nothing else runs, and the time that passed; exits
with 1 where the former misses its goal. Rerun it anywhere with `make bench`.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PRESETS = 10_000
GOAL = 3.0
"""Seconds."""


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        project, shared = Path(directory, "project"), Path(directory, "shared")
        project.mkdir()
        shared.mkdir()
        (project / "qtune.yaml").write_text("presets: [../shared]\n", encoding="utf-8")
        for number in range(PRESETS):
            words = f"about: number {number}\nfits: 6-12 GB\nextends: lora\n"
            text = f"{words}train:\n  lora_rank: {number % 64 + 1}\n  learning_rate: 1e-4\n"
            (shared / f"preset_{number:05}.yaml").write_text(text, encoding="utf-8")
        # bytecode is cached, as it is for everybody who runs a command twice
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        start = time.perf_counter()
        argv = [sys.executable, "-m", "qtune", "presets"]
        done = subprocess.run(argv, cwd=project, env=environment, check=True, capture_output=True, text=True)
        passed = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken = used.ru_utime + used.ru_stime
    assert done.stdout.count("preset_") == PRESETS
    print(
        f"qtune presets, {PRESETS:,} in one source: {taken:.2f} s of processor time "
        f"(goal: at most {GOAL:g}), {passed:.2f} s passed"
    )
    return int(taken > GOAL)


if __name__ == "__main__":
    sys.exit(main())
