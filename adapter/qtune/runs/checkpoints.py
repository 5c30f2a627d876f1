"""The checkpoints in a run's directory: which are whole, and can so be continued without a change of result.

Only names, sizes, JSON and the directories of zip and safetensors files are read, never a tensor.
"""

from __future__ import annotations

import json
import os
import struct
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qtune.errors import QtuneError
from qtune.files import write_atomic
from qtune.predict.models.headers import read_directory, read_header, read_json
from qtune.runs.record import free
from qtune.values import Config

INCOMPLETE = "checkpoint-is-incomplete.txt"
"""In a checkpoint that is being written (transformers/trainer_jit_checkpoint.py)."""
ASIDE = "set-aside"
"""Below the run's directory, where neither get_last_checkpoint nor rotate_checkpoints of
transformers/trainer_utils.py looks: they take any `checkpoint-*` directly in it."""

_PREFIX = "checkpoint-"
_ADAPTERS = ("lora", "oft")


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint. flaw: why it cannot be continued, None where it is complete."""

    path: Path
    step: int
    flaw: str | None

    @property
    def is_ahead(self) -> bool:
        """Whether its weights hold a step more than it counts: a clean stop under ZeRO leaves them so.

        DeepSpeed updates with the gradients, before transformers counts the step; the tag is its own count
        (accelerate/utils/deepspeed.py, DeepSpeedEngineWrapper.backward).
        """
        latest = self.path / "latest"
        return latest.is_file() and _text(latest) == f"global_step{self.step + 1}"


def checkpoints(directory: Path) -> list[int]:
    """The steps of a run's checkpoints that are not marked as half-written, in order."""
    return [step for step, path in _numbered(directory) if not (path / INCOMPLETE).exists()]


def verified(directory: Path, config: Config) -> Iterator[Checkpoint]:
    """A run's checkpoints, newest first, each looked at as it is asked for."""
    for step, path in reversed(_numbered(directory)):
        yield Checkpoint(path, step, flaw(path, step, config))


def newest(directory: Path, config: Config) -> tuple[Checkpoint | None, list[Checkpoint]]:
    """The newest complete checkpoint of a run, None where there is none; the broken ones that are newer."""
    broken: list[Checkpoint] = []
    for checkpoint in verified(directory, config):
        if checkpoint.flaw is None:
            return checkpoint, broken
        broken.append(checkpoint)
    return None, broken


def bytes_of_complete(directory: Path, config: Config) -> int:
    """What a run's complete checkpoints take on the disk."""
    whole = [item.path for item in verified(directory, config) if item.flaw is None]
    return sum(file.stat().st_size for path in whole for file in path.rglob("*") if file.is_file())


def set_aside(checkpoint: Checkpoint) -> Path:
    """Move a broken checkpoint to where the library does not see it; where it is then."""
    aside = checkpoint.path.parent / ASIDE
    aside.mkdir(exist_ok=True)
    return checkpoint.path.rename(free(aside, checkpoint.path.name))


def in_order(directory: Path) -> None:
    """Let no checkpoint of a run be younger than the next one will be, nor than a later one.

    The library deletes the oldest ones by their time (transformers/trainer_utils.py, rotate_checkpoints):
    after a clock that was set back those would be the ones it has just written.
    """
    latest = time.time()
    for _, path in reversed(_numbered(directory)):
        latest = min(latest - 1, path.stat().st_mtime)
        if path.stat().st_mtime > latest:
            os.utime(path, (latest, latest))


def at_home(checkpoint: Checkpoint, output_dir: str) -> None:
    """Let the checkpoint's state name the best one where the run lies now, which may have been moved.

    output_dir: the run's, as the library is told it. Source: transformers/trainer.py, _load_best_model, and
    rotate_checkpoints, which compare `best_model_checkpoint` as text.
    """
    file = checkpoint.path / "trainer_state.json"
    state = dict(read_json(file))
    best = state.get("best_model_checkpoint")
    if isinstance(best, str) and best != (here := f"{output_dir}/{Path(best).name}"):
        state["best_model_checkpoint"] = here
        write_atomic(file, json.dumps(state, indent=2, sort_keys=True) + "\n")


def flaw(path: Path, step: int, config: Config) -> str | None:
    """What a training with `config` would miss in this checkpoint of that step, None where nothing."""
    if (path / INCOMPLETE).exists():
        return f"it is half-written ({INCOMPLETE})"
    if config.get("train", "save_only_model"):
        return "it holds the model alone (save_only_model), without optimizer and random state"
    try:
        for check in (_weights, _states, _random_states, _trainer_state):
            check(path, step, config)
    except QtuneError as error:
        return f"{Path(error.where).name}: {error.what}" if error.where else error.what
    return None


def _numbered(directory: Path) -> list[tuple[int, Path]]:
    found = ((path.name.removeprefix(_PREFIX), path) for path in directory.glob(f"{_PREFIX}*"))
    return sorted((int(number), path) for number, path in found if number.isdecimal() and path.is_dir())


def _weights(path: Path, step: int, config: Config) -> None:
    """Source: transformers/trainer.py, _load_from_checkpoint; DeepSpeed and FSDP load their own files."""
    if config.argument("finetuning_type") in _ADAPTERS:
        read_json(path / "adapter_config.json")
        if not read_header(path / "adapter_model.safetensors"):
            raise QtuneError("it holds no tensor", where="adapter_model.safetensors")
    elif not config.uses_zero and not _is_sharded(config) and read_directory(path) is None:
        raise QtuneError("is missing", where="model.safetensors")


def _states(path: Path, step: int, config: Config) -> None:
    """The optimizer's and the scheduler's; DeepSpeed keeps the state of a schedule that it steps itself."""
    if not config.uses_zero or not any(config.origin("deepspeed", key) for key in ("optimizer", "scheduler")):
        _archive(path / "scheduler.pt")
    if config.uses_zero:
        _zero_states(path, config)
    elif _is_sharded(config) and not (path / "optimizer.pt").exists():
        _fsdp_states(path, config)
    else:
        _archive(path / "optimizer.pt")


def _random_states(path: Path, step: int, config: Config) -> None:
    """One for each process: without it the library goes on with others (transformers/trainer.py,
    _load_rng_state)."""
    parts = [""] if config.processes == 1 else [f"_{rank}" for rank in range(config.processes)]
    for part in parts:
        _archive(path / f"rng_state{part}.pth")


def _trainer_state(path: Path, step: int, config: Config) -> None:
    """The last file that the first process writes."""
    state = read_json(path / "trainer_state.json")
    if state.get("global_step") != step:
        raise QtuneError(f"is of step {state.get('global_step')}", where="trainer_state.json")


def _zero_states(path: Path, config: Config) -> None:
    """Source: deepspeed/runtime/engine.py, _get_zero_ckpt_name and _get_ckpt_name."""
    tag = _text(path / "latest")
    directory = path / tag
    if Path(tag).name != tag or not directory.is_dir():
        raise QtuneError(f"names {tag!r}, which is not there", where="latest")
    stage = config.get("zero", "stage")
    files = {file.name for file in directory.iterdir()}
    shares = config.get("deepspeed", "tensor_parallel", "autotp_size", default=0) or 1
    for part in range(shares):
        for rank in range(config.processes // shares if stage else 0):
            for kind in ("optim", "model") if stage == 3 else ("optim",):
                name = f"zero_pp_rank_{rank}_mp_rank_{part:02d}_{kind}_states.pt"
                there = next((file for file in files if file.endswith(name)), name)  # `bf16_` before some
                _archive(directory / there)
        if stage != 3:
            _archive(directory / f"mp_rank_{part:02d}_model_states.pt")


def _fsdp_states(path: Path, config: Config) -> None:
    """Source: accelerate/utils/fsdp_utils.py, save_fsdp_model and save_fsdp_optimizer, sharded or whole."""
    for name in ("pytorch_model_fsdp", "optimizer"):
        if (path / f"{name}.bin").is_file():
            _archive(path / f"{name}.bin")
            continue
        directory = path / f"{name}_0"
        if not directory.is_dir():
            raise QtuneError("is missing", where=f"{name}_0")
        if not (directory / ".metadata").is_file() or (directory / ".metadata").stat().st_size == 0:
            raise QtuneError("is missing", where=f"{name}_0/.metadata")
        for rank in range(config.processes):
            _archive(directory / f"__{rank}_0.distcp")


def _is_sharded(config: Config) -> bool:
    """Whether FSDP writes the states: accelerate is its launcher here."""
    return config.launcher == "accelerate"


def _archive(file: Path) -> None:
    """Raises QtuneError where a file that torch.save wrote is missing or cut off."""
    try:
        size = file.stat().st_size
        with zipfile.ZipFile(file) as archive:  # whose directory is its end
            entries = archive.infolist()
    except FileNotFoundError:
        raise QtuneError("is missing", where=file.name) from None
    except (OSError, zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as error:
        what = "is empty" if size == 0 else f"is broken ({error})"
        raise QtuneError(what, where=file.name) from None
    if not entries or any(entry.header_offset + entry.compress_size > size for entry in entries):
        raise QtuneError("is cut off", where=file.name)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        raise QtuneError("is missing", where=file.name) from None
