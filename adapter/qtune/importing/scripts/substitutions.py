"""What a shell's `$(…)` and variables of clusters stand for, where that can be told without running it."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import NamedTuple

GPUS = "as many as there are GPUs"
NODES = "as many as the job has nodes"
RANK = "the number of the node"

_GPUS = re.compile(
    r"(?:nvidia-smi|rocm-smi|npu-smi|amd-smi)\b.*\b(?:wc|grep|awk)\b|device_count\(\)"
    r"|CUDA_VISIBLE_DEVICES.*\b(?:wc|NF)\b|/dev/nvidia.*\bwc\b",
    re.DOTALL,
)
# The script's directory and the one it is started in: from both, relative paths are found.
_OWN = r"(?:\$0|BASH_SOURCE)[^()]*"
_DIRNAME = rf"\$\(\s*dirname\s[^()]*(?:{_OWN}|\$\([^()]*{_OWN}\)[^()]*)\)"
_HERE = re.compile(
    rf"\$\(\s*pwd(?:\s+-\w)?\s*\)|{_DIRNAME}"
    rf"|\$\(\s*cd\s+(?:--\s+)?[\"']?(?:{_DIRNAME})(?P<up>[\w./-]*)[\"']?[^&;]*(?:&&|;)\s*pwd(?:\s+-\w)?\s*\)"
)
_COUNTED = re.compile(
    r"\s*echo\s+(?P<list>[\w\s,.\"'$:{}-]*?)\s*\|\s*(?:tr\s+[\"']?,[\"']?\s+[\"']?\\n[\"']?\s*\|\s*wc\s+-l"
    r"|awk\s+-F\s*[\"']?,[\"']?\s+[\"']?\{\s*print\s+NF\s*\}[\"']?)\s*"
)
_ARITHMETIC = re.compile(r"[\d\s()+*/%-]+")
_MOST = 1_000_000_000
_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.floordiv,
    ast.Mod: operator.mod,
}


class Outside(NamedTuple):
    """A variable that the script does not set: its text where that is the same everywhere, what it means."""

    text: str
    means: str


_VARIABLES = {
    "PWD": Outside(".", ""),
    "SLURM_SUBMIT_DIR": Outside(".", ""),
    "HOME": Outside("~", ""),
    **dict.fromkeys(("SLURM_GPUS_ON_NODE", "SLURM_GPUS_PER_NODE", "GPU_COUNT"), Outside("", GPUS)),
    **dict.fromkeys(("SLURM_NNODES", "SLURM_JOB_NUM_NODES"), Outside("", NODES)),
    **dict.fromkeys(("SLURM_NODEID", "SLURM_PROCID"), Outside("", RANK)),
}


def known_by(name: str) -> Outside:
    """What the variable is outside of every script; empty where nobody knows."""
    return _VARIABLES.get(name, Outside("", ""))


def stands_for(expression: str) -> str:
    """GPUS where a `$(…)` counts them, else ''."""
    return GPUS if expression.startswith(("$(", "`")) and _GPUS.search(expression) else ""


def lists_gpus(text: str) -> bool:
    """Whether a list that is not known is that of the GPUs."""
    return "CUDA_VISIBLE_DEVICES" in text


def here(expression: str) -> str | None:
    """The path from the script's own directory, or the one it runs in, where a `$(…)` asks for that."""
    match = _HERE.fullmatch(expression)
    return None if match is None else f".{match['up'] or ''}"


def counted(command: str) -> str | None:
    """How many items `echo LIST | tr , '\\n' | wc -l` counts; None for another command."""
    match = _COUNTED.fullmatch(command)
    return None if match is None else str(len(match["list"].strip("\"' ").split(",")))


def calculated(text: str) -> str | None:
    """The whole number that `(text)` comes to; None where it is no arithmetic of such numbers."""
    if not _ARITHMETIC.fullmatch(text):
        return None
    try:
        return str(_number(ast.parse(text.strip(), mode="eval").body))
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _number(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) < _MOST:
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_number(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        result = _OPERATORS[type(node.op)](_number(node.left), _number(node.right))
        if abs(result) < _MOST:
            return result
    raise ValueError("no arithmetic of whole numbers")
