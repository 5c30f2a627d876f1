"""A script that compiles DeepSpeed's operations ahead of a training, which would compile them at its start.

    compile.py LOCK OPERATION …

It holds LOCK by flock, which dies with it, and writes there who holds it since when. Its exit code is 0 where
all is compiled; DeepSpeed's own words say why not.
"""

from __future__ import annotations

import fcntl
import os
import platform
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

# DeepSpeed's builders (deepspeed/accelerator/*_accelerator.py, get_op_builder) by what they build.
BUILDERS = {
    "deepspeed_shm_comm": "ShareMemCommBuilder",
    "cpu_adam": "CPUAdamBuilder",
    "async_io": "AsyncIOBuilder",
}


def main(lock: Path, operations: list[str]) -> None:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a", encoding="utf-8") as held:
        with suppress(OSError):  # a file system without locks keeps nobody out
            fcntl.flock(held, fcntl.LOCK_EX)
        held.truncate(0)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        held.write(f"process {os.getpid()} of qtune on {platform.node()}, since {since}")
        held.flush()
        try:
            compile_all(operations)
        finally:
            held.truncate(0)


def compile_all(operations: list[str]) -> None:
    from deepspeed.accelerator import get_accelerator  # only now: another may hold the lock for long

    for operation in operations:
        get_accelerator().create_op_builder(BUILDERS[operation]).load()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
