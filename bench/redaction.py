"""How fast secrets are taken out of a log, and in how much memory.

Makes a log as a training prints it, with progress bars and addresses, a secret every megabyte, and one line
of a tenth of the size. A process of its own cleans it. Prints seconds, MB a second of processor time and the
peak memory; exits with 1 where a goal is missed or a secret is left. `--size 1000` measures a log of 1 GB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LEAST_MB_A_SECOND = 20.0
MOST_MEMORY_MB = 100.0
TOKEN = "hf_" + "a1B2" * 9
LINE = (
    "{'loss': 1.234, 'grad_norm': 0.5, 'learning_rate': 1e-4, 'epoch': 0.1, 'eos_token': '</s>'}\n"
    "[INFO|2026-01-01 10:00:00] transformers:2021 >> see https://example.org/docs?page=2&step=3#end\n"
    "\r 12%|#####       | 120/1000 [00:10<01:20, 11.0it/s]\n"
)


def write_log(path: Path, megabytes: int) -> None:
    ordinary = LINE * (1_000_000 // len(LINE))
    with path.open("w", encoding="utf-8") as stream:
        for number in range(megabytes * 9 // 10):
            stream.write(f"{ordinary}https://user:pass-{number}@host/x?access_token=abc{number} {TOKEN}\n")
        for _ in range(megabytes):
            stream.write("x" * 100_000)
        stream.write(f" {TOKEN}\n")


def measure(path: Path) -> dict[str, float]:
    """This process cleans the log."""
    from qtune.secrets.logs import clean

    start, used = time.perf_counter(), time.process_time()
    clean(path, ["0123456789abcdef"])
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"seconds": seconds, "processor": processor, "memory": memory}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=200, metavar="MB")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return 0
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "train.log"
        write_log(log, options.size)
        argv = [sys.executable, __file__, "--measure", str(log)]
        found = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout)
        with log.open("rb") as stream:
            left = sum(TOKEN.encode() in line or b"pass-" in line or b"n=abc" in line for line in stream)
    seconds, speed, memory = found["seconds"], options.size / found["processor"], found["memory"]
    print(
        f"{options.size} MB cleaned in {seconds:.1f} s: {speed:.0f} MB/s of processor, {memory:.0f} MB memory"
    )
    print(f"goals: at least {LEAST_MB_A_SECOND:g} MB/s, at most {MOST_MEMORY_MB:g} MB memory at any size")
    return int(left > 0 or speed < LEAST_MB_A_SECOND or memory > MOST_MEMORY_MB)


if __name__ == "__main__":
    sys.exit(main())
