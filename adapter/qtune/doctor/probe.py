"""What the training's own Python can import and use, found out by a child process, which imports torch."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qtune.processes import child
from qtune.processes.process import Outcome

SECONDS = 120.0  # imports from a cold network disk; 9 s from a warm one


@dataclass(frozen=True)
class Part:
    """A package as its import showed it; error: why it is of no use."""

    version: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Device:
    """An accelerator as torch sees it; memory in bytes; error: why it did not compute."""

    name: str | None = None
    memory: int | None = None
    bf16: bool | None = None
    error: str | None = None


@dataclass(frozen=True)
class Probe:
    """The child's answers.

    versions: of installed distributions; cuda, hip: what torch was built for; kind: `cuda` or `npu`, of the
    devices; cuda_home, nvcc: the toolkit that DeepSpeed would compile with; problems: why parts of DeepSpeed
    cannot be compiled, by operation.
    """

    python: str | None = None
    executable: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, Part] = field(default_factory=dict)
    cuda: str | None = None
    hip: str | None = None
    kind: str | None = None
    devices: tuple[Device, ...] = ()
    cuda_home: str | None = None
    nvcc: str | None = None
    problems: Mapping[str, str] = field(default_factory=dict)

    def part(self, name: str) -> Part:
        return self.parts.get(name, Part(error="was not asked: the Python process ended before"))


def ask(python: Path, seconds: float = SECONDS) -> Probe:
    """Import the training's libraries with `python`, as a training would find them."""
    # as a training does it (processes/process.py, run): tools of the environment lie beside its Python
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    told: dict[str, Any] = {}
    outcome = child.converse(
        child.script("probe.py", python),
        None,
        lambda tag, value: told.update(value or {}),
        show=lambda output: None,
        variables={"PATH": path},
        seconds=seconds,
    )
    return read(told, outcome)


def read(told: dict[str, Any], outcome: Outcome) -> Probe:
    """The answers, and for the part at which the child was ended or ended itself, that it was.

    Raises KeyboardInterrupt where qtune is told to end.
    """
    if outcome.interrupted is not None:
        raise KeyboardInterrupt
    begun = told.pop("begins", None)
    if begun is not None and begun not in told:
        told[begun] = {"error": _how_it_ended(outcome)}
    python, torch, deepspeed = (told.get(name, {}) for name in ("python", "torch", "deepspeed"))
    devices = told.get("devices", {})
    parts = {name: plain for name, plain in told.items() if name not in ("python", "versions")}
    return Probe(
        python.get("version"),
        python.get("executable"),
        told.get("versions", {}),
        {name: Part(plain.get("version"), plain.get("error")) for name, plain in parts.items()},
        torch.get("cuda"),
        torch.get("hip"),
        devices.get("kind"),
        tuple(Device(**plain) for plain in devices.get("devices", ())),
        deepspeed.get("cuda_home"),
        deepspeed.get("nvcc"),
        deepspeed.get("problems", {}),
    )


def _how_it_ended(outcome: Outcome) -> str:
    if outcome.reason is not None:
        return outcome.reason
    if outcome.exit_code < 0:
        return f"ends the Python process ({signal.Signals(-outcome.exit_code).name})"
    return f"ends the Python process with exit code {outcome.exit_code}"
