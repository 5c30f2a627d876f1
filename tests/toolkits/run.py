"""Has each toolkit's own parser read the configs that importing is tested with: `make test-toolkits`.

    python tests/toolkits/run.py [TOOLKIT…]

A toolkit is installed once, in the user's cache, over the stack of this Python. Exits with 1 where a parser
refuses a file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).parent
SHAPES = HERE.parent / "import_toolkits"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qtune" / "toolkits"


def installed(toolkit: str, packages: list[str]) -> Path:
    """The directory that holds those packages."""
    target, stamp = CACHE / toolkit, CACHE / f"{toolkit}.txt"
    pins = "\n".join(packages)
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != pins:
        shutil.rmtree(target, ignore_errors=True)
        uv = Path(sys.executable).with_name("uv")
        words = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--no-deps", "--target", target]
        subprocess.run([*words, *packages], check=True)
        stamp.write_text(pins, encoding="utf-8")
    return target


def reads(toolkit: str, packages: list[str]) -> bool:
    """Whether its parser takes all of its files; what it refuses is printed."""
    files = sorted((SHAPES / toolkit).iterdir())
    path = [str(installed(toolkit, packages)), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path)), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", HERE / f"read_{toolkit}.py", *files]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    print(result.stdout, end="")
    print(
        f"{toolkit}: {'reads' if result.returncode == 0 else 'REFUSES some of'} {len(files)} files",
        flush=True,
    )
    return result.returncode == 0


def main(chosen: list[str]) -> int:
    toolkits = yaml.safe_load((HERE / "packages.yaml").read_text(encoding="utf-8"))
    CACHE.mkdir(parents=True, exist_ok=True)
    return int(not all([reads(name, toolkits[name]) for name in chosen or toolkits]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
