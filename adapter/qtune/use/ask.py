"""One question to one or more models: LLaMA-Factory answers, in a child process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qtune import failures
from qtune.errors import ChildFailed
from qtune.processes import process
from qtune.processes.child import environment, script
from qtune.values import Config


@dataclass(frozen=True)
class Answer:
    """What a model said. finish_reason: `stop` where it came to an end, `length` where it was cut."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


def ask(models: Sequence[Config], prompt: str, system: str | None, root: Path) -> list[Answer]:
    """Each model's answer to `prompt`, in order; one after the other is in memory.

    models: as `infer_config` makes them; system: the system prompt, None for the template's own.
    Raises QtuneError where LLaMA-Factory is not installed, ChildFailed where it fails.
    """
    request = {
        "models": [config.block("train") for config in models],
        "messages": [{"role": "user", "content": prompt}],
        "system": system,
    }
    given = json.dumps(request).encode()
    answer = process.ask(script("ask.py"), environment(), given=given, directory=root)
    if answer.exit_code != 0:
        lines = failures.lines_of(answer.error)
        raise ChildFailed(failures.told("LLaMA-Factory fails on this", lines, answer.exit_code or 0))
    return [Answer(**made) for made in json.loads(answer.out)]
