"""On Windows every command says what it needs; on macOS those work that start no training."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from trees import REPOSITORY

WINDOWS = """
import sys
sys.platform = "win32"
for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty"):
    sys.modules[name] = None  # importing it raises ImportError
"""
# psutil and the standard library are those of this system, so they are imported as what they are.
MACOS = """
import builtins, io, os, subprocess, sys, tempfile
import psutil
memory = psutil.virtual_memory()
psutil.virtual_memory = lambda: memory
sys.platform = "darwin"
for name in ("sched_getaffinity", "posix_fallocate", "pidfd_open", "memfd_create"):
    delattr(os, name)
opened = io.open
def without_proc(file, *arguments, **named):
    if str(file).startswith(("/proc", "/sys")):
        raise FileNotFoundError(2, "No such file or directory", file)
    return opened(file, *arguments, **named)
io.open = builtins.open = without_proc
"""
# Each command in turn, in one process: prints its exit code.
RUN = """
from {module} import {function}
for arguments in {lines!r}:
    sys.argv = ["qtune", *arguments]
    try:
        {function}()
    except SystemExit as ended:
        print("ended:", arguments, ended.code)
"""


def run(system: str, *lines: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """What the `qtune` script does on another system, one command after the other."""
    script = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]["qtune"]
    module, function = script.split(":")
    program = system + RUN.format(module=module, function=function, lines=lines)
    return subprocess.run([sys.executable, "-c", program], cwd=directory, capture_output=True, text=True)


def test_on_windows_every_command_says_in_one_line_what_it_needs(tmp_path: Path) -> None:
    lines = [[], ["--help"], ["render", "lora"], ["train"], ["data", "list"]]
    told = run(WINDOWS, *lines, directory=tmp_path)
    assert told.stdout.splitlines() == [f"ended: {line} 2" for line in lines]
    assert told.stderr == "error: qtune needs Linux: on Windows run it in WSL (`wsl --install`)\n" * len(
        lines
    )
    assert list(tmp_path.iterdir()) == []


def test_on_windows_so_does_the_module(tmp_path: Path) -> None:
    program = f"{WINDOWS}\nimport runpy\nrunpy.run_module('qtune', run_name='__main__')"
    told = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 2 and "needs Linux" in told.stderr and told.stderr.count("\n") == 1


def test_on_macos_the_commands_that_start_no_training_work(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("stage: sft\nfinetuning_type: lora\nlora_rank: 8\n")
    lines = (
        "init",
        "presets",
        "show lora --origin",
        "diff lora full",
        "check",
        "render minimal",
        "import old.yaml -n old",
        "copy lora ours",
        "schema",
        "estimate lora --hardware 1x24GB",
        "recommend --hardware 1x24GB",
        "data list",
        "data check demo",
        "runs",
    )
    done = run(MACOS, *(line.split() for line in lines), directory=tmp_path)
    ended = [line for line in done.stdout.splitlines() if line.startswith("ended: ")]
    assert ended == [f"ended: {line.split()} 0" for line in lines], done.stdout + done.stderr
