"""Runs: a directory each under `runs/`, with the record `qtune.json`, which exists before the child does."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qtune import manifest as manifests
from qtune.files import write_atomic
from qtune.manifest import Manifest
from qtune.values import LaunchPlan

RECORD, LOG = "qtune.json", "train.log"
_STACK = (
    "llamafactory",
    "torch",
    "transformers",
    "peft",
    "deepspeed",
    "bitsandbytes",
    "accelerate",
    "datasets",
    "trl",
)


@dataclass
class Run:
    """One training's directory, claimed by this process; `record` is what its qtune.json holds.

    status: `running`, then `finished`, `failed` or `interrupted`. A record that says `running` with a pid
    that is gone belongs to a qtune that was killed.
    """

    directory: Path
    name: str
    record: dict[str, Any]

    @property
    def log(self) -> Path:
        return self.directory / LOG

    def update(self, **changes: Any) -> None:
        """Change the record, on disk too."""
        self.record.update(changes)
        write_atomic(self.directory / RECORD, json.dumps(self.record, indent=1, ensure_ascii=False) + "\n")

    def end(self, status: str, exit_code: int, reason: str | None) -> None:
        """Close the record with what came out: final metrics and steps, as far as the library wrote them."""
        self.update(
            status=status,
            ended=_now(),
            exit_code=exit_code,
            reason=reason,
            pid=None,
            metrics=_read_json(self.directory / "all_results.json"),
            global_step=_read_json(self.directory / "trainer_state.json").get("global_step"),
        )


def claim(runs: Path, name: str) -> Path:
    """A new directory `runs/name`, or the first free of `name-2`, `name-3`, …: never one that is there."""
    runs.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        directory = runs / (name if number == 1 else f"{name}-{number}")
        try:
            directory.mkdir()
            return directory
        except FileExistsError:
            number += 1


def start(directory: Path, manifest: Manifest, plan: LaunchPlan, predicted_steps: int | None) -> Run:
    """Write the record of a training that is about to start in `directory`."""
    run = Run(directory, directory.name, {})
    run.update(
        **manifests.to_plain(manifest),
        name=run.name,
        status="running",
        command=list(plan.argv),
        environment=dict(plan.environment),
        host=platform.node(),
        pid=os.getpid(),
        started=_now(),
        predicted_steps=predicted_steps,
        versions=_versions(),
    )
    return run


def losses(directory: Path) -> list[float]:
    """Each training loss that LLaMA-Factory logged, in order."""
    path = directory / "trainer_log.jsonl"
    if not path.is_file():
        return []
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return [row["loss"] for row in rows if "loss" in row]


def _versions() -> dict[str, str]:
    from importlib import metadata

    versions = {"python": platform.python_version()}
    for package in _STACK:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
