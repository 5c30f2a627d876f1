"""A child's output as lines, and which of them says why it failed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

_TAIL_BYTES = 1_000_000
_LONGEST = 300
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# srun's and qtune's mark (children/ray_nodes.py) of the node that a line is from, and torchrun's of the rank
_WHOSE = re.compile(
    r"^(?:(?P<task>\d+): |\[node (?P<node>\d+)\] )?(?:\[(?:rank|default)(?P<rank>\d+)\]:\s?)?"
)
# `ValueError: …`, `torch.OutOfMemoryError: …`
_ERROR = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit|Invalid)\b(?::.*)?$")
# What launchers, and the datasets library over pyarrow, say of a failure below them: true, and no reason.
_WRAPPERS = (
    "ChildFailedError",
    "CalledProcessError",
    "SystemExit",
    "ProcessRaisedException",
    "SignalException",  # of a torchrun that was told to end, since another node failed
    "DatasetGenerationError",
)
_ROOT_CAUSE = "Root Cause (first observed failure):"
_EVALUATION, _TRAINING = "***** Running Evaluation *****", "***** Running training *****"
_EVALUATED = re.compile(r"'eval_\w*runtime'")
_RANK = re.compile(r"^\s*rank\s*: (\d+)")
# LLaMA-Factory prints a row of data, which may hold any words (data/loader.py, _get_preprocessed_dataset).
_EXAMPLE = re.compile(r"^(?:training|eval) example:$")
_AFTER_EXAMPLE = re.compile(r"^\[(?:INFO|WARNING|ERROR|rank\d+|\d{4}-)|^Traceback ")


def tail(log: Path, start: int = 0) -> list[str]:
    """The last lines of a log, without colours and without what a progress bar wrote over.

    start: the byte where the child's own output begins.
    """
    with log.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(start, stream.tell() - _TAIL_BYTES))
        return lines_of(stream.read())


def lines_of(output: bytes) -> list[str]:
    """The lines of a program's output, as `tail` has them."""
    lines = _ANSI.sub("", output.decode("utf-8", errors="replace")).split("\n")
    return [line.rstrip("\r").rsplit("\r", 1)[-1].rstrip() for line in lines]


def own_words(lines: Sequence[str]) -> list[str]:
    """The lines that are the program's own: without the rows of data that it shows."""
    kept, shows_data = [], False
    for line in lines:
        text = whose(line)[1]
        if _EXAMPLE.match(text):
            shows_data = True
        elif shows_data and (_AFTER_EXAMPLE.match(text) or _AFTER_EXAMPLE.match(line)):
            shows_data = False
        if not shows_data:
            kept.append(line)
    return kept


Phase = Literal["before", "training", "evaluating"]


def phase(lines: Sequence[str]) -> Phase:
    """What these lines say last that the trainer was at: nothing yet, its steps, or an evaluation.

    Source: transformers/trainer.py, _inner_training_loop and evaluation_loop.
    """
    found: Phase = "before"
    for line in lines:
        if _EVALUATION in line:
            found = "evaluating"
        elif _EVALUATED.search(line) or _TRAINING in line:
            found = "training"
    return found


def whose(line: str) -> tuple[str | None, str]:
    """The rank that a line is marked with, else the node, and the line without the marks."""
    match = _WHOSE.match(line)
    assert match is not None  # both marks are optional
    return match["rank"] or match["task"] or match["node"], line[match.end() :]


def shortened(line: str) -> str:
    text = whose(line)[1].strip()
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def error_line(lines: Sequence[str]) -> str | None:
    """The last error line that has a reason in it, of the process that failed first if torchrun names it."""
    first = _first_to_fail(lines)
    found: dict[str | None, str] = {}
    for line in lines:
        rank, text = whose(line)
        if _ERROR.match(text) and not any(wrapper in text for wrapper in _WRAPPERS):
            found[rank] = text
            found["any"] = text
    return found.get(first) or found.get("any")


def _first_to_fail(lines: Sequence[str]) -> str:
    for number, line in enumerate(lines):
        if whose(line)[1].strip() == _ROOT_CAUSE:
            ranks = (_RANK.match(whose(item)[1]) for item in lines[number + 1 : number + 6])
            return next((match[1] for match in ranks if match), "any")
    return "any"
