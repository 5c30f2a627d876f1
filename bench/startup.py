"""How fast a command answers: `qtune render` against what it imports, and against LLaMA-Factory's own start.

Prints medians of interleaved runs and their ratios, all from this one run; exits with 1 where a ratio misses
its goal. Rerun it anywhere with `make bench`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BIN = Path(sys.executable).parent
RENDER = [str(BIN / "qtune"), "render", "stage3"]
IMPORTS = [sys.executable, "-c", "import typer, yaml, jinja2"]
LIBRARY = [str(BIN / "llamafactory-cli"), "version"]
ROUNDS, LIBRARY_ROUNDS = 15, 3
MOST_OVER_IMPORTS = 2.5
LEAST_UNDER_LIBRARY = 20.0


def seconds(command: list[str], directory: str) -> float:
    # bytecode is cached, as it is for everybody who runs a command twice
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(command, cwd=directory, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([str(BIN / "qtune"), "init", "."], cwd=directory, check=True, capture_output=True)
        times: dict[str, list[float]] = {"render": [], "imports": [], "library": []}
        for command in (RENDER, IMPORTS, LIBRARY):
            seconds(command, directory)
        for index in range(ROUNDS):
            times["render"].append(seconds(RENDER, directory))
            times["imports"].append(seconds(IMPORTS, directory))
            if index < LIBRARY_ROUNDS:
                times["library"].append(seconds(LIBRARY, directory))
    render, imports, library = (statistics.median(times[name]) for name in ("render", "imports", "library"))
    print(f"qtune render stage3                    {render:7.3f} s")
    print(f"python -c 'import typer, yaml, jinja2' {imports:7.3f} s")
    print(f"llamafactory-cli version               {library:7.3f} s")
    print(f"render / imports: {render / imports:.2f} (goal: at most {MOST_OVER_IMPORTS})")
    print(f"library / render: {library / render:.1f} (goal: at least {LEAST_UNDER_LIBRARY:g})")
    return int(render / imports > MOST_OVER_IMPORTS or library / render < LEAST_UNDER_LIBRARY)


if __name__ == "__main__":
    sys.exit(main())
