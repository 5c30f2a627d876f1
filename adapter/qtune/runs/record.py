"""A run's record, `qtune.json`: what was trained, from what and where, and each attempt at it.

It exists before the first child does, so that a crash of anything leaves one that says `running`.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

from qtune.errors import QtuneError
from qtune.files import from_json, read_object, read_text, write_atomic
from qtune.render import manifest as manifests
from qtune.render.manifest import Manifest
from qtune.runs import reserve, shape
from qtune.runs.joint_stop import STOP
from qtune.runs.progress import mean_loss, reached
from qtune.secrets.logs import clean
from qtune.secrets.names import known
from qtune.secrets.text import redacted
from qtune.values import LaunchPlan

RECORD, LOG = "qtune.json", "train.log"
NODE_LOGS = "train-node*.log"
"""The logs of the nodes other than 0, whose own is `train.log`."""
NODE_FILES = "rendered-node*"
"""Their directories of rendered files; node 0's is `rendered`."""
VERSION = 2
"""The version of what a record holds beside its manifest, which has its own. 1 had no attempts."""
_MEND = "put a copy of it back, or move that run away"


@dataclass
class Run:
    """One training's directory; `record` is what its qtune.json holds.

    status: `running`, then `finished`, `failed` or `stopped`. A record that says `running` with a pid
    that is gone belongs to a qtune that was killed.
    attempts: each `command`, `environment`, `resume_from_checkpoint` with its step `from_step`, `changes` of
    the recorded config by key, `started`, `ended`, `status`, `exit_code`, `reason`, `failure`, and
    `global_step` of `max_steps`.
    """

    directory: Path
    name: str
    record: dict[str, Any]

    @property
    def log(self) -> Path:
        return self.directory / LOG

    @property
    def attempts(self) -> list[dict[str, Any]]:
        found = self.record.setdefault("attempts", [])
        assert isinstance(found, list)
        return found

    @property
    def changes(self) -> dict[str, Any]:
        """What the last attempt changed of the recorded config, which the next one goes on with."""
        return dict(self.attempts[-1]["changes"]) if self.attempts else {}

    def update(self, **changes: Any) -> None:
        """Change the record, on disk too; on a full one the room kept for it is taken."""
        self.record.update(changes)
        text = json.dumps(self.record, indent=1, ensure_ascii=False) + "\n"
        try:
            write_atomic(self.directory / RECORD, text)
        except OSError as error:
            if not reserve.is_full(error):
                raise
            reserve.give_up(self.directory)
            write_atomic(self.directory / RECORD, text)

    def begin_attempt(
        self,
        plan: LaunchPlan,
        *,
        resume_from_checkpoint: str | None = None,
        from_step: int = 0,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        """Record that `plan` is about to start, by this process.

        resume_from_checkpoint: as the child is told it; changes: all of the recorded config's, by key, such
        as {"train.gradient_accumulation_steps": 8}.
        """
        reserve.keep(self.directory)
        hidden = known(os.environ)
        begun = {
            "command": redacted(plan.argv, hidden),
            "environment": redacted(plan.environment, hidden),
            "resume_from_checkpoint": resume_from_checkpoint,
            "from_step": from_step,
            "changes": redacted(dict(changes or {}), hidden),
            "started": _now(),
            "status": "running",
        }
        if self.attempts and self.attempts[-1]["status"] == "running":
            self.attempts[-1].update(status="killed", reason="its qtune was killed")
        self.update(
            attempts=[*self.attempts, begun],
            status="running",
            host=platform.node(),
            pid=os.getpid(),
            ended=None,
            exit_code=None,
            reason=None,
            failure=None,
        )

    def end_attempt(
        self, status: str, exit_code: int, reason: str | None, failure: Mapping[str, str] | None = None
    ) -> None:
        """Close the attempt that is under way; the run goes on, with another one."""
        self._close(status, exit_code, reason, failure)
        self.update()

    def end(
        self, status: str, exit_code: int, reason: str | None, failure: Mapping[str, str] | None = None
    ) -> None:
        """Close the record with what came out: final metrics and steps, as far as the library wrote them.

        failure: of a known one `id`, `cause` and `fix`.
        """
        how = self._close(status, exit_code, reason, failure)
        reserve.give_up(self.directory)
        self.update(**how, pid=None, metrics=self._metrics(), **self._steps(exit_code))

    def _close(
        self, status: str, exit_code: int, reason: str | None, failure: Mapping[str, str] | None
    ) -> dict[str, Any]:
        """Close the attempt that is under way, if one is; how it ended, without secrets."""
        hidden = known(os.environ)
        clean(self.log, hidden)
        how = {
            "ended": _now(),
            "status": status,
            "exit_code": exit_code,
            "reason": redacted(reason, hidden),
            "failure": redacted(failure, hidden),
        }
        if self.attempts and self.attempts[-1]["status"] == "running":
            self.attempts[-1].update(**how, **self._steps(exit_code))
        return how

    def _steps(self, exit_code: int) -> dict[str, int | None]:
        step, steps = reached(self.directory, ended=exit_code == 0) or (None, None)
        return {"global_step": step, "max_steps": steps}

    def _metrics(self) -> dict[str, Any]:
        """The library's results; the mean loss of all steps where its own covers those since a resume."""
        metrics = read_object(self.directory / "all_results.json")
        if "train_loss" in metrics and self.attempts and self.attempts[-1]["from_step"]:
            # transformers/trainer.py: _total_loss_scalar starts at 0 and is divided by all steps
            state = read_object(self.directory / "trainer_state.json")
            metrics["train_loss"] = mean_loss(state) or metrics["train_loss"]
        return metrics


def claim(runs: Path, name: str) -> Path:
    """A new directory, the first `free` one: never one that is there."""
    runs.mkdir(parents=True, exist_ok=True)
    while True:
        with suppress(FileExistsError):  # another was quicker
            (directory := free(runs, name)).mkdir()
            return directory


def free(runs: Path, name: str) -> Path:
    """The first of `runs/name`, `runs/name-2`, `runs/name-3`, … that is not there."""
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(directory for directory in map(runs.joinpath, names) if not os.path.lexists(directory))


def claim_for_nodes(runs: Path, name: str) -> Path:
    """The directory `runs/name`, by which several nodes know one run; some may have joined it before.

    Raises QtuneError where another run has it: a suffix would be this node's own.
    """
    directory = free_for_nodes(runs, name)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def free_for_nodes(runs: Path, name: str) -> Path:
    """The directory that `claim_for_nodes` takes; raises QtuneError as it does."""
    directory = runs / name
    there = directory.iterdir() if directory.is_dir() else ()
    if any(not (path.match(NODE_LOGS) or path.match(NODE_FILES) or path.name == STOP) for path in there):
        raise QtuneError(
            f"there is a {directory.name} already, and several nodes know a run by its name",
            fix="give every node the same new --name",
        )
    return directory


def start(
    directory: Path,
    manifest: Manifest,
    *,
    command: Sequence[str] = (),
    predicted_steps: int | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Run:
    """Write the record of a training that is about to start in `directory`.

    command: qtune's own command line; facts: those of `qtune.runs.provenance`.
    """
    run = Run(directory, directory.name, {})
    run.update(
        **manifests.to_plain(manifest),
        record_version=VERSION,
        name=run.name,
        status="running",
        command=redacted(command, known(os.environ)),
        host=platform.node(),
        pid=os.getpid(),
        started=_now(),
        seed=manifest.config.argument("seed"),
        predicted_steps=predicted_steps,
        **(facts or {}),
        attempts=[],
    )
    return run


def read(directory: Path) -> Run:
    """The run in `directory`; raises QtuneError as `load` does."""
    return Run(directory, directory.name, load(directory))


def load(directory: Path) -> dict[str, Any]:
    """What the record in `directory` holds, being one that this qtune or an older one wrote.

    Raises QtuneError where it is not, or cannot be read.
    """
    path = directory / RECORD
    where = os.path.relpath(path)
    try:
        record: dict[str, Any] = from_json(read_text(path))
    except OSError as error:
        raise QtuneError(f"cannot be read ({error.strerror})", where=where, fix=_MEND) from None
    except ValueError as error:
        raise QtuneError(f"is not what qtune wrote ({error})", where=where, fix=_MEND) from None
    refuse_newer(record, where)
    if (found := shape.flaw(record)) is not None:
        raise QtuneError(f"is not what qtune wrote ({found})", where=where, fix=_MEND)
    return record


def refuse_newer(record: Any, where: str) -> None:
    """Raises QtuneError for a record that a newer qtune wrote, which means what only that one knows."""
    if manifests.is_newer(record) or manifests.is_newer(record, "record_version", VERSION):
        raise QtuneError(manifests.NEWER, where=where, fix="update qtune")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
