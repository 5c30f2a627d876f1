"""The texts over which an exported model is compared with what was trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qtune.config.project import Project
from qtune.data.flaws import Flaw
from qtune.data.reading.json_lines import pick
from qtune.data.registrations import Registration, names_in, read_registrations
from qtune.errors import QtuneError
from qtune.use.models import Trained
from qtune.use.preview import ON_A_CPU, lay_out

PROMPTS = [
    "Hello!",
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "用一句话介绍你自己。",
]
_ROWS = 4


def rows_request(trained: Trained, model: Path, project: Project, directory: Path) -> dict[str, Any] | None:
    """LLaMA-Factory's arguments under which the first rows of the training's data lie in `directory`.

    None where that data does not lie here, or no longer.
    """
    registrations = registrations_if_any(project)
    names = names_in(trained.config.get("train", "dataset"))
    found = next((registrations[name] for name in names if name in registrations), None)
    if found is None or found.path is None or not found.path.exists():
        return None
    try:
        records = pick(found.path, _ROWS, None, _pass_over)
    except (QtuneError, OSError):
        return None
    if not records:
        return None
    directory.mkdir()
    lay_out(found, records, directory)
    template = trained.config.get("train", "template")
    return {
        "stage": "sft" if trained.stage == "ppo" else trained.stage,
        "finetuning_type": "full",
        "model_name_or_path": str(model),
        "trust_remote_code": bool(trained.config.get("train", "trust_remote_code")),
        **({"template": template} if template else {}),
        "dataset": found.name,
        "dataset_dir": str(directory),
        "media_dir": trained.config.get("train", "media_dir", default=str(directory)),
        "output_dir": str(directory / "output"),
        **ON_A_CPU,
    }


def registrations_if_any(project: Project) -> Mapping[str, Registration]:
    """The project's registered datasets, none where they cannot be read."""
    try:
        return read_registrations(project)
    except QtuneError:
        return {}


def _pass_over(file: Path, line: int, flaw: Flaw) -> None:
    """What is wrong with a row was told before the training."""
