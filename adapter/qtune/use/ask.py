"""One question to one or more models: LLaMA-Factory answers, in a child process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qtune.processes import child
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
    answers = child.ask(child.script("ask.py"), request, "LLaMA-Factory fails on this", directory=root)
    return [Answer(**made) for made in answers]
