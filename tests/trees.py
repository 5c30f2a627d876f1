"""Small file trees, and what one call of the command line printed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
TINY_MODEL = REPOSITORY / "data" / "tiny-qwen2"
ROWS = [{"instruction": f"say {number}", "input": "", "output": str(number)} for number in range(10)]

# What built-in presets need beside the checkout's own project, as --set has it: other data, a disk.
_PAIRS = ("dataset=demo_dpo", "eval_dataset=null")
PRESET_NEEDS = {
    "dpo": _PAIRS,
    "reward": _PAIRS,
    "kto": ("dataset=demo_kto", "eval_dataset=null"),
    "pretrain": ("dataset=demo_text", "eval_dataset=null"),
    "zero3_nvme": ("launch.nvme_path=nvme",),
}


@dataclass(frozen=True)
class Result:
    """What one call of `qtune` printed, and its exit code."""

    code: int
    out: str
    err: str


def write_tree(root: Path, tree: Mapping[str, Any]) -> Path:
    """Files by relative path: text as it is, lists as JSON lines, other values as JSON."""
    for name, content in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
        elif not isinstance(content, str):
            content = json.dumps(content, ensure_ascii=False)
        path.write_text(content, encoding="utf-8")
    return root


def files_below(root: Path) -> set[str]:
    """Every file below `root`, for 'nothing was written'."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@contextmanager
def read_only(*directories: Path) -> Iterator[None]:
    """For the block nobody writes in these directories; root, whom permissions do not bind, by a mount.

    Skips the test where it may mount nothing.
    """
    with ExitStack() as undone:
        for directory in directories:
            if os.geteuid() != 0:
                directory.chmod(0o555)
                undone.callback(directory.chmod, 0o755)
                continue
            path = str(directory)
            for mount in (["--bind", path, path], ["-o", "remount,ro,bind", path]):
                if shutil.which("mount") is None or subprocess.run(["mount", *mount]).returncode != 0:
                    pytest.skip("root may mount nothing here")
                if mount[0] == "--bind":
                    undone.callback(subprocess.run, ["umount", "--lazy", path], check=True)
        yield


def loaded(*commands: list[str], directory: Path) -> list[set[str]]:
    """The modules that a process has loaded after each of these commands of `qtune`, run in turn."""
    program = (
        "import json, sys\n"
        "from qtune.cli import main\n"
        "said = []\n"
        f"for command in {commands!r}:\n"
        "    sys.argv = ['qtune', *command]\n"
        "    try: main()\n"
        "    except SystemExit as ended: assert not ended.code, command\n"
        "    said.append(sorted(sys.modules))\n"
        "print(json.dumps(said), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [set(modules) for modules in json.loads(done.stderr.splitlines()[-1])]


def cost(*arguments: str, directory: Path, goal: float) -> tuple[set[str], float]:
    """The modules that `qtune` imports for a command, and the seconds of processor time it takes.

    Processor time, because other tests run beside. A run that misses the goal is done again: it may have
    written bytecode.
    """
    program = (
        "import atexit, json, sys, time\n"
        "said = lambda: print(json.dumps([sorted(sys.modules), time.process_time()]), file=sys.stderr)\n"
        "atexit.register(said)\n"
        f"sys.argv = {['qtune', *arguments]!r}\n"
        "from qtune.cli import main\nmain()\n"
    )
    for _ in range(2):
        argv = [sys.executable, "-c", program]
        done = subprocess.run(argv, cwd=directory, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        modules, seconds = json.loads(done.stderr.splitlines()[-1])
        if seconds < goal:
            break
    return set(modules), seconds
